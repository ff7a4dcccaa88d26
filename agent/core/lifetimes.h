// When a registration ends by itself: its heartbeats stop, its process or connection ends, or it does not reach
// ZooKeeper in time.
//
// A ttl counts only time in which the agent ran and could be reached. Its clock is the monotonic one without the
// stretches in which a timer came late (a frozen agent, a machine without a moment for it); where more than a moment
// was lost, or the machine was suspended, or the disk failed, everyone gets a whole ttl anew. (Consul's agent has the
// same clock for its TTL checks, but takes no account of its own stalls.) The grace of connections to an earlier run
// goes by the same clock. Nothing here removes anything: an end that was found stays found until the registration is
// gone or another change of it stands, so that a disk that fails meanwhile loses none; only what a heartbeat could have
// prevented is given another chance. Owned by Core; no clock, no I/O.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
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
    bool excusable = false;  // it ends for want of a sign of life, for which there may be a new time
  };

  explicit Lifetimes(std::int64_t connection_grace_ms) : connection_grace_ms_(connection_grace_ms) {}

  // Once before anything else of a step. `expected_at_ms`: when the driver was last asked to tick, if it was.
  void observe(Now now, std::optional<std::int64_t> expected_at_ms);
  // A whole ttl for everyone, from now on.
  void grant_grace();

  // The registration is live with this content. `expires_in_ms`: unless it reaches ZooKeeper; absent: it does not.
  void begin(const Registration& registration, std::optional<std::int64_t> expires_in_ms, Now now);
  // The registration of change `seq` is gone.
  void end(const RegistrationId& id, Seq seq);
  // Its content of change `seq` is in ZooKeeper: it cannot expire any more. True where it could have.
  bool reached(const RegistrationId& id, Seq seq);
  bool may_expire(const RegistrationId& id) const;
  void heartbeat(const RegistrationId& id);

  // A caller on `connection` asked for change `seq`, which is bound to it, or said again that it is. It may not be on
  // disk yet, and may never come to be: what stands meanwhile keeps the connection that it has.
  void bind(const RegistrationId& id, Seq seq, ConnectionId connection);
  void closed(ConnectionId connection);

  // Something ended. Kept until end(), or begin() with a newer change.
  void found(End end);
  // Ends whose time has come are found.
  void expire(Now now);
  // The ends that were found and not yet taken.
  std::vector<End> take();
  // There is a sign of life after all: an end of that kind is void, and its time begins anew.
  void spare(const End& end);
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
    bool last_call = false;  // its time is up, but for a heartbeat that was sent and not heard yet
    std::optional<Deadlines::iterator> expires_at;
    bool orphan = false;  // bound to a connection to an earlier run
    std::optional<Deadlines::iterator> orphaned_at;
    std::int64_t expires_ms = 0;
  };
  using Lives = std::unordered_map<RegistrationId, Life>;
  struct Found {
    End end;
    bool taken = false;
  };

  Lives::iterator find_life(const RegistrationId& id);
  Lives::const_iterator find_life(const RegistrationId& id) const;
  void set_ttl(Life& life, const RegistrationId& id);
  void set_orphan(Life& life, const RegistrationId& id);
  void unbind(const RegistrationId& id, Seq before);
  void forget_found(const RegistrationId& id, Seq before);
  void clear(Life& life);
  std::int64_t ttl_clock() const { return steady_ms_ - stalled_ms_; }

  const std::int64_t connection_grace_ms_;

  std::int64_t steady_ms_ = 0;  // of the last observe()
  WallMs wall_ms_ = 0;
  std::int64_t asleep_ms_ = 0;
  std::int64_t stalled_ms_ = 0;
  std::int64_t watch_at_ms_ = 0;  // observe() is to be called by then
  bool observed_ = false;

  Lives lives_;         // only those that can end by themselves
  Deadlines ttls_;      // in time of ttl_clock()
  Deadlines expiries_;  // in steady ms
  Deadlines orphans_;   // in time of ttl_clock()
  std::map<ConnectionId, std::set<std::pair<RegistrationId, Seq>>> bound_;
  std::map<std::pair<RegistrationId, Seq>, ConnectionId> connections_;
  std::map<std::pair<RegistrationId, Seq>, Found> found_;
};

}  // namespace limpet::core
