// Deliberate bugs. Each stands for a mistake that the agent could make, brought in from outside: by changing what the
// core is told, what it asks for, or what is kept of it. A checker that does not catch them proves nothing (I18).
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "agent/core/event.h"

namespace limpet::test {

enum class Mutation {
  none,
  acknowledge_before_sync,    // callers are answered before the disk has written
  ignore_sync,                // written, but never synced
  replay_out_of_order,        // two creates change places
  unknown_is_done,            // what was lost with the connection is taken for done
  unknown_is_refused,         // ... or for refused for good
  session_after_creates,      // the session's id comes to disk too late
  forget_removals,            // a deregistration is dropped on the way to ZooKeeper
  remove_late,                // a delete is held back until after the create that follows it
  forget_session_on_restart,  // no re-attachment
  forget_former_sessions,     // what an earlier session left is taken for another's
  reuse_seq,                  // the counter is one batch old after a restart
  adopt_foreign,              // another's znode is taken for ours
  steal_foreign,              // another's znode is taken for one of an earlier session
  end_session_on_stop,        // stop is taken for leave
  refuse_but_apply,           // the caller hears "invalid", the change happens
  torn_batches,               // a batch is not atomic
  stale_data,                 // a znode gets the content before the present one
  convict_neighbour,          // what was in flight with a poisonous request is refused in its place, for good
  take_up_other_machine,      // a copied state directory's session is re-attached to
  ignore_low_space,           // the core does not hear that the disk is full
  never_stand_back,           // a let-go handle is replaced at once, however often
  lose_watches,               // nobody hears that a znode changed
  wall_clock_ttl,             // a ttl is reckoned by the wall clock
  no_grace_after_freeze,      // time in which the agent stood still counts
  adopt_reused_pid,           // the end of an older process is taken for that of the present one
  forget_maintenance,         // it is not restored at the start
  forget_health,              // a failing check that was stored is not taken up, nor its end told
  lose_deaths,                // what ends while the disk fails is forgotten
  forget_outcomes,            // what had been in ZooKeeper expires after a restart
  reuse_events,               // the history's counter is a few entries old after a restart
  unheard_heartbeats,         // heartbeats come to nothing
  lose_moves,                 // after a restart, nobody knows that a removal is one half of a change of path
  untold_causes,              // a removal by the agent leaves no trace in the history
  kCount,
};
const char* name_of(Mutation mutation);

// Holds what a mutation has to remember. The driver passes everything through it.
class Mutator {
 public:
  explicit Mutator(Mutation mutation) : mutation_(mutation) {}
  Mutation kind() const { return mutation_; }
  bool is(Mutation mutation) const { return mutation_ == mutation; }

  // False where the core shall not see the event. `before`: what it shall see first.
  bool event(core::Event& event, std::vector<core::Event>& before, core::Now now, bool disk_fails);
  // True where the request shall not be sent, but be answered `refused`.
  bool refuses(const core::ZkSend& send) const;
  // True where the handle is let go, and shall be replaced at once all the same.
  bool stands_back(const core::Actions& actions) const;
  void actions(core::Actions& actions);
  void stored(StoredState& stored, const std::string& host);
  // The process died: what was held back is gone.
  void died();

 private:
  struct WallTtl {
    Seq seq;
    std::int64_t ttl_ms = 0;
    WallMs at = 0;
  };
  bool local_event(core::Event& event, std::vector<core::Event>& before, core::Now now, bool disk_fails);
  void end_by_wall(std::vector<core::Event>& before, WallMs now);
  void lives(core::Persist& persist);
  void replied(core::ZkReplied& replied);
  void convict_neighbours();
  void decide_unknown(core::Epoch epoch, std::vector<core::Event>& before);
  void make_stale(core::ZkRequest& write);
  void swap_creates(core::Actions& actions) const;
  void hold_removals(core::Actions& actions);

  const Mutation mutation_;
  std::map<std::uint64_t, core::ZkRequest> sent_;  // by op, not answered yet
  std::set<std::pair<std::string, std::string>> refused_;
  core::Epoch epoch_;
  std::map<std::string, std::string> older_;  // path -> the content before the present one
  std::map<std::string, std::string> newest_;
  std::optional<core::ZkSend> held_;
  SessionId current_;
  FormerSessions former_;
  std::map<RegistrationId, Seq> watched_;
  std::map<RegistrationId, WallTtl> wall_ttls_;
  WallMs wall_ms_ = 0;
};

}  // namespace limpet::test
