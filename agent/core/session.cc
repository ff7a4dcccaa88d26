#include "agent/core/session.h"

#include <algorithm>
#include <cstdio>

#include "agent/core/core.h"
#include "agent/core/harmless_text.h"

namespace limpet::core {

namespace {

// How many earlier sessions are remembered. Their znodes go with them within a time-out or so; a ghost that a server's
// bug leaves behind may stay longer, but not over this many sessions.
constexpr std::size_t kMaxFormer = 64;
// A handle that lost its connection and does not find back within this many time-outs is replaced. The library's handle
// remembers the last zxid it saw, and an ensemble that was wiped or restored refuses it for ever without saying
// "expired"; a fresh handle with the same session has seen nothing, and gets an answer.
constexpr std::int64_t kReopenAfterTimeouts = 3;
constexpr std::int64_t kMaxReopenDelayMs = 300'000;
// Servers that refuse the credentials are asked again after 5 s, 10 s, 20 s …, and at once after a reload. They may
// give a session first and refuse the first request on it: only a connection that lasted starts the row anew.
constexpr std::int64_t kFirstAuthDelayMs = 5'000;
constexpr std::int64_t kMaxAuthDelayMs = 60'000;
constexpr std::int64_t kLastingMs = 60'000;
// A connection that is cut this soon, this often in a row, is cut by something: another process with our session gets
// it moved to itself each time, for as long as both try. Somebody has to stand back.
constexpr std::int64_t kQuickLossMs = 1'000;
constexpr std::uint32_t kQuickLosses = 10;  // more than it takes to find a request that cuts it (Window)
constexpr std::int64_t kStandBackMs = 5'000;

std::string hex(SessionId id) {
  char text[32];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(id.value));
  return text;
}

}  // namespace

const char* to_string(SessionState state) {
  switch (state) {
    case SessionState::connecting:
      return "connecting";
    case SessionState::connected:
      return "connected";
    case SessionState::suspended:
      return "suspended";
    case SessionState::expired:
      return "expired";
    case SessionState::auth_failed:
      return "auth_failed";
  }
  return "";
}

SessionMachine::SessionMachine(const Options& options, std::optional<Session> stored, FormerSessions former)
    : options_(options),
      session_(std::move(stored)),
      former_(std::move(former)),
      from_earlier_run_(session_.has_value()) {
  if (session_ && session_->host != options_.host) {
    // Its znodes belong to that other machine, which may be alive, or lie under another chroot: not ours here.
    foreign_state_ = true;
    session_.reset();
    former_.clear();
    from_earlier_run_ = false;
  }
}

void SessionMachine::enter(SessionState state, Now now) {
  if (state != state_) {
    figures_ = figures(now);
    ++figures_.entered[static_cast<std::size_t>(state)];
    state_ = state;
    since_ = now;
  }
}

void SessionMachine::start(Now now, Actions& actions) {
  reason_ = {};
  since_ = now;
  durable_ = session_.has_value();
  epoch_ = Epoch{1};
  if (foreign_state_) {
    actions.push_back(Note{Note::Level::warn, "state_from_elsewhere",
                           "meaning=\"the state was made on another machine, or under another chroot: its ZooKeeper "
                           "session is not taken up; znodes that still stand are conflicts until they go\""});
  }
  actions.push_back(ZkStart{epoch_, session_});
}

void SessionMachine::let_go(Actions& actions) {
  connected_ = false;
  server_.clear();
  if (!parked_) {
    actions.push_back(ZkStop{epoch_});
  }
  ++epoch_.value;
  parked_ = true;
}

void SessionMachine::reopen(Actions& actions, std::optional<Session> with) {
  let_go(actions);
  parked_ = false;
  reopen_at_ms_.reset();
  actions.push_back(ZkStart{epoch_, std::move(with)});
}

SessionMachine::Turn SessionMachine::connected(const ZkConnected& event, Now now, Actions& actions) {
  reason_ = {};
  if (event.epoch != epoch_) {
    return Turn::none;
  }
  const bool same = session_ && session_->id == event.session.id;
  connected_ = true;
  server_ = event.server;
  no_quorum_ = false;
  trouble_.clear();
  limit_.clear();
  presume_at_ms_.reset();
  reopen_at_ms_.reset();
  reopen_delay_ms_ = 0;
  if (!same) {
    if (session_) {
      former_.push_back(session_->id);
    }
    durable_ = false;
    reattached_ = false;
    from_earlier_run_ = false;
    if (former_.size() > kMaxFormer) {
      former_.erase(former_.begin(), former_.end() - kMaxFormer);
    }
  } else if (from_earlier_run_ && !ever_connected_) {
    reattached_ = true;
  }
  if (!same || !ever_connected_) {
    ++sessions_;
  }
  ever_connected_ = true;
  connected_at_ms_ = now.steady_ms;
  session_ = event.session;
  session_->host = options_.host;
  enter(SessionState::connected, now);
  actions.push_back(Note{Note::Level::info, "zookeeper_connected",
                         "session=" + hex(session_->id) + " server=" + log_value(server_) +
                             " timeout_ms=" + std::to_string(session_->timeout_ms) + " session_is=" +
                             (!same         ? "new"
                              : reattached_ ? "reattached"
                                            : "the_same")});
  return same ? Turn::same_session : Turn::new_session;
}

