// The inside of Core: its parts and what is on its way to the disk. Private to core*.cc.
#pragma once

#include <deque>
#include <optional>
#include <unordered_set>
#include <utility>
#include <vector>

#include "agent/core/core.h"
#include "agent/core/holds.h"
#include "agent/core/lifetimes.h"
#include "agent/core/parents.h"
#include "agent/core/pruner.h"
#include "agent/core/registry.h"
#include "agent/core/replay.h"
#include "agent/core/session.h"

namespace limpet::core {

class Core::Impl {
 public:
  Impl(Options options, StoredState stored);

  void step(Event&& event, Now now, Actions& actions);

  Options options_;
  Parents parents_;
  Registry registry_;
  Lifetimes lifetimes_;
  Holds holds_;
  SessionMachine session_;
  Replay replay_;
  Pruner pruner_;
  std::uint64_t parents_pruned_ = 0;

  enum class Disk { working, hung, failed };
  Disk disk_ = Disk::working;
  bool low_on_space_ = false;  // only deregistrations are accepted
  Status storage_status_;      // of disk_; ok while it works
  WallMs storage_since_ = 0;   // when disk_ was entered
  // While something is in flight: when the disk last answered, or was first asked where nothing was in flight.
  Now awaited_since_;
  std::optional<std::int64_t> no_answer_at_ms_;  // steady; when a first look found it silent for long
  Seq committed_;                                // highest seq on disk

  void show_storage(StatusView& status, Now now) const;
  // `there`: what the replay knows of its path.
  State state_of(const Registration& registration, const Replay::Node* there) const;
  SharedReason reason_of(const RegistrationId& id, const Replay::Node* there, State state) const;
  RegistrationView view(const SharedRegistration& registration) const;
  RegistrationView view(const Removal& removal) const;

 private:
  // Outcomes and the history of what happened by itself wait this long for a batch to go along with, then go by
  // themselves, without a sync: losing outcomes costs a read of each znode after the next start, no more; but for the
  // first of what would otherwise expire.
  static constexpr std::int64_t kLazyMs = 200;
  static constexpr std::size_t kLazyRoom = 256;

  struct InFlight {
    struct Entry {            // of the history
      std::size_t place = 0;  // so many changes come before it
      SharedHistoryEntry entry;
    };
    std::uint64_t ticket = 0;
    Seq last_seq;                 // as its batch's
    std::vector<Change> changes;  // without the history, which is most of them, and small by itself
    std::vector<Entry> history;
    std::vector<PutOutcome> left_out;  // of what is deregistered by this append or one before it
    std::vector<std::pair<Token, std::vector<AcceptedChange>>> replies;
  };

  void on(Started, Now now, Actions& actions);
  void on(Stopping, Now now, Actions& actions);
  void on(Submit&& event, Now now, Actions& actions);
  void on(Leave event, Now now, Actions& actions);
  void on(const Heartbeat& event, Now now, Actions& actions);
  void on(SetMaintenance event, Now now, Actions& actions);
  void on(Prune event, Now now, Actions& actions);
  void on(const ConnectionClosed& event, Now now, Actions& actions);
  void on(const ProcessEnded& event, Now now, Actions& actions);
  void on(const HealthChanged& event, Now now, Actions& actions);
  void on(Reconfigured event, Now now, Actions& actions);
  void on(Persisted event, Now now, Actions& actions);
  void on(StoreReopened event, Now now, Actions& actions);
  void on(const SpaceChanged& event, Now now, Actions& actions);
  void on(const ZkConnected& event, Now now, Actions& actions);
  void on(const ZkDisconnected& event, Now now, Actions& actions);
  void on(const ZkExpired& event, Now now, Actions& actions);
  void on(const ZkAuthFailed& event, Now now, Actions& actions);
  void on(const ZkLimited& event, Now now, Actions& actions);
  void on(const ZkTrouble& event, Now now, Actions& actions);
  void on(const ZkReplied& event, Now now, Actions& actions);
  void on(const ZkWatchFired& event, Now now, Actions& actions);
  void on(Tick, Now now, Actions& actions);
  void on(ServersChanged, Now now, Actions& actions);

