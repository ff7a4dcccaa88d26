#include "agent/api/check_reader.h"

#include <algorithm>
#include <array>

#include "agent/api/names.h"
#include "agent/api/target.h"

namespace limpet::api {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kMinInterval{100};
constexpr milliseconds kMaxInterval = std::chrono::hours(24);
constexpr milliseconds kMinTimeout{10};
constexpr milliseconds kMaxTimeout = std::chrono::minutes(1);
constexpr std::uint64_t kMaxInARow = 1'000;
constexpr std::size_t kMaxHostBytes = 253;    // RFC 1035, 2.3.4
constexpr std::size_t kMaxSocketBytes = 107;  // sockaddr_un.sun_path
constexpr std::size_t kMaxUrlBytes = 2'048;
constexpr std::size_t kMaxArguments = 64;
constexpr std::size_t kMaxCommandBytes = 8 * 1024;

constexpr std::string_view kUnixPrefix = "unix:";
constexpr std::string_view kHttpScheme = "http://";
constexpr std::string_view kHttpUnixScheme = "http+unix://";

using Error = std::optional<std::string>;

// Fields that a check of any type has; those of its own come on top.
constexpr std::array<std::string_view, 5> kCommonFields = {"type", "interval", "timeout", "rise", "fall"};

bool is_printable_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > 0x20 && c < 0x7F; });
}

Error socket_path_error(std::string_view path) {
  if (!path.starts_with('/') || path.find('\0') != std::string_view::npos) {
    return "names a unix socket, whose path must be absolute";
  }
  if (path.size() > kMaxSocketBytes) {
    return "names a unix socket, whose path may have " + std::to_string(kMaxSocketBytes) + " bytes at most";
  }
  return std::nullopt;
}

bool is_host(std::string_view host) {
  if (host.starts_with('[')) {
    return host.size() > 2 && host.ends_with(']') &&
           host.substr(1, host.size() - 2).find_first_not_of("0123456789abcdefABCDEF:.%") == std::string_view::npos;
  }
  return !host.empty() && host.size() <= kMaxHostBytes && is_printable_ascii(host) &&
         host.find_first_of(":/[]?#@%") == std::string_view::npos;
}

// Splits "host:port" at its last colon; no port where there is none behind the host.
struct Endpoint {
  std::string_view host;
  std::optional<std::string_view> port;
};
Endpoint split_endpoint(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  const std::size_t bracket = text.rfind(']');
  if (colon == std::string_view::npos || (bracket != std::string_view::npos && bracket > colon)) {
    return {text, std::nullopt};
  }
  return {text.substr(0, colon), text.substr(colon + 1)};
}

Error address_error(std::string_view address) {
  if (address.starts_with(kUnixPrefix)) {
    return socket_path_error(address.substr(kUnixPrefix.size()));
  }
  const Endpoint endpoint = split_endpoint(address);
  if (!is_host(endpoint.host) || !endpoint.port || !parse_number(*endpoint.port, 1, 65'535)) {
    return "must be host:port, [IPv6]:port or unix:/path";
  }
  return std::nullopt;
}

Error url_error(std::string_view url) {
  if (url.size() > kMaxUrlBytes) {
    return "has " + std::to_string(url.size()) + " bytes; at most " + std::to_string(kMaxUrlBytes) + " are allowed";
  }
  const bool over_unix = url.starts_with(kHttpUnixScheme);
  if (!over_unix && !url.starts_with(kHttpScheme)) {
    return url.starts_with("https:") ? "is https; a check speaks http only: use a command such as curl for it"
                                     : "must start with http:// or http+unix://";
  }
  if (!is_printable_ascii(url) || url.find('#') != std::string_view::npos) {
    return "must hold neither spaces, control or non-ASCII characters nor a fragment (#…)";
  }
  url.remove_prefix(over_unix ? kHttpUnixScheme.size() : kHttpScheme.size());
  const std::string_view authority = url.substr(0, url.find_first_of("/?"));
  if (over_unix) {
    std::string path;
    return percent_decode(authority, path) ? socket_path_error(path) : "has a bad percent escape in its socket";
  }
  const Endpoint endpoint = split_endpoint(authority);
  if (!is_host(endpoint.host) || (endpoint.port && !parse_number(*endpoint.port, 1, 65'535))) {
    return "must name a host, and may name a port: http://127.0.0.1:8080/health";
  }
  return std::nullopt;
}

Error status_error(std::string_view status) {
  const bool is_class = status.size() == 3 && status[0] >= '1' && status[0] <= '5' && status.substr(1) == "xx";
  if (is_class || (status.size() == 3 && parse_number(status, 100, 599))) {
    return std::nullopt;
  }
  return "must be a status such as \"200\" or a class of them such as \"2xx\"";
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
  void read_text(std::string_view key, const JsonValue& value, Error (*error_of)(std::string_view), std::string& text);
  void read_duration(std::string_view key, const JsonValue& value, milliseconds min, milliseconds max,
                     std::int64_t& result);
  void read_count(std::string_view key, const JsonValue& value, std::uint32_t& result);
  void read_command(const JsonValue& value);
  void unknown(std::string_view key);
  void expect_target();

  const std::string pointer_;
  FieldErrors& errors_;
  Check check_;
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
  for (auto member = object.first(); member; member.next()) {
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
  return std::move(check_);
}

bool CheckReader::read_type(const JsonValue& object) {
  for (auto member = object.first(); member; member.next()) {
    if (member.key() != "type") {
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

void CheckReader::read_text(std::string_view key, const JsonValue& value, Error (*error_of)(std::string_view),
                            std::string& text) {
  if (value.kind() != JsonKind::string) {
    return errors_.wrong_type(at(key), "a string", value.kind());
  }
  if (const auto error = error_of(value.text())) {
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

void CheckReader::unknown(std::string_view key) {
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
  errors_.unknown_field(pointer_, key, known);
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
