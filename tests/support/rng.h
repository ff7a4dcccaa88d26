// A small random generator whose numbers are the same on every machine and library: what a seed does once, it does
// always. (The standard's distributions are not portable.) A plain value; one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>

namespace limpet::test {

class Rng {
 public:
  explicit Rng(std::uint64_t seed) : state_(seed) {}

  // The next 64 bits (splitmix64).
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15ULL);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }

  // 0 to n - 1. Precondition: n > 0. The bias of the modulus does not matter here.
  std::uint64_t below(std::uint64_t n) { return next() % n; }

  // Both ends inclusive. Precondition: low <= high.
  std::int64_t between(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(below(static_cast<std::uint64_t>(high - low) + 1));
  }

  // True with this probability; draws nothing where it is 0.
  bool chance(double probability) {
    return probability > 0 && static_cast<double>(next() >> 11) * 0x1.0p-53 < probability;
  }

  // One element, of a vector or an array. Precondition: not empty.
  template <typename Container>
  auto& pick(Container& container) {
    return container[below(std::size(container))];
  }

  // A generator of its own, so that what one part draws does not shift what another gets.
  Rng fork() { return Rng(next()); }

 private:
  std::uint64_t state_;
};

}  // namespace limpet::test
