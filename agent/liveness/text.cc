#include "agent/liveness/text.h"

#include <cassert>
#include <cstdint>

#include "agent/core/unicode.h"

namespace limpet::liveness {
namespace {

constexpr std::string_view kCut = "…";

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
    const std::size_t length = utf8_sequence(bytes.data(), bytes.data() + bytes.size());
    const std::string_view character = bytes.substr(0, length == 0 ? 1 : length);
    const bool plain = length > 0 && !is_control(character) && turning_mark(character) == 0;
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
