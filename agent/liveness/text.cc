#include "agent/liveness/text.h"

#include <cassert>
#include <cstdint>

namespace limpet::liveness {
namespace {

constexpr std::string_view kCut = "…";

// The length of the UTF-8 character at the front of `bytes`, 1 to 4; 0 where there is none (RFC 3629, section 4).
std::size_t utf8_length(std::string_view bytes) {
  const auto at = [&](std::size_t i) { return i < bytes.size() ? static_cast<std::uint8_t>(bytes[i]) : 0u; };
  const auto tail = [&](std::size_t i) { return (at(i) & 0xC0u) == 0x80u; };
  const unsigned first = at(0);
  if (first < 0x80) {
    return 1;
  }
  if (first >= 0xC2 && first <= 0xDF) {
    return tail(1) ? 2 : 0;
  }
  if (first >= 0xE0 && first <= 0xEF) {
    const bool overlong = first == 0xE0 && at(1) < 0xA0;
    const bool surrogate = first == 0xED && at(1) >= 0xA0;
    return tail(1) && tail(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const bool overlong = first == 0xF0 && at(1) < 0x90;
    const bool beyond = first == 0xF4 && at(1) >= 0x90;
    return tail(1) && tail(2) && tail(3) && !overlong && !beyond ? 4 : 0;
  }
  return 0;
}

bool is_control(std::string_view character) {
  const auto first = static_cast<std::uint8_t>(character[0]);
  const bool c1 = character.size() == 2 && first == 0xC2 && static_cast<std::uint8_t>(character[1]) < 0xA0;
  return first < 0x20 || first == 0x7F || c1;
}

bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

std::string escape(std::string_view bytes) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes) {
    const auto byte = static_cast<std::uint8_t>(c);
    out += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
  }
  return out;
}

}  // namespace

std::string printable(std::string_view bytes, std::size_t max_bytes) {
  assert(max_bytes >= 8);
  std::string out;
  std::size_t cut_at = 0;  // as much of `out` as leaves room for the mark
  bool gap = false;
  while (!bytes.empty()) {
    if (is_space(bytes[0])) {
      gap = !out.empty();
      bytes.remove_prefix(1);
      continue;
    }
    const std::size_t length = utf8_length(bytes);
    const std::string_view character = bytes.substr(0, length == 0 ? 1 : length);
    const bool plain = length > 0 && !is_control(character);
    const std::string next = (gap ? " " : "") + (plain ? std::string(character) : escape(character));
    if (out.size() + next.size() > max_bytes) {
      return out.substr(0, cut_at) + std::string(kCut);
    }
    out += next;
    if (out.size() + kCut.size() <= max_bytes) {
      cut_at = out.size();
    }
    gap = false;
    bytes.remove_prefix(character.size());
  }
  return out;
}

}  // namespace limpet::liveness
