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

Result<core::PolicyRule> read_rule(const nlohmann::json& object) {
  const Status form(Errc::invalid,
                    "a rule names one user or one group and its services, such as "
                    R"({"user":"deploy","services":["web-*"]})");
  if (!object.is_object() || object.contains("user") == object.contains("group") || !object.contains("services")) {
    return form;
  }
  core::PolicyRule rule;
  for (const auto& [key, value] : object.items()) {
    if (key == "services") {
      if (Status status = read_services(value, rule.services); !status.ok()) {
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

}  // namespace limpet