  // ---- core.cc
  void accept(Token token, const Caller& caller, std::vector<ChangeRequest>& changes, Now now, Actions& actions);
  std::vector<PutOutcome> leave_out_deregistered(const Batch& batch);
  void persist(Batch&& batch, Actions& actions, bool sync);
  void persist_session(Actions& actions);
  void flush_lazy(Now now, Actions& actions);
  bool disk_works() const { return disk_ == Disk::working; }
  std::optional<std::int64_t> disk_deadline() const;
  void look_at_disk(Now now, Actions& actions);
  void disk_answers(Now now, Actions& actions);
  bool repeats_what_is_durable(const std::vector<ChangeRequest>& changes, const Caller& caller) const;
  std::optional<Problem> storage_refusal(bool frees_room) const;
  void answer_when_durable(Token token, std::vector<AcceptedChange> answers, bool waits, Actions& actions);
  static void answer(InFlight& done, const Status& status, Actions& actions);
  void storage_failed(const Status& status, Now now, Actions& actions);
  void session_turned(SessionMachine::Turn turn, Now now, Actions& actions);
  void resume(Now now, Actions& actions);
  void set_timer(Actions& actions);

  // ---- core_effects.cc
  void take_effect(InFlight& done, Now now, Replay::Effects& effects);
  void take_effect(const Change& change, bool known, Now now, Replay::Effects& effects);
  void take_effect(const SharedRegistration& registration, bool known, Now now, Replay::Effects& effects);
  void take_effect(const EraseRegistration& erased, Now now, Actions& actions);
  void superseded_removal(const EraseRemoval& erased, Now now, Actions& actions);
  void absorb(Replay::Effects& effects, Now now);

  // ---- core_lives.cc
  void want(const SharedRegistration& registration, bool known, Replay::Node* there, Replay::Effects& effects);
  void hold_changed(const std::optional<RegistrationId>& id, Replay::Effects& effects);
  void note_bindings(const std::vector<ChangeRequest>& changes, const std::vector<AcceptedChange>& answers,
                     const Caller& caller);
  void began(const Registration& registration, std::optional<std::int64_t> expires_in_ms, Now now, Actions& actions);
  void forget_other_checks(const Registration& old, const Registration& next, Now now, Actions& actions);
  void ended(const RegistrationId& id, Seq seq, Actions& actions);
  bool awaits_answer(const RegistrationId& id) const;
  void tell_excess(Actions& actions) const;
  void end_lives(Now now, Actions& actions);
  void set_failing(const Registration& registration, std::optional<std::string> message, Now now, Actions& actions,
                   const std::string& why = "");
  void void_outcome(const Registration& registration, std::vector<Change>& changes) const;
  void drop_void_holds();
  void void_failure(const Registration& registration, const std::string& message, Actions& actions);
  std::vector<Hold> unconfirmed_withdrawals() const;
  void take_back(const std::vector<Hold>& unconfirmed, Now now, Actions& actions);
  void recheck(Now now, Actions& actions);
  void holds_reread(const std::vector<Hold>& stored, Now now, Replay::Effects& effects);

  // ---- core_parents.cc
  void write_parents(std::vector<Change>&& changes, Now now);
  void remember_parents(std::vector<Parent>&& created, Now now);
  void parents_used(const std::string& path, Now now);
  void rescue_parents(const StoredState& stored, Now now);
  void pruner_done(Now now, Actions& actions);

  // ---- core_history.cc
  HistoryEntry entry(Happening what, Now now);
  bool may_record();
  void record(SharedHistoryEntry entry, Now now);
  void record(HistoryEntry&& entry, Now now);
  void record(Happening what, std::string why, Now now);
  void record_accepted(const std::vector<ChangeRequest>& changes, Plan& plan, const Caller& caller, Now now);
  void record_superseded(Seq seq, const RegistrationId& id, const Replay::Node* there, std::string why, Now now);
  void record_session(Now now);
  void rescue_history(std::uint64_t stored_event, Now now, Actions& actions);
  void rescue_outcomes(const StoredState& stored);

  std::deque<InFlight> in_flight_;
  std::uint64_t next_ticket_ = 1;
  std::vector<Change> lazy_;  // what goes along with the next batch
  std::uint64_t last_event_ = 0;
  std::uint64_t entries_lost_ = 0;  // of the history, while the disk failed
  SessionState recorded_session_ = SessionState::connecting;
  std::vector<SharedHistoryEntry> unwritten_;   // of batches that failed
  std::vector<PutOutcome> unwritten_outcomes_;  // likewise
  std::unordered_set<RegistrationId> watched_;
  std::vector<Seq> reached_;  // before the start: present contents that have been in ZooKeeper, sorted
  std::optional<std::int64_t> lazy_at_ms_;
  bool lazy_sync_ = false;  // what waits must not be lost by a power cut either
  std::int64_t reopen_delay_ms_ = 0;
  bool fresh_session_ = false;  // the session's predecessors have surely ended
  bool nothing_of_ours_ = false;
  std::optional<std::int64_t> timer_ms_;
  Now step_now_;                                   // of the step under way
  std::optional<std::int64_t> away_since_ms_ = 0;  // steady: since when ZooKeeper is away
};

}  // namespace limpet::core
