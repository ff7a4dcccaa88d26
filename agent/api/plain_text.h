// Bytes that stand for themselves in a JSON string, looked at sixteen at a time: the compiler makes of it what the
// processor has. Not more at a time: with 32 (AVX2) this took half the instructions, and 64 callers' rate fell by a
// tenth. Internal to agent/api; pure, any thread.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace limpet::api::plain_text {

using Block = signed char __attribute__((vector_size(16)));

// Where a byte stands for itself, all bits of that of the result are set; otherwise, none: control characters (DEL is
// one), quotes, backslashes and all but ASCII.
inline Block plain_marks(Block block) {
  // With this bit turned round the quote changes places with the space, next to the control characters. From 0x80 on
  // bytes are negative.
  static_assert(('"' ^ 2) == ' ');
  constexpr Block kBit = Block{} + 2;
  return static_cast<Block>(((block ^ kBit) > ' ') & ~(block == '\\') & ~(block == 0x7f));
}
inline Block plain_marks(const char* at) {
  Block block;
  std::memcpy(&block, at, sizeof block);
  return plain_marks(block);
}

// How many bytes are marked before the first that is not.
inline std::size_t count_marked(Block marks) {
#if defined(__SSE2__)
  const auto bits = static_cast<unsigned>(_mm_movemask_epi8(reinterpret_cast<__m128i>(marks)));
  return static_cast<std::size_t>(std::countr_one(bits));
#else
  constexpr std::size_t kHalf = sizeof(std::uint64_t);
  std::uint64_t halves[2];
  std::memcpy(halves, &marks, sizeof halves);
  const auto count = [](std::uint64_t half) {
    const bool little = std::endian::native == std::endian::little;
    return static_cast<std::size_t>(little ? std::countr_one(half) : std::countl_one(half)) / 8;
  };
  return count(halves[0]) != kHalf ? count(halves[0]) : kHalf + count(halves[1]);
#endif
}

}  // namespace limpet::api::plain_text
