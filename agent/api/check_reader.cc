#include "agent/api/check_reader.h"

#include <algorithm>
#include <array>

#include "agent/api/names.h"
#include "agent/api/target.h"
#include "agent/liveness/check_target.h"

namespace limpet::api {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kMinInterval{100};
constexpr milliseconds kMaxInterval = std::chrono::hours(24);
constexpr milliseconds kMinTimeout{10};
constexpr milliseconds kMaxTimeout = std::chrono::minutes(1);
constexpr std::uint64_t kMaxInARow = 1'000;
constexpr std::size_t kMaxArguments = 64;
constexpr std::size_t kMaxCommandBytes = 8 * 1024;

using Error = std::optional<std::string>;

// Fields that a check of any type has; those of its own come on top.
constexpr std::array<std::string_view, 5> kCommonFields = {"type", "interval", "timeout", "rise", "fall"};

// The words of what check_target.h has against a text.
Error error_of(const Status& status) {
  return status.ok() ? std::nullopt : Error(status.message());
}

Error address_error(std::string_view address) {
  return error_of(liveness::parse_address(address).status());
}

Error url_error(std::string_view url) {
  return error_of(liveness::parse_url(url).status());
}

Error status_error(std::string_view status) {
  return error_of(liveness::check_status(status));
}

// Reads one check; the fields of a type are known only when the type is, so it looks for that first.
class CheckReader {
 public:
  CheckReader(std::string pointer, FieldErrors& errors) : pointer_(std::move(pointer)), errors_(errors) {}

  std::optional<Check> read(const JsonValue& object);

 private:
  std::string at(std::string_view key) const { return child_pointer(pointer_, key); }
  bool read_type(const JsonValue& object);
  bool read_common(std::string_view key, const JsonValue& value);
  bool read_own(std::string_view key, const JsonValue& value);
  void read_text(std::string_view key, const JsonValue& value, Error (*fault_of)(std::string_view), std::string& text);
  void read_duration(std::string_view key, const JsonValue& value, milliseconds min, milliseconds max,
                     std::int64_t& result);
  void read_count(std::string_view key, const JsonValue& value, std::uint32_t& result);
  void read_command(const JsonValue& value);
  std::vector<std::string_view> known() const;
  bool is_known(std::string_view key) const;
  void unknown(std::string_view key);
  void expect_target();

