#include "agent/config_policy.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "agent/config_values.h"

namespace limpet {

namespace {

Result<std::uint32_t> number_of(const std::string& kind, const std::string& name) {
  if (kind == "user") {
    if (const passwd* entry = ::getpwnam(name.c_str())) {
      return entry->pw_uid;
    }
  } else if (const group* entry = ::getgrnam(name.c_str())) {
    return entry->gr_gid;
  }
  const auto number = parse_count(name);
  if (number && *number < std::numeric_limits<std::uint32_t>::max()) {
    return static_cast<std::uint32_t>(*number);
  }
  return Status(Errc::invalid, fmt::format("there is no {} \"{}\" on this host", kind, name));
}

bool is_service_pattern(const std::string& pattern) {
  constexpr std::size_t kMaxBytes = 255;
  return !pattern.empty() && pattern.size() <= kMaxBytes &&
         std::all_of(pattern.begin(), pattern.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f && c != '/'; });
}

Status read_services(const nlohmann::json& list, std::vector<std::string>& services) {
  if (!list.is_array() || list.empty()) {
    return {Errc::invalid, "\"services\" must be a list of name patterns, such as [\"web-*\"]"};
  }
  for (const auto& entry : list) {
    if (!entry.is_string() || !is_service_pattern(entry.get<std::string>())) {
      return {Errc::invalid, fmt::format("{} is not a pattern of service names, such as \"web-*\"", entry.dump())};
    }
    services.push_back(entry.get<std::string>());
  }
  return {};
}

// Of whole paths. It begins with a place: what begins with a star would reach everywhere.
bool is_path_pattern(const std::string& pattern) {
  constexpr std::size_t kMaxBytes = 8'192;
  return pattern.size() > 1 && pattern.front() == '/' && pattern[1] != '*' && pattern.size() <= kMaxBytes &&
         std::none_of(pattern.begin(), pattern.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

Status read_paths(const nlohmann::json& list, std::vector<std::string>& paths) {
  if (!list.is_array() || list.empty()) {
    return {Errc::invalid, R"("paths" must be a list of path patterns, such as ["/dubbo/com.acme.*"])"};
  }
  for (const auto& entry : list) {
    if (!entry.is_string() || !is_path_pattern(entry.get<std::string>())) {
      return {Errc::invalid, fmt::format("{} is not a pattern of znode paths, such as \"/dubbo/com.acme.*\"",
                                         entry.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace))};
    }
    paths.push_back(entry.get<std::string>());
  }
  return {};
}

Result<core::PolicyRule> read_rule(const nlohmann::json& object) {
  const Status form(Errc::invalid,
                    "a rule names one user or one group and its services, and may name paths outside root, such as "
                    R"({"user":"deploy","services":["web-*"],"paths":["/dubbo/com.acme.*"]})");
  if (!object.is_object() || object.contains("user") == object.contains("group") || !object.contains("services")) {
    return form;
  }
  core::PolicyRule rule;
  for (const auto& [key, value] : object.items()) {
    if (key == "services") {
      if (Status status = read_services(value, rule.services); !status.ok()) {
        return status;
      }
    } else if (key == "paths") {
      if (Status status = read_paths(value, rule.paths); !status.ok()) {
        return status;
      }
    } else if ((key == "user" || key == "group") && value.is_string()) {
      const auto number = number_of(key, value.get<std::string>());
      if (!number) {
        return number.status();
      }
      (key == "user" ? rule.uids : rule.gids).push_back(*number);
    } else {
      return form;
    }
  }
  return rule;
}

}  // namespace

Result<core::Policy> parse_policy(const std::string& text) {
  const nlohmann::json list = nlohmann::json::parse(text, nullptr, false);
  if (!list.is_array()) {
    return Status(Errc::invalid, R"(a list of rules is needed, such as [{"user":"deploy","services":["web-*"]}])");
  }
  std::vector<core::PolicyRule> rules;
  for (const auto& object : list) {
    auto rule = read_rule(object);
    if (!rule) {
      return Status(Errc::invalid, fmt::format("rule {}: {}", rules.size() + 1, rule.status().message()));
    }
    rules.push_back(std::move(*rule));
  }
  return core::Policy(std::move(rules), ::geteuid());
}

std::vector<std::string> policy_gaps(const core::Policy& policy, const std::vector<std::string>& places) {
  std::vector<std::string> gaps;
  if (policy.empty()) {
    return gaps;
  }
  // True where the pattern may name something below the place.
  const auto reaches = [](const std::string& pattern, const std::string& place) {
    const std::string below = place == "/" ? "/" : place + "/";
    const std::string fixed = pattern.substr(0, pattern.find('*'));
    return fixed.starts_with(below) || (fixed.size() < pattern.size() && below.starts_with(fixed));
  };
  for (const std::string& place : places) {
    const bool named = std::any_of(policy.rules().begin(), policy.rules().end(), [&](const core::PolicyRule& rule) {
      return std::any_of(rule.paths.begin(), rule.paths.end(), [&](const auto& path) { return reaches(path, place); });
    });
    if (!named) {
      gaps.push_back(fmt::format("no rule of the policy has `paths` below {}, so only root may register there", place));
    }
  }
  for (const core::PolicyRule& rule : policy.rules()) {
    for (const std::string& path : rule.paths) {
      if (std::none_of(places.begin(), places.end(), [&](const auto& place) { return reaches(path, place); })) {
        gaps.push_back(fmt::format("the pattern {} of the policy lies below none of `paths`", path));
      }
    }
  }
  return gaps;
}

}  // namespace limpet
