#include "agent/core/window.h"

#include <algorithm>

namespace limpet::core {

bool Window::take_share(std::int64_t steady_ms) {
  if (rate_ == 0) {
    return true;
  }
  next_share_ms_.reset();
  // Shares of a tenth of a second, so that a low rate does not come in one burst a second.
  constexpr std::int64_t kShareMs = 100;
  const std::uint32_t share = std::max<std::uint32_t>(1, rate_ / 10);
  const std::int64_t share_ms = rate_ < 10 ? 1'000 / rate_ : kShareMs;
  if (steady_ms - share_began_ms_ >= share_ms) {
    share_began_ms_ = steady_ms;
    share_used_ = 0;
  }
  if (share_used_ == share) {
    next_share_ms_ = share_began_ms_ + share_ms;
    return false;
  }
  ++share_used_;
  return true;
}

void Window::answered(std::int64_t took_ms) {
  ++answers_since_cut_;
  batch_bytes_ = std::min(batch_bytes_ + 16, kMaxBatchBytes);
  if (took_ms < kSlowMs) {
    limit_ = std::min(limit_ + 1, max_);
  } else if (answers_since_cut_ >= limit_) {
    // At most once for each window: all answers of one window were on their way when the first turned out slow.
    limit_ = std::max<std::uint32_t>(limit_ / 2, 1);
    answers_since_cut_ = 0;
  }
}

std::optional<std::string> Window::lost(const std::vector<std::string>& paths) {
  limit_ = std::min(kFirst, max_);
  answers_since_cut_ = 0;
  if (paths.size() == 1 && suspects_.contains(paths.front())) {
    return ++lost_alone_[paths.front()] >= kLossesAloneToConvict ? std::optional(paths.front()) : std::nullopt;
  }
  bool suspicious = false;
  for (const std::string& path : paths) {
    if (++losses_[path] >= kLossesBeforeSuspicion) {
      suspicious = suspects_.insert(path).second || suspicious;
    }
  }
  if (suspicious) {
    batch_bytes_ = std::max(batch_bytes_ / 2, kMinBatchBytes);
  }
  return std::nullopt;
}

void Window::settled(const std::string& path) {
  losses_.erase(path);
  suspects_.erase(path);
  lost_alone_.erase(path);
}

void Window::probation(const std::string& path) {
  suspects_.insert(path);
  lost_alone_[path] = kLossesAloneToConvict - 1;
}

}  // namespace limpet::core