SessionMachine::Turn SessionMachine::disconnected(Epoch epoch, Now now, Actions& actions) {
  reason_ = {};
  if (epoch != epoch_ || !connected_) {
    return Turn::none;
  }
  connected_ = false;
  lost_at_ms_ = now.steady_ms;
  const std::int64_t timeout_ms = session_->timeout_ms > 0 ? session_->timeout_ms : options_.session_timeout_ms;
  presume_at_ms_ = now.steady_ms + timeout_ms;
  reopen_delay_ms_ = kReopenAfterTimeouts * timeout_ms;
  reopen_at_ms_ = now.steady_ms + reopen_delay_ms_;
  enter(SessionState::suspended, now);
  actions.push_back(Note{Note::Level::warn, "zookeeper_connection_lost",
                         "session=" + hex(session_->id) + " server=" + log_value(server_) +
                             " meaning=\"the session may live; registrations are accepted and kept on disk\""});
  server_.clear();
  quick_losses_ = now.steady_ms - connected_at_ms_ < kQuickLossMs ? quick_losses_ + 1 : 0;
  if (quick_losses_ >= kQuickLosses) {
    if (quick_losses_ == kQuickLosses) {
      actions.push_back(
          Note{Note::Level::error, "zookeeper_connection_keeps_breaking",
               "session=" + hex(session_->id) +
                   " meaning=\"each connection is cut at once: another process uses this session, such as an agent on "
                   "a copy of the state directory, or the servers cut it without a word; look at their logs\""});
    }
    let_go(actions);
    reopen_at_ms_ = now.steady_ms + kStandBackMs;
  }
  return Turn::lost;
}

SessionMachine::Turn SessionMachine::expired(Epoch epoch, Now now, Actions& actions) {
  reason_ = {};
  if (epoch != epoch_) {
    return Turn::none;
  }
  if (session_) {
    actions.push_back(Note{Note::Level::warn, "zookeeper_session_expired",
                           "session=" + hex(session_->id) +
                               " meaning=\"its znodes are gone; a new session is made and all are registered again\""});
    former_.push_back(session_->id);
    if (former_.size() > kMaxFormer) {
      former_.erase(former_.begin());
    }
    session_.reset();
  }
  durable_ = false;
  from_earlier_run_ = false;
  presume_at_ms_.reset();
  enter(SessionState::expired, now);
  reopen(actions, std::nullopt);
  return Turn::gone;
}

SessionMachine::Turn SessionMachine::auth_failed(const ZkAuthFailed& event, Now now, Actions& actions) {
  reason_ = {};
  if (event.epoch != epoch_) {
    return Turn::none;
  }
  const bool lasted = connected_ && now.steady_ms - connected_at_ms_ >= kLastingMs;
  auth_delay_ms_ = auth_delay_ms_ == 0 || lasted ? kFirstAuthDelayMs : std::min(auth_delay_ms_ * 2, kMaxAuthDelayMs);
  auth_trouble_ = event.message;
  presume_at_ms_.reset();
  enter(SessionState::auth_failed, now);
  let_go(actions);
  reopen_at_ms_ = now.steady_ms + auth_delay_ms_;
  reopen_delay_ms_ = auth_delay_ms_;
  actions.push_back(Note{Note::Level::error, "zookeeper_auth_failed",
                         "retry_ms=" + std::to_string(auth_delay_ms_) + " meaning=" + quoted_value(auth_trouble_)});
  return Turn::lost;
}

void SessionMachine::trouble(const ZkTrouble& event, Now) {
  reason_ = {};
  if (event.epoch == epoch_ && !connected_) {
    no_quorum_ = event.no_quorum;
    trouble_ = event.message;
  }
}

void SessionMachine::limited(const ZkLimited& event, Actions& actions) {
  if (event.epoch == epoch_ && connected_ && limit_ != event.message) {
    limit_ = event.message;
    actions.push_back(Note{Note::Level::error, "zookeeper_session_limited", "meaning=" + quoted_value(limit_)});
    actions.push_back(Changed{});
  }
}

