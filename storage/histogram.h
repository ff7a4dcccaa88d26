// How long something took, counted in buckets of fixed bounds.
//
// One thread observes, any thread reads; no lock, no allocation: an observation is a few plain instructions. A view
// that is taken meanwhile may miss the newest observation in its sum, but is consistent in its counts.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace limpet {

class Histogram {
 public:
  // Upper bounds, inclusive; what is longer than the last has a bucket of its own.
  static constexpr std::array<std::int64_t, 17> kBoundsUs = {
      50,     100,     250,     500,     1'000,     2'500,     5'000,     10'000,    25'000,
      50'000, 100'000, 250'000, 500'000, 1'000'000, 2'500'000, 5'000'000, 10'000'000};

  struct View {
    std::array<std::uint64_t, kBoundsUs.size() + 1> counts = {};  // of each bucket alone
    std::int64_t sum_ns = 0;
  };

  // By one thread only. Less than nothing, as a clock may say, counts as nothing.
  void observe(std::chrono::nanoseconds took) {
    const std::int64_t ns = std::max<std::int64_t>(took.count(), 0);
    std::size_t bucket = 0;
    while (bucket < kBoundsUs.size() && ns > kBoundsUs[bucket] * 1'000) {
      ++bucket;
    }
    add(counts_[bucket], std::uint64_t{1});
    add(sum_ns_, ns);
  }

  View view() const {
    View view;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      view.counts[i] = counts_[i].load(std::memory_order_relaxed);
    }
    view.sum_ns = sum_ns_.load(std::memory_order_relaxed);
    return view;
  }

 private:
  // There is one writer, so this need not be one indivisible addition, which would cost a locked instruction.
  template <typename Number>
  static void add(std::atomic<Number>& to, Number what) {
    to.store(to.load(std::memory_order_relaxed) + what, std::memory_order_relaxed);
  }

  std::array<std::atomic<std::uint64_t>, kBoundsUs.size() + 1> counts_ = {};
  std::atomic<std::int64_t> sum_ns_ = 0;
};

}  // namespace limpet
