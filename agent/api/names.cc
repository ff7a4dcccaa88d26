#include "agent/api/names.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <charconv>
#include <cstdio>
#include <numeric>
#include <vector>

namespace limpet::api {
namespace {

constexpr auto kNameCharacters = [] {
  std::array<bool, 256> allowed{};
  for (const char c : std::string_view("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:@+=~%,-")) {
    allowed[static_cast<unsigned char>(c)] = true;
  }
  return allowed;
}();

struct DurationUnit {
  std::string_view suffix;
  std::uint64_t ms;
};
// By size; "ms" thereby before "s", which it ends in.
constexpr DurationUnit kDurationUnits[] = {{"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"h", 3'600'000}};

constexpr std::array<std::string_view, core::kStateCount> kStateNames = {
    "pending", "registered", "suspended", "conflict", "blocked", "unhealthy", "maintenance", "removing"};

std::string too_long(std::string_view text, std::size_t limit) {
  return "has " + std::to_string(text.size()) + " bytes; at most " + std::to_string(limit) + " are allowed";
}

// A character of UTF-8. No bytes: they are none.
struct Character {
  char32_t code = 0;
  std::size_t bytes = 0;
};

Character character_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(at);
  const std::size_t bytes = first < 0x80                    ? 1
                            : first >= 0xc2 && first < 0xe0 ? 2
                            : first >= 0xe0 && first < 0xf0 ? 3
                            : first >= 0xf0 && first < 0xf5 ? 4
                                                            : 0;
  if (bytes == 0 || text.size() - at < bytes) {
    return {};
  }
  char32_t code = bytes == 1 ? first : first & (0xffU >> (bytes + 1));
  for (std::size_t i = 1; i < bytes; ++i) {
    if ((byte(at + i) & 0xc0) != 0x80) {
      return {};
    }
    code = code << 6 | (byte(at + i) & 0x3fU);
  }
  constexpr char32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  return code < kLeast[bytes] ? Character{} : Character{code, bytes};
}

// For people, and safe on their terminals: "$" (U+0024), U+0007.
std::string describe(Character character) {
  if (character.bytes == 0) {
    return "a byte that is not UTF-8";
  }
  std::array<char, 16> number{};
  std::snprintf(number.data(), number.size(), "U+%04X", static_cast<unsigned>(character.code));
  const bool printable = character.code >= 0x20 && character.code < 0x7f;
  return printable ? std::string("the character \"") + static_cast<char>(character.code) + "\" (" + number.data() + ")"
                   : std::string("the character ") + number.data();
}

bool zookeeper_takes(char32_t c) {
  return c >= 0x20 && !(c >= 0x7f && c <= 0x9f) && !(c >= 0xd800 && c <= 0xf8ff) && c < 0xfff0;
}

bool is_dots(std::string_view segment) {
  return segment == "." || segment == "..";
}

// Of one between two slashes.
std::optional<std::string> segment_error(std::string_view segment) {
  if (segment.empty()) {
    return "is empty";
  }
  if (is_dots(segment)) {
    return R"(must be neither "." nor "..")";
  }
  for (std::size_t at = 0; at < segment.size();) {
    const Character character = character_at(segment, at);
    if (character.bytes == 0 || !zookeeper_takes(character.code)) {
      return "has " + describe(character) + " at offset " + std::to_string(at) + ", which ZooKeeper does not take";
    }
    at += character.bytes;
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> name_error(std::string_view name) {
  if (name.size() > kMaxNameBytes) {
    return too_long(name, kMaxNameBytes);
  }
  if (name.empty()) {
    return "is empty";
  }
  if (is_dots(name)) {
    return R"(must be neither "." nor "..")";
  }
  const auto bad =
      std::find_if(name.begin(), name.end(), [](char c) { return !kNameCharacters[static_cast<unsigned char>(c)]; });
  if (bad != name.end()) {
    const auto at = static_cast<std::size_t>(bad - name.begin());
    return "has " + describe(character_at(name, at)) + " at offset " + std::to_string(at) +
           "; a name holds A-Z a-z 0-9 . _ : @ + = ~ % , -";
  }
  return std::nullopt;
}

std::optional<std::string> path_error(std::string_view path) {
  if (!path.starts_with('/')) {
    return "must be absolute, that is, start with a slash";
  }
  if (path.size() > kMaxPathBytes) {
    return too_long(path, kMaxPathBytes);
  }
  std::size_t begin = 1;
  for (std::size_t segments = 1;; ++segments) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view segment = path.substr(begin, end - begin);
    if (segments > kMaxPathSegments) {
      return "has more than " + std::to_string(kMaxPathSegments) + " segments";
    }
    if (const auto error = segment_error(segment)) {
      return "has a segment, at offset " + std::to_string(begin) + ", that " + *error;
    }
    if (begin == 1 && segment == "zookeeper") {
      return "lies under /zookeeper, which is ZooKeeper's own";
    }
    if (end == path.size()) {
      return std::nullopt;
    }
    begin = end + 1;
  }
}

std::optional<std::uint64_t> parse_number(std::string_view text, std::uint64_t min, std::uint64_t max) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < min || value > max) {
    return std::nullopt;
  }
  return value;
}

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text, std::chrono::milliseconds max) {
  for (const DurationUnit& unit : kDurationUnits) {
    if (!text.ends_with(unit.suffix)) {
      continue;
    }
    text.remove_suffix(unit.suffix.size());
    const auto count = parse_number(text, 0, static_cast<std::uint64_t>(max.count()) / unit.ms);
    return count ? std::optional(std::chrono::milliseconds(*count * unit.ms)) : std::nullopt;
  }
  return std::nullopt;
}

std::optional<std::chrono::milliseconds> parse_age(std::string_view text) {
  constexpr std::int64_t kDayMs = 86'400'000;
  if (!text.ends_with('d')) {
    return parse_duration(text, kLongestDuration);
  }
  text.remove_suffix(1);
  const auto count = parse_number(text, 0, static_cast<std::uint64_t>(kLongestDuration.count() / kDayMs));
  return count ? std::optional(std::chrono::milliseconds(static_cast<std::int64_t>(*count) * kDayMs)) : std::nullopt;
}

std::string duration_text(std::chrono::milliseconds duration) {
  const auto ms = static_cast<std::uint64_t>(duration.count());
  const DurationUnit* largest = &kDurationUnits[ms == 0 ? 1 : 0];
  for (const DurationUnit& unit : kDurationUnits) {
    largest = ms != 0 && ms % unit.ms == 0 ? &unit : largest;
  }
  return std::to_string(ms / largest->ms) + std::string(largest->suffix);
}

std::optional<RegistrationId> parse_id(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) {
    return std::nullopt;
  }
  const std::string_view service = text.substr(0, slash);
  const std::string_view instance = text.substr(slash + 1);
  if (name_error(service) || name_error(instance)) {
    return std::nullopt;
  }
  return RegistrationId{std::string(service), std::string(instance)};
}

