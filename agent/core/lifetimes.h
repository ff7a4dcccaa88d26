// When a registration ends by itself: its heartbeats stop, its process or connection ends, or it does not reach
// ZooKeeper in time.
//
// A ttl counts only time in which the agent ran and could be reached. Its clock is the monotonic one without the
// stretches in which a timer came late (a frozen agent, a machine without a moment for it); where more than a moment
// was lost, or the machine was suspended, or the disk failed, everyone gets a whole ttl anew. (Consul's agent has the
// same clock for its TTL checks, but takes no account of its own stalls.) Nothing here removes anything: an end that
// was found stays found until the registration is gone or another change of it is accepted, so that a disk that fails
// meanwhile loses none. Owned by Core; no clock, no I/O.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/core/types.h"

namespace limpet::core {

class Lifetimes {
 public:
  // Why a registration ends.
  struct End {
    RegistrationId id;
    Seq seq;  // the change that ends with it; a newer one of the same name lives on
    Happening cause = Happening::ttl_expired;
    std::string why;
  };

  explicit Lifetimes(std::int64_t connection_grace_ms) : connection_grace_ms_(connection_grace_ms) {}

  // Once before anything else of a step. `expected_at_ms`: when the driver was last asked to tick, if it was.
  void observe(Now now, std::optional<std::int64_t> expected_at_ms);
  // A whole ttl for everyone, from now on.
  void grant_grace();

  // The registration is live with this content. `reached`: this content has been in ZooKeeper.
  void begin(const Registration& registration, bool reached, Now now);
  void end(const RegistrationId& id);
  // Its content of change `seq` is in ZooKeeper: it cannot expire any more. True where it could have.
  bool reached(const RegistrationId& id, Seq seq);
  void heartbeat(const RegistrationId& id);

  // A caller on `connection` registered `id` bound to it, whether that changed anything or not.
  void bind(const RegistrationId& id, ConnectionId connection);
  void unbind(const RegistrationId& id);
  // What is bound to it. It is so no longer.
  std::vector<RegistrationId> closed(ConnectionId connection);

  // Something ended. Kept until end() or begin() with another seq.
  void found(End end);
  // Ends whose time has come are found.
  void expire(Now now);
  // The ends that were found and not yet taken.
  std::vector<End> take();
  // Those taken that did not come to anything are to be taken again.
  void give_back();

  // When expire() finds something next, or observe() is to be called at the latest.
  std::optional<std::int64_t> deadline() const;
  std::optional<WallMs> ttl_expires_at(const RegistrationId& id) const;

 private:
  using Deadlines = std::multimap<std::int64_t, RegistrationId>;
  struct Life {
    Seq seq;
    std::int64_t ttl_ms = 0;
    std::optional<Deadlines::iterator> ttl_at;
    std::optional<Deadlines::iterator> expires_at;
    std::optional<Deadlines::iterator> orphaned_at;  // bound to a connection to an earlier run
    std::int64_t expires_ms = 0;
  };
  struct Found {
    End end;
    bool taken = false;
  };

  void set_ttl(Life& life, const RegistrationId& id);
  void clear(Life& life);
  std::int64_t ttl_clock() const { return steady_ms_ - stalled_ms_; }

  const std::int64_t connection_grace_ms_;

  std::int64_t steady_ms_ = 0;  // of the last observe()
  WallMs wall_ms_ = 0;
  std::int64_t asleep_ms_ = 0;
  std::int64_t stalled_ms_ = 0;
  std::int64_t watch_at_ms_ = 0;  // observe() is to be called by then
  bool observed_ = false;

  std::unordered_map<RegistrationId, Life> lives_;  // only those that can end by themselves
  Deadlines ttls_;                                  // in time of ttl_clock()
  Deadlines expiries_;                              // in steady ms
  Deadlines orphans_;                               // in steady ms
  std::map<ConnectionId, std::set<RegistrationId>> bound_;
  std::unordered_map<RegistrationId, ConnectionId> connections_;
  std::map<RegistrationId, Found> found_;
};

}  // namespace limpet::core
