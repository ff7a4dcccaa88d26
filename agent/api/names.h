// The words that a request may use: names of services and instances, znode paths, durations, states, formats.
//
// The characters of a name are few, so that it can be part of a URL, a file's name or a pattern. A path holds whatever
// both the ZooKeeper servers and their C client take: the client lets pass paths that the servers refuse, and what can
// never be replayed must not be stored. Pure functions; any thread.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "agent/core/types.h"

namespace limpet::api {

inline constexpr std::size_t kMaxNameBytes = 255;
inline constexpr std::size_t kMaxPathBytes = 8'192;
inline constexpr std::size_t kMaxPathSegments = 32;

// What is wrong with a service or instance name, in words for a human that follow its mention ("is empty"), or
// nullopt: 1 to 255 of A-Z a-z 0-9 . _ : @ + = ~ % , - and neither "." nor "..".
std::optional<std::string> name_error(std::string_view name);

// The same for a znode path: absolute, at most kMaxPathBytes and kMaxPathSegments, none of it ZooKeeper's own, each
// segment UTF-8 of the characters that ZooKeeper takes: none of U+0000 to U+001F, U+007F to U+009F, U+D800 to U+F8FF,
// U+FFF0 to U+FFFF, and none above (PathUtils.java of the servers).
std::optional<std::string> path_error(std::string_view path);

// The longest that anything is said to last anywhere: ten years.
inline constexpr std::chrono::milliseconds kLongestDuration = std::chrono::hours(87'600);
// "250ms", "10s", "5m", "24h": digits and one unit. nullopt where it is anything else or longer than `max`.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text,
                                                        std::chrono::milliseconds max = std::chrono::hours(24));
// The same, or a number of days, "7d": how long ago something was.
std::optional<std::chrono::milliseconds> parse_age(std::string_view text);
// As parse_duration() reads it, in the largest unit that gives a whole number; nothing is "0s". Precondition: not
// negative.
std::string duration_text(std::chrono::milliseconds duration);

// Decimal digits only, within [min, max].
std::optional<std::uint64_t> parse_number(std::string_view text, std::uint64_t min, std::uint64_t max);

// "service/instance". nullopt where either is not a name.
std::optional<RegistrationId> parse_id(std::string_view text);

std::string_view state_name(core::State state);
std::optional<core::State> parse_state(std::string_view name);
std::string_view reason_name(core::ReasonCode code);
std::string_view session_state_name(core::SessionState state);
std::string_view storage_state_name(core::StorageState state);
std::string_view format_name(Format format);
std::optional<Format> parse_format(std::string_view name);
std::string_view bind_name(Bind bind);
std::string_view check_type_name(CheckType type);
std::string_view happening_name(Happening what);

// The one of `known` that `word` is a slip of, or an empty view.
template <typename Words>
std::string_view nearest_word(std::string_view word, const Words& known);

// Single-letter edits (insert, delete, replace) from `a` to `b`. Cost is the product of their lengths.
std::size_t edit_distance(std::string_view a, std::string_view b);

template <typename Words>
std::string_view nearest_word(std::string_view word, const Words& known) {
  constexpr std::size_t kMaxEdits = 2;
  std::string_view nearest;
  std::size_t least = kMaxEdits + 1;
  for (const std::string_view candidate : known) {
    // Two edits make anything of a word of two letters.
    if (candidate.size() <= kMaxEdits || word.size() > candidate.size() + kMaxEdits) {
      continue;
    }
    const std::size_t distance = edit_distance(word, candidate);
    if (distance < least) {
      least = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

}  // namespace limpet::api