std::string_view state_name(core::State state) {
  return kStateNames[static_cast<std::size_t>(state)];
}

std::optional<core::State> parse_state(std::string_view name) {
  const auto found = std::find(kStateNames.begin(), kStateNames.end(), name);
  if (found == kStateNames.end()) {
    return std::nullopt;
  }
  return static_cast<core::State>(found - kStateNames.begin());
}

std::string_view reason_name(core::ReasonCode code) {
  switch (code) {
    case core::ReasonCode::connecting:
      return "connecting";
    case core::ReasonCode::no_quorum:
      return "no_quorum";
    case core::ReasonCode::session_expired:
      return "session_expired";
    case core::ReasonCode::foreign_owner:
      return "foreign_owner";
    case core::ReasonCode::persistent_znode:
      return "persistent_znode";
    case core::ReasonCode::no_auth:
      return "no_auth";
    case core::ReasonCode::too_large:
      return "too_large";
    case core::ReasonCode::invalid_path:
      return "invalid_path";
    case core::ReasonCode::parent_ephemeral:
      return "parent_ephemeral";
    case core::ReasonCode::quota:
      return "quota";
    case core::ReasonCode::refused:
      return "refused";
    case core::ReasonCode::check_failed:
      return "check_failed";
    case core::ReasonCode::maintenance:
      return "maintenance";
    case core::ReasonCode::storage:
      return "storage";
  }
  assert(false);
  return "";
}

