// UTF-8 (RFC 3629) a character at a time, and which characters must not reach a log or a terminal. Pure; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace limpet {

// Length in bytes (1 to 4) of the UTF-8 sequence that starts at `begin`, or 0 if none does. No surrogates, nothing
// overlong, nothing past U+10FFFF. Precondition: begin < end.
inline std::size_t utf8_sequence(const char* begin, const char* end) {
  const auto lead = static_cast<unsigned char>(*begin);
  if (lead < 0x80) {
    return 1;
  }
  const std::size_t length = lead >= 0xC2 && lead <= 0xDF   ? 2
                             : (lead & 0xF0) == 0xE0        ? 3
                             : lead >= 0xF0 && lead <= 0xF4 ? 4
                                                            : 0;
  if (length == 0 || static_cast<std::size_t>(end - begin) < length) {
    return 0;
  }
  for (std::size_t i = 1; i < length; ++i) {
    if ((static_cast<unsigned char>(begin[i]) & 0xC0) != 0x80) {
      return 0;
    }
  }
  const auto second = static_cast<unsigned char>(begin[1]);
  const bool overlong = (lead == 0xE0 && second < 0xA0) || (lead == 0xF0 && second < 0x90);
  const bool surrogate = lead == 0xED && second > 0x9F;
  const bool too_high = lead == 0xF4 && second > 0x8F;
  return overlong || surrogate || too_high ? 0 : length;
}

// The control characters of ASCII, DEL, and those of Latin-1 (U+0080 to U+009F), which some terminals obey as well.
// `character`: one whole sequence.
inline bool is_control(std::string_view character) {
  const auto first = static_cast<unsigned char>(character[0]);
  return first < 0x20 || first == 0x7F ||
         (character.size() == 2 && first == 0xC2 && static_cast<unsigned char>(character[1]) < 0xA0);
}

// The marks that turn the direction of the text behind them, so that a line reads otherwise than its bytes, and the
// separators that some viewers take for the end of a line. `character`: one whole sequence. Returns its code point, or
// 0.
inline std::uint32_t turning_mark(std::string_view character) {
  std::uint32_t point = static_cast<unsigned char>(character[0]);
  if (character.size() == 2) {
    point = (point & 0x1F) << 6 | (static_cast<unsigned char>(character[1]) & 0x3F);
  } else if (character.size() == 3) {
    point = (point & 0x0F) << 12 | (static_cast<unsigned char>(character[1]) & 0x3Fu) << 6 |
            (static_cast<unsigned char>(character[2]) & 0x3F);
  } else {
    return 0;
  }
  const bool turns = point == 0x061C || point == 0x200E || point == 0x200F || (point >= 0x2028 && point <= 0x202E) ||
                     (point >= 0x2066 && point <= 0x2069);
  return turns ? point : 0;
}

}  // namespace limpet
