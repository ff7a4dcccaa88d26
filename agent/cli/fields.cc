#include "agent/cli/fields.h"

#include <fmt/format.h>

#include "agent/cli/times.h"

namespace limpet::cli {

Json parse(std::string_view body) {
  return Json::parse(body, nullptr, /*allow_exceptions=*/false);
}

const Json& at(const Json& value, const char* key) {
  static const Json kNull;
  if (!value.is_object()) {
    return kNull;
  }
  const auto found = value.find(key);
  return found == value.end() ? kNull : *found;
}

std::string text(const Json& value, const char* key) {
  const Json& member = at(value, key);
  return member.is_string() ? member.get<std::string>() : std::string{};
}

std::int64_t number(const Json& value, const char* key) {
  const Json& member = at(value, key);
  return member.is_number_integer() ? member.get<std::int64_t>() : 0;
}

bool flag(const Json& value, const char* key) {
  const Json& member = at(value, key);
  return member.is_boolean() && member.get<bool>();
}

std::string id_of(const Json& item) {
  const std::string id = text(item, "id");
  return id.empty() ? text(item, "service") + "/" + text(item, "instance") : id;
}

std::string reason_of(const Json& item) {
  const Json& reason = at(item, "reason");
  const std::string code = text(reason, "code");
  const std::string message = text(reason, "message");
  if (reason.is_null() && text(item, "state") == "maintenance") {
    return text(at(item, "maintenance"), "reason");
  }
  if (code.empty() || message.empty()) {
    return code + message;
  }
  return fmt::format("{}: {}", code, message);
}

std::string state_with_reason(const Json& item, std::int64_t now_ms) {
  std::string result = text(item, "state");
  const std::string reason = reason_of(item);
  if (reason.empty()) {
    return result;
  }
  result += ", " + reason;
  const Json& details = at(item, "reason");
  const std::string since = age_of(details, "since", now_ms);
  const std::int64_t attempts = number(details, "attempts");
  if (!since.empty()) {
    result += fmt::format(" (since {}{})", since, attempts > 1 ? fmt::format(", {} attempts", attempts) : "");
  }
  return result;
}

std::string age_of(const Json& item, const char* key, std::int64_t now_ms) {
  const auto time_ms = parse_time_ms(text(item, key));
  return time_ms ? format_age(now_ms - *time_ms) : std::string{};
}

std::string advice_for(std::string_view state, std::string_view code, const std::string& path) {
  if (code == "foreign_owner") {
    return fmt::format(
        "Another session owns {}. limpet watches it and takes the path when that znode goes; `stat {}` in "
        "zkCli.sh shows its ephemeralOwner. If both are meant to live, give one another instance name.",
        path, path);
  }
  if (code == "persistent_znode") {
    return fmt::format(
        "A persistent znode stands at {}: limpet never deletes what it did not make. Delete it by hand "
        "(zkCli.sh: delete {}), and limpet takes the path.",
        path, path);
  }
  if (code == "no_auth") {
    return "An ACL in ZooKeeper forbids it: look at the parent's with getAcl in zkCli.sh, and at the agent's "
           "credentials.";
  }
  if (code == "too_large") {
    return "The data is more than the servers take (their jute.maxbuffer); register it again with less.";
  }
  if (code == "invalid_path") {
    return "ZooKeeper does not take this path; deregister it, and register it under another.";
  }
  if (code == "parent_ephemeral") {
    return "The parent of the path is an ephemeral znode, which can have no children; use another path.";
  }
  if (code == "quota") {
    return "Where it is held back, the paths of this host are more than one session may hold: deregister some, or "
           "raise "
           "max_path_bytes. Else a quota in ZooKeeper is used up: listquota in zkCli.sh shows it.";
  }
  if (code == "storage") {
    return "The agent cannot write to its disk; `limpet status` says more.";
  }
  if (state == "unhealthy") {
    return "Withdrawn while a check fails; it comes back by itself when the check passes.";
  }
  if (state == "maintenance") {
    return "Withdrawn by hand, and stays so until the maintenance is ended (limpet maintenance off).";
  }
  if (state == "pending" || state == "removing") {
    return "It is on disk and reaches ZooKeeper by itself; nothing needs doing.";
  }
  if (state == "suspended") {
    return "It stays in ZooKeeper as long as the session lives, and is registered again by itself if that ends.";
  }
  return {};
}

}  // namespace limpet::cli
