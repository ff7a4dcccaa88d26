// What ends by itself, is withdrawn, and is told in the history, judged.
//
// Judges I9 (the agent removes a registration only for a cause that is real, reckoned anew from what happened outside),
// that each removal stands in the history with its cause in the same batch, that maintenance which was acknowledged
// survives whatever comes, and the history: every acknowledged change is in it, numbers rise, nothing is told before it
// is kept. What must be gone at the end (I10) is asked by Simulation::difference(). Owned by Simulation.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "tests/sim/locals.h"
#include "tests/sim/model.h"

namespace limpet::test {

class Ends {
 public:
  // What is passed must outlive this object.
  Ends(const FakeStore& store, Model& model, const Locals& locals, const ManualClock& clock,
       std::int64_t connection_grace_ms, Verdict& verdict)
      : store_(store),
        model_(model),
        locals_(locals),
        clock_(clock),
        connection_grace_ms_(connection_grace_ms),
        verdict_(verdict) {}

  // ---- The driver's reports
  void agent_started();  // before the first event
  void agent_died();
  void reread();  // the store was opened again
  void graced();  // from now on everyone has a whole ttl
  void wall_jumped() { wall_jumped_ = true; }
  void persisting(const core::Persist& persist, const core::Caller* by);  // `by`: of the Submit that is being handled
  void committed(const Batch& batch);                                     // written and synced, and about to be told
  void heartbeat_answered(const RegistrationId& id, const core::Reply& reply);
  void repeated(const RegistrationId& id, const std::string& data, core::ConnectionId connection);
  // The same, in a call that is not answered, or that failed with the disk: whether it is bound so is left open.
  void perhaps_bound(const core::Submit& submit);
  void decided(const core::Submit& submit);  // it was answered, with certainty
  void recorded(const core::Recorded& recorded);

  // ---- Maintenance
  void maintenance_submitted(const core::SetMaintenance& event);
  bool maintenance_replied(const core::Reply& reply);  // false: it answers something else
  void check_maintenance(const core::Core& core);
  bool maintenance_open() const { return !calls_.empty(); }
  bool host_in_maintenance(const core::Core& core) const;

  // This change was accepted by this run, and since the store was last opened.
  bool accepted_since_start(Seq seq) const {
    const auto at = accepted_at_.find(seq);
    return at != accepted_at_.end() && at->second > grace_at_;
  }
  // Why this registration, which still stands, must go by itself; empty: it may stay.
  std::string doomed(const RegistrationId& id, const Accepted& accepted) const;
  // At the end.
  void check_history();

  const std::array<std::uint64_t, 32>& counts() const { return counts_; }  // of removals by the agent, by Happening

 private:
  using Target = std::optional<RegistrationId>;
  struct Known {
    std::optional<std::string> reason;  // absent: not in maintenance
    Seq seq;
  };
  struct Call {
    Target target;
    std::optional<std::string> reason;
  };

  void load_planned();
  void judge(const Registration& ended, const HistoryEntry& entry);
  bool connection_over(const Registration& ended) const;
  bool reached(const Registration& registration) const;
  void fail(const Registration& ended, const HistoryEntry& entry, const std::string& why);

  const FakeStore& store_;
  Model& model_;
  const Locals& locals_;
  const ManualClock& clock_;
  const std::int64_t connection_grace_ms_;
  Verdict& verdict_;

  std::map<RegistrationId, Registration> planned_;
  std::map<RegistrationId, std::int64_t> heard_;                                          // of its owner, steady ms
  std::map<std::pair<RegistrationId, std::string>, std::set<core::ConnectionId>> bound_;  // in this run, by content
  std::map<std::pair<RegistrationId, std::string>, std::multiset<core::ConnectionId>> perhaps_bound_;
  std::map<Seq, std::int64_t> accepted_at_;  // steady ms
  std::int64_t run_at_ = 0;
  std::int64_t grace_at_ = 0;
  bool wall_jumped_ = false;

  std::map<Target, Known> known_;  // what stands, where it is not in doubt
  std::map<core::Token, Call> calls_;
  std::map<Seq, bool> maintenance_acknowledged_;  // seq -> on
  std::uint64_t last_recorded_ = 0;
  std::array<std::uint64_t, 32> counts_{};
};

}  // namespace limpet::test