SessionMachine::Turn SessionMachine::servers_changed(Now now, Actions& actions) {
  reason_ = {};
  auth_delay_ms_ = 0;
  const bool was_connected = connected_;
  if (was_connected) {
    lost_at_ms_ = now.steady_ms;
    presume_at_ms_ = now.steady_ms + session_->timeout_ms;
    enter(SessionState::suspended, now);
  }
  reopen(actions, session_);
  return Turn::lost;
}

SessionMachine::Turn SessionMachine::tick(Now now, Actions& actions) {
  reason_ = {};
  if (presume_at_ms_ && now.steady_ms >= *presume_at_ms_) {
    presume_at_ms_.reset();
    enter(SessionState::expired, now);
    actions.push_back(Note{Note::Level::warn, "zookeeper_session_presumed_expired",
                           "session=" + hex(current()) +
                               " meaning=\"no server was reached for a whole session time-out; the session is tried "
                               "again first, and replaced if it has ended\""});
  }
  if (reopen_at_ms_ && now.steady_ms >= *reopen_at_ms_) {
    const std::int64_t delay_ms = std::min(reopen_delay_ms_ * 2, kMaxReopenDelayMs);
    reopen(actions, session_);
    reopen_delay_ms_ = delay_ms;
    reopen_at_ms_ = now.steady_ms + delay_ms;
    return Turn::lost;
  }
  return Turn::none;
}

PutSession SessionMachine::record() const {
  return PutSession{*session_, former_};
}

void SessionMachine::durable(SessionId id) {
  if (session_ && session_->id == id) {
    durable_ = true;
  }
}

bool SessionMachine::held_before(SessionId id) const {
  return std::find(former_.begin(), former_.end(), id) != former_.end();
}

std::optional<std::int64_t> SessionMachine::deadline() const {
  if (presume_at_ms_ && reopen_at_ms_) {
    return std::min(*presume_at_ms_, *reopen_at_ms_);
  }
  return presume_at_ms_ ? presume_at_ms_ : reopen_at_ms_;
}

ReasonCode SessionMachine::reason_code() const {
  switch (state_) {
    case SessionState::connecting:
    case SessionState::suspended:
      return no_quorum_ ? ReasonCode::no_quorum : ReasonCode::connecting;
    case SessionState::connected:
      return ReasonCode::storage;
    case SessionState::expired:
      return no_quorum_ ? ReasonCode::no_quorum : ReasonCode::session_expired;
    case SessionState::auth_failed:
      return ReasonCode::no_auth;
  }
  return ReasonCode::connecting;
}

std::string SessionMachine::situation() const {
  const std::string why = trouble_.empty() ? "" : ": " + trouble_;
  switch (state_) {
    case SessionState::connecting:
      return "not connected to ZooKeeper yet" + why;
    case SessionState::connected:
      return "connected to ZooKeeper, but the new session is not on disk yet, and nothing is created before it is";
    case SessionState::suspended:
      return quick_losses_ >= kQuickLosses ? "each connection to ZooKeeper is cut at once: another process uses the "
                                             "same session, such as an agent on a copy of the state directory, or the "
                                             "servers cut it without a word; look at their logs"
                                           : "the connection to ZooKeeper is lost, the session may live" + why;
    case SessionState::expired:
      return session_ ? "no ZooKeeper server was reached for longer than the session time-out; the session is tried "
                        "again first, and replaced if it has ended" +
                            why
                      : "the ZooKeeper session has ended, a new one is being made" + why;
    case SessionState::auth_failed:
      return auth_trouble_;
  }
  return "";
}

SharedReason SessionMachine::reason() const {
  if (!reason_) {
    reason_ = Reason{reason_code(), situation(), since_.wall_ms, 0};
  }
  return reason_;
}

std::string SessionMachine::words() const {
  if (state_ != SessionState::connected) {
    return situation();
  }
  return "session " + hex(session_->id) + (reattached_ ? ", taken up again, on " : " on ") + server_;
}

void SessionMachine::show(StatusView& view) const {
  view.session_state = state_;
  if (session_) {
    view.session = session_->id;
  }
  view.server = server_;
  view.session_timeout_ms = session_ ? session_->timeout_ms : options_.session_timeout_ms;
  view.session_since = since_.wall_ms;
  view.session_message = usable() ? limit_ : situation();
  view.reattached = reattached_;
  view.sessions = sessions_;
}

SessionFigures SessionMachine::figures(Now now) const {
  SessionFigures figures = figures_;
  figures.spent_ms[static_cast<std::size_t>(state_)] += now.steady_ms - since_.steady_ms;
  return figures;
}

}  // namespace limpet::core