std::string_view session_state_name(core::SessionState state) {
  switch (state) {
    case core::SessionState::connecting:
      return "connecting";
    case core::SessionState::connected:
      return "connected";
    case core::SessionState::suspended:
      return "suspended";
    case core::SessionState::expired:
      return "expired";
    case core::SessionState::auth_failed:
      return "auth_failed";
  }
  assert(false);
  return "";
}

std::string_view storage_state_name(core::StorageState state) {
  switch (state) {
    case core::StorageState::working:
      return "working";
    case core::StorageState::hung:
      return "hung";
    case core::StorageState::failed:
      return "failed";
    case core::StorageState::full:
      return "full";
  }
  assert(false);
  return "";
}

std::string_view format_name(Format format) {
  switch (format) {
    case Format::raw:
      return "raw";
    case Format::json:
      return "json";
    case Format::curator:
      return "curator";
    case Format::spring:
      return "spring";
    case Format::serverset:
      return "serverset";
    case Format::nerve:
      return "nerve";
  }
  assert(false);
  return "";
}

std::optional<Format> parse_format(std::string_view name) {
  for (const Format format :
       {Format::raw, Format::json, Format::curator, Format::spring, Format::serverset, Format::nerve}) {
    if (name == format_name(format)) {
      return format;
    }
  }
  return std::nullopt;
}

std::string_view bind_name(Bind bind) {
  switch (bind) {
    case Bind::none:
      return "none";
    case Bind::process:
      return "process";
    case Bind::connection:
      return "connection";
  }
  assert(false);
  return "";
}

std::string_view check_type_name(CheckType type) {
  switch (type) {
    case CheckType::tcp:
      return "tcp";
    case CheckType::http:
      return "http";
    case CheckType::command:
      return "command";
  }
  assert(false);
  return "";
}

std::string_view happening_name(Happening what) {
  switch (what) {
    case Happening::accepted:
      return "accepted";
    case Happening::deregistered:
      return "deregistered";
    case Happening::superseded:
      return "superseded";
    case Happening::registered:
      return "registered";
    case Happening::removed:
      return "removed";
    case Happening::conflict:
      return "conflict";
    case Happening::blocked:
      return "blocked";
    case Happening::expired:
      return "expired";
    case Happening::ttl_expired:
      return "ttl_expired";
    case Happening::process_ended:
      return "process_ended";
    case Happening::connection_closed:
      return "connection_closed";
    case Happening::unhealthy:
      return "unhealthy";
    case Happening::healthy:
      return "healthy";
    case Happening::maintenance_on:
      return "maintenance_on";
    case Happening::maintenance_off:
      return "maintenance_off";
    case Happening::repaired:
      return "repaired";
    case Happening::session_connected:
      return "session_connected";
    case Happening::session_suspended:
      return "session_suspended";
    case Happening::session_expired:
      return "session_expired";
    case Happening::storage_failed:
      return "storage_failed";
    case Happening::storage_recovered:
      return "storage_recovered";
    case Happening::agent_started:
      return "agent_started";
    case Happening::agent_stopped:
      return "agent_stopped";
    case Happening::history_gap:
      return "history_gap";
    case Happening::withdrawn:
      return "withdrawn";
    case Happening::pruned:
      return "pruned";
  }
  assert(false);
  return "";
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i + 1;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t above = row[j + 1];
      row[j + 1] = std::min({above + 1, row[j] + 1, diagonal + (a[i] == b[j] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace limpet::api