  const std::string pointer_;
  FieldErrors& errors_;
  Check check_;
  bool has_timeout_ = false;
};

std::optional<Check> CheckReader::read(const JsonValue& object) {
  if (object.kind() != JsonKind::object) {
    errors_.wrong_type(pointer_, "an object", object.kind());
    return std::nullopt;
  }
  if (!read_type(object)) {
    return std::nullopt;
  }
  if (check_.type == CheckType::http) {
    check_.status = "2xx";
  }
  bool has_target = false;
  for (auto member = object.first(); member && !errors_.full(); member.next()) {
    if (member.value().kind() == JsonKind::null && is_known(member.key())) {
      continue;  // as if it were left out
    }
    if (read_common(member.key(), member.value())) {
      continue;
    }
    if (!read_own(member.key(), member.value())) {
      unknown(member.key());
    } else if (member.key() != "status") {
      has_target = true;
    }
  }
  if (!has_target) {
    expect_target();
  }
  if (!has_timeout_) {
    check_.timeout_ms = std::min(check_.timeout_ms, check_.interval_ms);
  } else if (check_.timeout_ms > check_.interval_ms) {
    errors_.add(at("timeout"),
                "must not be longer than the interval, which is " + duration_text(milliseconds(check_.interval_ms)));
  }
  return std::move(check_);
}

bool CheckReader::read_type(const JsonValue& object) {
  for (auto member = object.first(); member; member.next()) {
    if (member.key() != "type" || member.value().kind() == JsonKind::null) {
      continue;
    }
    for (const CheckType type : {CheckType::tcp, CheckType::http, CheckType::command}) {
      if (member.value().kind() == JsonKind::string && member.value().text() == check_type_name(type)) {
        check_.type = type;
        return true;
      }
    }
    errors_.add(at("type"), "must be \"tcp\", \"http\" or \"command\"");
    return false;
  }
  errors_.add(at("type"), "is missing");
  return false;
}

bool CheckReader::read_common(std::string_view key, const JsonValue& value) {
  if (key == "interval") {
    read_duration(key, value, kMinInterval, kMaxInterval, check_.interval_ms);
  } else if (key == "timeout") {
    has_timeout_ = true;
    read_duration(key, value, kMinTimeout, kMaxTimeout, check_.timeout_ms);
  } else if (key == "rise") {
    read_count(key, value, check_.rise);
  } else if (key == "fall") {
    read_count(key, value, check_.fall);
  } else {
    return key == "type";
  }
  return true;
}

bool CheckReader::read_own(std::string_view key, const JsonValue& value) {
  switch (check_.type) {
    case CheckType::tcp:
      if (key == "address") {
        read_text(key, value, address_error, check_.target);
        return true;
      }
      return false;
    case CheckType::http:
      if (key == "url") {
        read_text(key, value, url_error, check_.target);
        return true;
      }
      if (key == "status") {
        read_text(key, value, status_error, check_.status);
        return true;
      }
      return false;
    case CheckType::command:
      if (key == "command") {
        read_command(value);
        return true;
      }
      return false;
  }
  return false;
}

void CheckReader::read_text(std::string_view key, const JsonValue& value, Error (*fault_of)(std::string_view),
                            std::string& text) {
  if (value.kind() != JsonKind::string) {
    return errors_.wrong_type(at(key), "a string", value.kind());
  }
  if (const auto error = fault_of(value.text())) {
    return errors_.add(at(key), *error);
  }
  text = value.text();
}

void CheckReader::read_duration(std::string_view key, const JsonValue& value, milliseconds min, milliseconds max,
                                std::int64_t& result) {
  if (value.kind() != JsonKind::string) {
    return errors_.wrong_type(at(key), "a duration such as \"10s\"", value.kind());
  }
  const auto duration = parse_duration(value.text(), max);
  if (!duration || *duration < min) {
    return errors_.add(at(key),
                       "must be a duration such as \"10s\", from " + duration_text(min) + " to " + duration_text(max));
  }
  result = duration->count();
}

void CheckReader::read_count(std::string_view key, const JsonValue& value, std::uint32_t& result) {
  if (value.kind() != JsonKind::integer && value.kind() != JsonKind::real) {
    return errors_.wrong_type(at(key), "a number", value.kind());
  }
  const auto count = value.kind() == JsonKind::integer ? parse_number(value.text(), 1, kMaxInARow) : std::nullopt;
  if (!count) {
    return errors_.add(at(key), "must be an integer from 1 to " + std::to_string(kMaxInARow));
  }
  result = static_cast<std::uint32_t>(*count);
}

void CheckReader::read_command(const JsonValue& value) {
  if (value.kind() != JsonKind::array) {
    return errors_.wrong_type(at("command"), "a list: a program and its arguments", value.kind());
  }
  std::size_t bytes = 0;
  for (auto element = value.first(); element; element.next()) {
    const std::string pointer = at("command") + "/" + std::to_string(check_.command.size());
    if (element.value().kind() != JsonKind::string) {
      return errors_.wrong_type(pointer, "a string", element.value().kind());
    }
    if (element.value().text().find('\0') != std::string_view::npos) {
      return errors_.add(pointer, "must not hold a NUL");
    }
    bytes += element.value().text().size() + 1;
    if (check_.command.size() == kMaxArguments || bytes > kMaxCommandBytes) {
      return errors_.add(at("command"), "may have " + std::to_string(kMaxArguments) + " arguments and " +
                                            std::to_string(kMaxCommandBytes) + " bytes at most");
    }
    check_.command.emplace_back(element.value().text());
  }
  if (check_.command.empty()) {
    return errors_.add(at("command"), "must name a program");
  }
  const std::string& program = check_.command.front();
  if (program.empty() || (program.find('/') != std::string::npos && !program.starts_with('/'))) {
    errors_.add(at("command") + "/0", "must be the absolute path of a program, or the name of one without slashes");
  }
}

std::vector<std::string_view> CheckReader::known() const {
  std::vector<std::string_view> known(kCommonFields.begin(), kCommonFields.end());
  switch (check_.type) {
    case CheckType::tcp:
      known.emplace_back("address");
      break;
    case CheckType::http:
      known.insert(known.end(), {"url", "status"});
      break;
    case CheckType::command:
      known.emplace_back("command");
      break;
  }
  return known;
}

bool CheckReader::is_known(std::string_view key) const {
  const auto fields = known();
  return std::find(fields.begin(), fields.end(), key) != fields.end();
}

void CheckReader::unknown(std::string_view key) {
  errors_.unknown_field(pointer_, key, known());
}

void CheckReader::expect_target() {
  switch (check_.type) {
    case CheckType::tcp:
      return errors_.add(at("address"), "is missing");
    case CheckType::http:
      return errors_.add(at("url"), "is missing");
    case CheckType::command:
      return errors_.add(at("command"), "is missing");
  }
}

}  // namespace

std::optional<Check> read_check(const JsonValue& value, const std::string& pointer, FieldErrors& errors) {
  return CheckReader(pointer, errors).read(value);
}

void write_check(JsonWriter& json, const Check& check) {
  json.begin_object();
  json.key("type").string(check_type_name(check.type));
  switch (check.type) {
    case CheckType::tcp:
      json.key("address").string(check.target);
      break;
    case CheckType::http:
      json.key("url").string(check.target);
      json.key("status").string(check.status);
      break;
    case CheckType::command:
      json.key("command").begin_array();
      for (const std::string& argument : check.command) {
        json.string(argument);
      }
      json.end_array();
      break;
  }
  json.key("interval").string(duration_text(milliseconds(check.interval_ms)));
  json.key("timeout").string(duration_text(milliseconds(check.timeout_ms)));
  json.key("rise").number(check.rise);
  json.key("fall").number(check.fall);
  json.end_object();
}

}  // namespace limpet::api
