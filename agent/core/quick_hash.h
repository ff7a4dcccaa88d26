// Hash and equality of names and paths, for tables in which they are looked up with each change: eight bytes at a time,
// and in line. The hash is not for anything that is kept or compared between runs. Pure; any thread.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "storage/record.h"

namespace limpet::core {

namespace quick {

constexpr std::size_t kWord = sizeof(std::uint64_t);

template <typename Word>
std::uint64_t load(const char* from) {
  Word word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

// Two words that hold all of a text of at most 16 bytes; they may overlap.
struct Ends {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
};
inline Ends ends_of(const char* text, std::size_t size) {
  if (size >= kWord) {
    return {load<std::uint64_t>(text), load<std::uint64_t>(text + size - kWord)};
  }
  if (size >= 4) {
    return {load<std::uint32_t>(text), load<std::uint32_t>(text + size - 4)};
  }
  if (size == 0) {
    return {};
  }
  return {load<std::uint8_t>(text) | load<std::uint8_t>(text + size / 2) << 8, load<std::uint8_t>(text + size - 1)};
}

inline std::uint64_t fold(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

}  // namespace quick

inline std::uint64_t quick_hash(std::string_view text, std::uint64_t seed = 0) {
  constexpr std::uint64_t kOdd = 0x9E3779B97F4A7C15;
  constexpr std::uint64_t kOther = 0xD1B54A32D192ED03;
  const char* at = text.data();
  std::size_t left = text.size();
  std::uint64_t hash = seed ^ kOther;
  for (; left > 2 * quick::kWord; left -= 2 * quick::kWord, at += 2 * quick::kWord) {
    hash = quick::fold(quick::load<std::uint64_t>(at) ^ kOdd, quick::load<std::uint64_t>(at + quick::kWord) ^ hash);
  }
  const quick::Ends rest = quick::ends_of(at, left);
  return quick::fold(rest.first ^ kOdd ^ text.size(), rest.last ^ hash);
}

inline std::uint64_t quick_hash(const RegistrationId& id) {
  return quick_hash(id.instance, quick_hash(id.service));
}

// As ==, for what is short as a rule.
inline bool quick_equal(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) {
    return false;
  }
  const char* at = a.data();
  const char* other = b.data();
  std::size_t left = a.size();
  for (; left > 2 * quick::kWord; left -= quick::kWord, at += quick::kWord, other += quick::kWord) {
    if (quick::load<std::uint64_t>(at) != quick::load<std::uint64_t>(other)) {
      return false;
    }
  }
  const quick::Ends ends = quick::ends_of(at, left);
  const quick::Ends others = quick::ends_of(other, left);
  return ends.first == others.first && ends.last == others.last;
}

inline bool quick_equal(const RegistrationId& a, const RegistrationId& b) {
  return quick_equal(a.instance, b.instance) && quick_equal(a.service, b.service);
}

}  // namespace limpet::core
