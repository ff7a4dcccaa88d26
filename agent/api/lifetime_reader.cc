#include "agent/api/lifetime_reader.h"

#include <limits>

#include "agent/api/check_reader.h"

namespace limpet::api {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kMinLifetime = std::chrono::seconds(1);
constexpr milliseconds kMaxTtl = std::chrono::hours(24);
constexpr milliseconds kMaxExpires = std::chrono::hours(24 * 366);

// A duration within bounds, or 0.
std::int64_t read_duration(const JsonValue& value, const std::string& pointer, milliseconds max, FieldErrors& errors) {
  if (value.kind() != JsonKind::string) {
    errors.wrong_type(pointer, "a duration such as \"30s\"", value.kind());
    return 0;
  }
  const auto duration = parse_duration(value.text(), max);
  if (!duration || *duration < kMinLifetime) {
    errors.add(pointer, "must be a duration such as \"30s\" or \"10m\", from 1s to " + duration_text(max));
    return 0;
  }
  return duration->count();
}

}  // namespace

bool LifetimeReader::field(std::string_view key, const JsonValue& value) {
  if (key == "ttl") {
    lifetime_.ttl_ms = read_duration(value, at(key), kMaxTtl, errors_);
  } else if (key == "expires") {
    lifetime_.expires_ms = read_duration(value, at(key), kMaxExpires, errors_);
  } else if (key == "bind") {
    read_bind(value);
  } else if (key == "pid") {
    read_pid(value);
  } else if (key == "checks") {
    read_checks(value);
  } else {
    return false;
  }
  return true;
}

void LifetimeReader::finish() {
  if (lifetime_.bind == Bind::process) {
    lifetime_.process = ProcessId{pid_.value_or(0), 0, {}};
  } else if (pid_) {
    errors_.add(at("pid"), "is only for \"bind\":\"process\"");
  }
}

void LifetimeReader::read_bind(const JsonValue& value) {
  if (value.kind() != JsonKind::string) {
    return errors_.wrong_type(at("bind"), "a string", value.kind());
  }
  for (const Bind bind : {Bind::none, Bind::process, Bind::connection}) {
    if (value.text() == bind_name(bind)) {
      lifetime_.bind = bind;
      return;
    }
  }
  errors_.add(at("bind"), "must be \"none\", \"process\" or \"connection\"");
}

void LifetimeReader::read_pid(const JsonValue& value) {
  constexpr auto kMax = static_cast<std::uint64_t>(std::numeric_limits<std::int32_t>::max());
  if (value.kind() != JsonKind::integer && value.kind() != JsonKind::real) {
    return errors_.wrong_type(at("pid"), "the number of a process", value.kind());
  }
  const auto pid = value.kind() == JsonKind::integer ? parse_number(value.text(), 1, kMax) : std::nullopt;
  if (!pid) {
    return errors_.add(at("pid"), "must be the number of a process: an integer from 1");
  }
  pid_ = static_cast<std::int32_t>(*pid);
}

void LifetimeReader::read_checks(const JsonValue& value) {
  if (value.kind() != JsonKind::array) {
    return errors_.wrong_type(at("checks"), "a list of checks", value.kind());
  }
  for (auto element = value.first(); element; element.next()) {
    if (lifetime_.checks.size() == kMaxChecks) {
      return errors_.add(at("checks"), "has more than " + std::to_string(kMaxChecks) + " checks");
    }
    const std::string pointer = at("checks") + "/" + std::to_string(lifetime_.checks.size());
    lifetime_.checks.push_back(read_check(element.value(), pointer, errors_).value_or(Check()));
  }
}

}  // namespace limpet::api
