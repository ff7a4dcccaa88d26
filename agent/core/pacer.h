// When queued writes go out.
//
// A transaction costs the servers about as much as fifty creates in it, however small it is. So a write that comes
// alone goes out at once, and while many come, more of them go together: transactions are 5 to 20 ms apart unless one
// is full.
//
// Updates of znodes that stand are different: no reader misses a name meanwhile, and an update that is superseded need
// not be sent at all. All that are queued go out as one burst, and a cooldown follows, twice as long as the burst took
// (20 to 100 ms, too short for people to notice). So a host that updates as fast as it can takes a third of what the
// servers can do, and leaves the rest to other hosts.
// Owned by Replay; no clock, no I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

namespace limpet::core {

class Pacer {
 public:
  // The writes at the head of the queue.
  struct Ready {
    std::size_t writes = 0;
    std::size_t room = 0;    // of the window
    std::size_t enough = 0;  // writes that fill a transaction
    bool update = false;     // the first one updates a znode of ours
    bool in_flight = false;  // an earlier write is not answered
  };

  // True where the first goes out now. False: the answer to a write in flight decides again, or wake_at().
  bool may_send(const Ready& ready, std::int64_t now_ms);
  // `writes` of the `queued` ones go out as one transaction.
  void sent(std::size_t writes, std::size_t queued, std::int64_t now_ms);
  // The last transaction in flight was done.
  void idle(std::int64_t now_ms);
  void connection_lost() { burst_left_ = 0; }

  // Forgets wake_at() until may_send() refuses again.
  void stop_waiting() { waiting_ = false; }
  std::optional<std::int64_t> wake_at() const { return waiting_ ? std::optional(wake_ms_) : std::nullopt; }
  // True where a transaction went out within the last `within_ms`.
  bool busy(std::int64_t now_ms, std::int64_t within_ms) const { return now_ms - next_ms_ < within_ms; }

 private:
  // All steady.
  std::int64_t next_ms_ = 0;    // when the next small transaction may go out
  std::int64_t cooled_ms_ = 0;  // when the cooldown of updates ends
  std::int64_t burst_began_ms_ = 0;
  std::int64_t wake_ms_ = 0;
  std::size_t burst_left_ = 0;  // of the writes that were queued when the burst began: they go out without a pause
  bool waiting_ = false;        // for wake_ms_
};

}  // namespace limpet::core
