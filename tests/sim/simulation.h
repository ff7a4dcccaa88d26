// One random history from its seed: a Core, a FakeStore, a FakeEnsemble, callers and faults, in one thread and in
// simulated time. The driver here does what agent/agent.cc does: it feeds events to the core and carries out its
// actions. At the end the faults stop, and everything must come to agree (I4). The same seed always gives the same
// history, so that a violation is replayed by it.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/ends.h"
#include "tests/sim/history.h"
#include "tests/sim/judge.h"
#include "tests/sim/locals.h"
#include "tests/sim/mutation.h"

namespace limpet::test {

inline constexpr std::int64_t kNever = FakeEnsemble::kNever;

// How much happened, so that a run can refuse to pass when too little did (I18).
struct Tally {
  std::uint64_t histories = 0;
  std::uint64_t steps = 0;
  std::uint64_t poisonings = 0;  // connections cut for a request's sake
  std::uint64_t acknowledged = 0;
  std::uint64_t writes = 0;
  std::uint64_t crashes = 0;
  std::uint64_t simulated_ms = 0;
  std::array<std::uint64_t, kFaultCount> faults{};
  std::array<std::uint64_t, 32> ends{};  // of registrations, by the agent, by Happening
  std::uint64_t heartbeats = 0;
  std::uint64_t maintenance = 0;  // calls
  std::uint64_t withdrawn = 0;    // seen so when a history ended
  std::uint64_t hangs = 0;        // appends without an answer for seconds
  void add(const Tally& other);
};

class Simulation {
 public:
  // `trace`: keep the last events in words; slow.
  Simulation(const History& history, Mutation mutation, bool trace);
  ~Simulation();

  // Runs the history. True where no invariant was violated.
  bool run();

  const std::string& violation() const { return verdict_.message(); }
  const std::deque<std::string>& trace() const { return trace_; }
  const Tally& tally() const { return tally_; }

 private:
  // ---- The driver (driver.cc)
  void start_agent();
  void crash_agent(bool power_cut);
  void step(core::Event event);
  void keep_books(const core::Event& event);
  bool stays_for_a_move(const std::string& path, const std::vector<core::QueuedOperation>& queue) const;
  bool any_stays_for_a_move() const;
  bool goes_with_a_move(const std::vector<core::ZkRequest>& batch, std::size_t at) const;
  std::size_t znodes_in_flight(const core::ZkSend& send);
  void lose_in_flight();
  bool runs_wild();
  void carry_out(core::Action action);
  void persist(core::Persist persist);
  void replied(const core::Reply& reply);
  void tell_local();  // what a local program did
  void before_step(const core::Event& event);
  void after_step(const std::optional<core::HealthChanged>& failed);
  void commit();        // the commit thread is done with what it has in hand
  void take_in_hand();  // ... and takes what has gathered
  void reopen_store();
  bool run_due();  // one thing that is due; false: nothing is
  std::int64_t next_due() const;
  void run_until(std::int64_t steady_ms);
  void note(const std::string& line);

  // ---- Callers and faults (chaos.cc)
  void call();
  core::ChangeRequest random_change();
  void give_lifetime(Lifetime& lifetime);
  void call_maintenance(bool end);
  void inject_local(Fault fault);
  void thaw();
  core::RegisterRequest random_register();
  void inject();
  void inject_agent_fault(Fault fault);
  void inject_ensemble_fault(Fault fault);
  void inject_store_fault(Fault fault);
  void inject_neighbourhood_fault(Fault fault);
  void space(bool low);
  void rival_gone();
  bool any_poison() const;
  std::uint64_t poisons() const;  // accepted contents that the servers cut the connection for
  void inject_outsider(Fault fault);
  std::string random_path();
  void undo_due();  // faults that were to last until now
  std::int64_t duration();

  // ---- The end (converge.cc)
  void long_outage();
  void heal();
  void converge();
  std::int64_t heal_ms() const;
  std::string difference() const;  // from the state in which everything agrees; empty: none
  std::string difference_of(const RegistrationId& id, const Accepted& accepted) const;
  bool withdrawn(const RegistrationId& id) const;
  std::string difference_of_withdrawn(const RegistrationId& id, const Accepted& accepted) const;
  void check_quiet();
  std::string difference_soon();  // as difference(), but a reconnect for a poisonous request's sake is waited for
  void check_views();             // what the core shows in different places agrees

  const History history_;
  Rng rng_;
  Mutator mutator_;
  const bool tracing_;
  Verdict verdict_;
  Tally tally_;
  std::deque<std::string> trace_;

  ManualClock clock_;
  core::Options options_;
  FakeStore store_;
  Model model_;
  Judge judge_;
  Locals locals_;
  Ends ends_;
  std::unique_ptr<FakeEnsemble> ensemble_;

  // The agent. Everything here dies with it.
  std::unique_ptr<core::Core> core_;
  core::Actions actions_;              // kept for its room
  std::deque<core::Persist> waiting_;  // for the commit thread
  std::vector<core::Persist> in_hand_;
  std::int64_t commit_at_ = FakeEnsemble::kNever;
  std::int64_t reopen_at_ = FakeEnsemble::kNever;
  Status store_failed_;  // of the append that failed; ok while appends are possible
  std::int64_t timer_at_ = FakeEnsemble::kNever;
  std::map<std::uint64_t, std::vector<std::string>> in_flight_;  // ops that the window counts, and their paths
  std::map<core::Token, RegistrationId> heartbeats_;             // not answered yet
  std::map<core::Token, core::Submit> submits_;                  // likewise
  const core::Caller* submitter_ = nullptr;                      // while its Submit is handled
  std::optional<core::Now> mutated_now_;
  std::map<std::string, int> losses_;  // of the connection while a request for this path was in flight
  core::Epoch epoch_;
  std::optional<SessionId> handle_session_;  // of the present handle, until it is let go of
  std::deque<core::Event> early_;            // what a mutation makes up
  bool crash_within_step_ = false;
  std::uint64_t last_ticket_ = 0;

  // Faults that pass.
  std::int64_t restart_at_ = FakeEnsemble::kNever;
  std::int64_t thaw_at_ = FakeEnsemble::kNever;
  std::int64_t frozen_at_ = 0;
  std::int64_t network_back_at_ = FakeEnsemble::kNever;
  std::int64_t quorum_back_at_ = FakeEnsemble::kNever;
  std::int64_t credentials_back_at_ = FakeEnsemble::kNever;
  std::int64_t allow_at_ = FakeEnsemble::kNever;
  std::int64_t room_at_ = FakeEnsemble::kNever;   // on the disk
  std::int64_t alone_at_ = FakeEnsemble::kNever;  // the rival process goes
  std::uint64_t rival_connects_ = 0;              // when it came, ours were so many
  std::uint64_t rival_faults_ = 0;                // ... and so many faults had been injected
  std::int64_t rival_since_ = 0;
  std::uint64_t injected_ = 0;
  std::uint64_t hosts_ = 1;
  bool low_ = false;  // on space
  bool faults_on_ = true;

  std::vector<RegistrationId> ids_;
  std::map<RegistrationId, core::RegisterRequest> last_requests_;
  std::uint64_t next_token_ = 1;
  std::uint64_t next_content_ = 1;
  std::uint64_t ticks_ = 0;
  std::uint64_t sends_ = 0;
  std::uint64_t pruned_ = 0;
  std::uint64_t notes_ = 0;
  std::int64_t busy_at_ = 0;  // busy-loop guard: steps at one instant
  std::uint64_t busy_steps_ = 0;
};

}  // namespace limpet::test
