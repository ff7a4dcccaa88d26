// FNV-1a in 64 bits (http://www.isthe.com/chongo/tech/comp/fnv/): a stamp of some bytes that is the same everywhere and
// for ever. Not for secrets. Pure; any thread.
#pragma once

#include <cstdint>
#include <string_view>

namespace limpet {

class Fnv1a {
 public:
  constexpr Fnv1a() = default;
  constexpr explicit Fnv1a(std::string_view text) { add(text); }

  constexpr void add(std::uint8_t byte) { value_ = (value_ ^ byte) * 1'099'511'628'211U; }
  constexpr void add(std::string_view text) {
    for (const char c : text) {
      add(static_cast<std::uint8_t>(c));
    }
  }
  constexpr std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 14'695'981'039'346'656'037U;
};

}  // namespace limpet
