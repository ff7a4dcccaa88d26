// The inside of Core: its parts and what is on its way to the disk. Private to core*.cc.
#pragma once

#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "agent/core/core.h"
#include "agent/core/registry.h"
#include "agent/core/replay.h"
#include "agent/core/session.h"

namespace limpet::core {

class Core::Impl {
 public:
  Impl(Options options, StoredState stored);

  void step(Event event, Now now, Actions& actions);

  Options options_;
  Registry registry_;
  SessionMachine session_;
  Replay replay_;

  bool storage_healthy_ = true;
  bool low_on_space_ = false;  // only deregistrations are accepted
  Status storage_status_;
  Seq committed_;  // highest seq on disk

  State state_of(const Registration& registration) const;
  std::optional<Reason> reason_of(const std::string& path, State state) const;
  RegistrationView view(const Registration& registration) const;
  RegistrationView view(const Removal& removal) const;

 private:
  struct InFlight {
    std::uint64_t ticket = 0;
    Batch batch;
    std::vector<std::pair<Token, std::vector<AcceptedChange>>> replies;
  };

  void on(Started, Now now, Actions& actions);
  void on(Submit event, Now now, Actions& actions);
  void on(Leave event, Now now, Actions& actions);
  void on(Persisted event, Now now, Actions& actions);
  void on(StoreReopened event, Now now, Actions& actions);
  void on(const SpaceChanged& event, Now now, Actions& actions);
  void on(const ZkConnected& event, Now now, Actions& actions);
  void on(const ZkDisconnected& event, Now now, Actions& actions);
  void on(const ZkExpired& event, Now now, Actions& actions);
  void on(const ZkAuthFailed& event, Now now, Actions& actions);
  void on(const ZkTrouble& event, Now now, Actions& actions);
  void on(const ZkReplied& event, Now now, Actions& actions);
  void on(const ZkWatchFired& event, Now now, Actions& actions);
  void on(Tick, Now now, Actions& actions);
  void on(ServersChanged, Now now, Actions& actions);

  void accept(Token token, const Caller& caller, const std::vector<ChangeRequest>& changes, Now now, Actions& actions);
  void persist(Batch batch, Actions& actions, bool sync);
  void persist_session(Actions& actions);
  void flush_lazy(Now now, Actions& actions);
  void take_effect(const std::vector<Change>& changes, bool known, Replay::Effects& effects);
  void absorb(Replay::Effects& effects, Now now);
  void storage_failed(const Status& status, Actions& actions);
  void session_turned(SessionMachine::Turn turn, Now now, Actions& actions);
  void resume(Now now, Actions& actions);
  void set_timer(Actions& actions);

  std::deque<InFlight> in_flight_;
  std::uint64_t next_ticket_ = 1;
  std::vector<Change> lazy_;
  std::optional<std::int64_t> lazy_at_ms_;
  std::int64_t reopen_delay_ms_ = 0;
  bool fresh_session_ = false;  // the session's predecessors have surely ended
  bool nothing_of_ours_ = false;
  std::optional<std::int64_t> timer_ms_;
};

}  // namespace limpet::core
