#include "agent/core/pacer.h"

#include <algorithm>

namespace limpet::core {

namespace {

constexpr std::size_t kFullTransaction = 512;
constexpr std::int64_t kShortestPauseMs = 5;
constexpr std::int64_t kLongestPauseMs = 20;
constexpr std::size_t kWritesPerMs = 8;

constexpr std::int64_t kCooldownForEachMs = 2;
constexpr std::int64_t kShortestCooldownMs = 20;
constexpr std::int64_t kLongestCooldownMs = 100;

std::int64_t pause_ms_after(std::size_t writes) {
  return std::clamp(static_cast<std::int64_t>(writes / kWritesPerMs), kShortestPauseMs, kLongestPauseMs);
}

}  // namespace

bool Pacer::may_send(const Ready& ready, std::int64_t now_ms) {
  const std::size_t enough = std::min(ready.enough, kFullTransaction);
  if (burst_left_ > 0 && ready.room >= std::min(burst_left_, enough)) {
    return true;
  }
  if (!ready.update && std::min(ready.writes, ready.room) >= enough) {
    return true;
  }
  wake_ms_ = std::max(next_ms_, ready.update ? cooled_ms_ : 0);
  waiting_ = !ready.in_flight && now_ms < wake_ms_;
  return !ready.in_flight && !waiting_;
}

void Pacer::sent(std::size_t writes, std::size_t queued, std::int64_t now_ms) {
  if (burst_left_ == 0) {
    burst_left_ = queued;
    burst_began_ms_ = now_ms;
  }
  burst_left_ -= std::min(burst_left_, writes);
  next_ms_ = now_ms + pause_ms_after(writes);
}

void Pacer::idle(std::int64_t now_ms) {
  if (burst_left_ == 0) {
    const std::int64_t cooldown = kCooldownForEachMs * (now_ms - burst_began_ms_);
    cooled_ms_ = now_ms + std::clamp(cooldown, kShortestCooldownMs, kLongestCooldownMs);
  }
}

}  // namespace limpet::core
