// How much may be in flight: few at first and after trouble, more while answers come quickly, one where a request is
// suspected of making the servers cut the connection.
//
// A request that is too large for the servers (jute.maxbuffer) is not refused: the connection is cut, and everything in
// flight with it is lost. Sent again with the rest it would be cut again for ever. So what was in
// flight at two losses in a row is suspect, and while there are suspects, requests go one at a time; what is lost alone
// three times is convicted, to be set aside.
// Owned by Replay; no clock, no I/O.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace limpet::core {

class Window {
 public:
  // `max` requests in flight at most; `rate` writes a second at most, 0: as many as there are.
  Window(std::uint32_t max, std::uint32_t rate) : max_(max), rate_(rate) {}

  void set_rate(std::uint32_t rate) {
    rate_ = rate;
    next_share_ms_.reset();
  }

  std::uint32_t limit() const { return careful() ? 1 : limit_; }
  bool room(std::uint32_t in_flight) const { return in_flight < limit(); }

  // Takes a write from this second's share; false: none is left, come again at next_share_ms().
  bool take_share(std::int64_t steady_ms);
  std::optional<std::int64_t> next_share_ms() const { return next_share_ms_; }
  // Nobody waits for the next share any more, or for something else first: until take_share() fails again.
  void stop_waiting() { next_share_ms_.reset(); }

  // An answer came after `took_ms`: additive growth, halved where answers are slow.
  void answered(std::int64_t took_ms);

  // The connection went while the writes to `paths` were in flight. Returns the path that is convicted, if one is.
  std::optional<std::string> lost(const std::vector<std::string>& paths);

  // How many bytes of writes may go in one transaction. A server's bound on the whole request may be lower than the
  // usual 1 MiB: it is halved with each suspicion, and grows back with answers.
  std::uint64_t batch_bytes() const { return batch_bytes_; }

  // The path came to rest: as wanted, or set aside.
  void settled(const std::string& path);

  // The path was convicted before and is tried again: alone, and one loss convicts it.
  void probation(const std::string& path);

  bool careful() const { return !suspects_.empty(); }

 private:
  static constexpr std::uint32_t kFirst = 2048;  // some transactions, so that the servers always have the next
  static constexpr std::uint64_t kMaxBatchBytes = 256 << 10;
  static constexpr std::uint64_t kMinBatchBytes = 8 << 10;
  // Answers slower than this are a sign of servers under load (P10).
  static constexpr std::int64_t kSlowMs = 200;
  static constexpr std::uint32_t kLossesBeforeSuspicion = 2;
  static constexpr std::uint32_t kLossesAloneToConvict = 3;

  const std::uint32_t max_;
  std::uint32_t rate_;
  std::uint32_t limit_ = kFirst < max_ ? kFirst : max_;
  std::uint32_t answers_since_cut_ = 0;
  std::uint64_t batch_bytes_ = kMaxBatchBytes;
  std::unordered_map<std::string, std::uint32_t> losses_;  // in a row, while a write to it was in flight
  std::unordered_set<std::string> suspects_;
  std::unordered_map<std::string, std::uint32_t> lost_alone_;
  std::int64_t share_began_ms_ = 0;
  std::uint32_t share_used_ = 0;
  std::optional<std::int64_t> next_share_ms_;
};

}  // namespace limpet::core
