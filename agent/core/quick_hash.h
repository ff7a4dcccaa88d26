// A hash of names and paths, for tables in which they are looked up with each change: eight bytes at a time, and in
// line. Not for anything that is kept or compared between runs. Pure; any thread.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "storage/record.h"

namespace limpet::core {

inline std::uint64_t quick_hash(std::string_view text, std::uint64_t seed = 0) {
  __extension__ using Wide = unsigned __int128;
  constexpr std::uint64_t kOdd = 0x9E3779B97F4A7C15;
  constexpr std::size_t kWord = sizeof(std::uint64_t);
  const auto mix = [](std::uint64_t value) {
    const Wide product = static_cast<Wide>(value) * kOdd;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
  };
  const auto load = [](const char* from, std::size_t size) {
    std::uint64_t word = 0;
    std::memcpy(&word, from, size);
    return word;
  };
  const char* at = text.data();
  std::size_t left = text.size();
  std::uint64_t hash = mix(seed + left + 1);
  for (; left > kWord; left -= kWord, at += kWord) {
    hash = mix(hash ^ load(at, kWord));
  }
  if (text.size() >= kWord) {
    return mix(hash ^ load(text.data() + text.size() - kWord, kWord));  // overlaps what was taken before
  }
  std::uint64_t rest = 0;
  if (left >= 4) {
    rest = load(at, 4) | load(at + left - 4, 4) << 32;
  } else if (left != 0) {
    rest = load(at, 1) | load(at + left / 2, 1) << 8 | load(at + left - 1, 1) << 16;
  }
  return mix(hash ^ rest);
}

inline std::uint64_t quick_hash(const RegistrationId& id) {
  return quick_hash(id.instance, quick_hash(id.service));
}

}  // namespace limpet::core
