// The ZooKeeper session as the core sees it: which one we hold, which ones we held, and what to do about its handle.
//
//   connecting --connected--> connected --lost--> suspended --no contact for a time-out--> expired (presumed)
//        any --the server says so--> expired: new handle, no session       any --auth failed--> auth_failed: later
//        again
//
// A session outlives the loss of its connection, and freezes with the quorum; so a presumed expiry changes only what
// people are told. Only the server's word ends a session. Owned by Core; no clock, no I/O.
#pragma once

#include <optional>
#include <string>

#include "agent/core/event.h"
#include "agent/core/figures.h"

namespace limpet::core {

struct Options;

class SessionMachine {
 public:
  // What an event meant.
  enum class Turn {
    none,
    same_session,  // connected, with the session we had
    new_session,   // connected, with a new one: it must be durable before anything is created on it
    lost,          // no connection; the session may live
    gone,          // the session has ended for certain
  };

  SessionMachine(const Options& options, std::optional<Session> stored, FormerSessions former);

  void start(Now now, Actions& actions);
  Turn connected(const ZkConnected& event, Now now, Actions& actions);
  Turn disconnected(Epoch epoch, Now now, Actions& actions);
  Turn expired(Epoch epoch, Now now, Actions& actions);
  Turn auth_failed(const ZkAuthFailed& event, Now now, Actions& actions);
  void trouble(const ZkTrouble& event, Now now);
  void limited(const ZkLimited& event, Actions& actions);
  // The servers' list changed: a new handle with the same session. The old one's requests are `lost`.
  Turn servers_changed(Now now, Actions& actions);
  Turn tick(Now now, Actions& actions);

  // The record that must be on disk before the new session is used, and word that it is.
  PutSession record() const;
  void durable(SessionId id);

  // True while requests may be sent: connected, and the session is on disk.
  bool usable() const { return connected_ && durable_; }
  bool needs_record() const { return connected_ && !durable_; }
  Epoch epoch() const { return epoch_; }
  SessionId current() const { return session_ ? session_->id : SessionId{}; }
  bool held_before(SessionId id) const;
  // True where the servers take no ephemeral znode of this session, and people have been told so.
  bool is_limited() const { return !limit_.empty(); }
  SessionState state() const { return state_; }
  // What that means, in plain words.
  std::string words() const;
  bool has_history() const { return session_.has_value() || !former_.empty(); }

  // When tick() wants to be called next; nothing while all is well.
  std::optional<std::int64_t> deadline() const;

  void show(StatusView& view) const;
  SessionFigures figures(Now now) const;
  // Why something that waits for the session waits.
  SharedReason reason() const;

 private:
  void enter(SessionState state, Now now);
  ReasonCode reason_code() const;
  std::string situation() const;  // in plain words
  void let_go(Actions& actions);
  void reopen(Actions& actions, std::optional<Session> with);

  const Options& options_;
  Epoch epoch_;
  std::optional<Session> session_;
  FormerSessions former_;
  bool foreign_state_ = false;        // what was on disk came from another machine
  bool parked_ = false;               // no handle is open; one is opened at reopen_at_ms_
  std::int64_t connected_at_ms_ = 0;  // steady
  std::uint32_t quick_losses_ = 0;    // in a row
  bool from_earlier_run_ = false;     // session_ was on disk when this run began
  bool connected_ = false;
  bool durable_ = false;
  bool reattached_ = false;
  bool ever_connected_ = false;  // on any handle of this run
  std::uint64_t sessions_ = 0;
  SessionState state_ = SessionState::connecting;
  Now since_;
  SessionFigures figures_;  // without the time in the present state
  std::string server_;
  bool no_quorum_ = false;
  std::string trouble_;
  std::string limit_;                          // of this connection, see ZkLimited; empty: none
  std::string auth_trouble_;                   // the last auth_failed
  std::int64_t auth_delay_ms_ = 0;             // until the next try after it; grows while these come in a row
  std::int64_t lost_at_ms_ = 0;                // steady
  std::optional<std::int64_t> presume_at_ms_;  // steady: presumed expiry
  std::optional<std::int64_t> reopen_at_ms_;   // steady: fresh handle, in case the old one can never connect
  std::int64_t reopen_delay_ms_ = 0;
  mutable SharedReason reason_;  // as reason() last made it, until something happens
};

const char* to_string(SessionState state);

}  // namespace limpet::core
