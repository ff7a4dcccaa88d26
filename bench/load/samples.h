// Latencies of a run: gathered one by one, told as percentiles. For the programs in bench/; one thread.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <vector>

namespace limpet::bench {

using Clock = std::chrono::steady_clock;

class Samples {
 public:
  void add(Clock::duration took) {
    micros_.push_back(static_cast<float>(std::chrono::duration_cast<std::chrono::nanoseconds>(took).count()) / 1000.0F);
  }
  std::size_t size() const { return micros_.size(); }

  // `share` from 0 to 1, in microseconds; 0 where there is no sample. Sorts.
  double percentile(double share) {
    if (micros_.empty()) {
      return 0;
    }
    const auto at = std::min(micros_.size() - 1, static_cast<std::size_t>(share * static_cast<double>(micros_.size())));
    std::nth_element(micros_.begin(), micros_.begin() + static_cast<std::ptrdiff_t>(at), micros_.end());
    return static_cast<double>(micros_[at]);
  }

 private:
  std::vector<float> micros_;
};

}  // namespace limpet::bench
