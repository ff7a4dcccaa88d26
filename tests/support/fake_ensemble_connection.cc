// The fake ensemble's connections: how they begin and break, which watches outlive them, and how sessions end.
#include <algorithm>
#include <cassert>
#include <utility>
#include <variant>

#include "tests/support/fake_ensemble.h"

namespace limpet::test {

using core::ZkCode;
using core::ZkReply;

// ---- Connections

void FakeEnsemble::try_connect() {
  Handle& handle = *handle_;
  const std::int64_t retry_at = clock_.steady_ms() + rng_.between(50, 50 + 4 * options_.max_connect_ms);
  handle.connect_at = retry_at;
  if (!network_ || !quorum_) {
    push(core::ZkTrouble{handle.epoch, network_, network_ ? "no quorum" : "connection refused"}, false);
    return;
  }
  if (auth_broken_) {
    end_handle(core::ZkAuthFailed{handle.epoch});
    return;
  }
  if (handle.session) {
    if (!take_over_session()) {
      return;
    }
  } else {
    Session session;
    session.id = SessionId{++next_session_};
    for (auto& byte : session.password) {
      byte = static_cast<std::uint8_t>(rng_.next());
    }
    session.timeout_ms = options_.granted_timeout_ms != 0 ? options_.granted_timeout_ms : options_.asked_timeout_ms;
    znodes_.take_zxid();
    sessions_[session.id] = ServerSession{session, false, znodes_.zxid(), kNever};
    handle.session = session;
    if (observer_ != nullptr) {
      observer_->on_session_begin(session);
    }
  }
  begin_connection();
}

// True when the handle's session is known here and now its own.
bool FakeEnsemble::take_over_session() {
  Handle& handle = *handle_;
  if (handle.last_zxid > znodes_.zxid()) {
    // Wiped servers tell a client that is ahead of them to go elsewhere, for ever; after three time-outs the wrapper
    // opens the handle anew, and then hears that the session is unknown.
    if (handle.refused_since < 0) {
      handle.refused_since = clock_.steady_ms();
    }
    if (clock_.steady_ms() - handle.refused_since < 3 * handle.session->timeout_ms) {
      push(core::ZkTrouble{handle.epoch, false, "the server says: try another"}, false);
      return false;
    }
  }
  const auto known = sessions_.find(handle.session->id);
  const bool refuse = std::exchange(refuse_reattach_, false);
  if (refuse || known == sessions_.end() || known->second.session.password != handle.session->password) {
    end_handle(core::ZkExpired{handle.epoch});
    return false;
  }
  known->second.deadline = kNever;
  handle.session->timeout_ms = known->second.session.timeout_ms;
  return true;
}

void FakeEnsemble::begin_connection() {
  Handle& handle = *handle_;
  handle.connected = true;
  handle.connect_at = kNever;
  handle.connected_since = clock_.steady_ms();
  handle.refused_since = -1;
  ++connects_;
  if (clock_.steady_ms() < rival_until_ && handle.session->id == rival_session_) {
    handle.rival_at = clock_.steady_ms() + rng_.between(0, 200);
  }
  if (rng_.chance(options_.lag_chance)) {
    const std::int64_t newest = znodes_.zxid().value;
    const std::int64_t oldest = std::max(handle.last_zxid.value, newest - 20);
    handle.view = Zxid{rng_.between(std::min(oldest, newest), newest)};
    handle.view_until = clock_.steady_ms() + rng_.between(1, 3000);
  }
  push(core::ZkConnected{handle.epoch, *handle.session, "10.0.0." + std::to_string(rng_.between(1, 3)) + ":2181"},
       false);
  set_watches_again();
}

void FakeEnsemble::set_watches_again() {
  const Zxid view = handle_->view.value_or(znodes_.zxid());
  for (const auto& [path, existed] : handle_->watches) {
    const Znode* seen = znodes_.find_at(path, view);
    const bool changed = existed ? (seen == nullptr || seen->stat.mzxid > handle_->last_zxid) : seen != nullptr;
    if (changed) {
      push(core::ZkWatchFired{handle_->epoch, path}, true);
    } else {
      handle_->server_watches.insert_or_assign(path, ServerWatch{existed, view});
    }
  }
}

// `told`: the core will hear of it.
void FakeEnsemble::lose_connection(bool told) {
  Handle& handle = *handle_;
  assert(handle.connected);
  const std::size_t applied = rng_.below(handle.to_server.size() + 1);
  for (std::size_t i = 0; i < applied && !poisonous(handle.to_server.front().request); ++i) {
    apply_next();
  }
  handle.connected = false;
  handle.rival_at = kNever;
  handle.server_watches.clear();
  handle.view.reset();
  handle.connect_at = clock_.steady_ms() + rng_.between(0, options_.max_connect_ms);
  const auto known = sessions_.find(handle.session->id);
  if (known != sessions_.end()) {
    const bool held = handle.session->id == rival_session_;
    known->second.deadline = std::max(clock_.steady_ms(), held ? rival_until_ : 0) + lease(known->second.session);
  }

  // Of what the servers said, a prefix arrives; everything else is in doubt.
  const auto wire = std::count_if(to_client_.begin(), to_client_.end(), [](const Outgoing& out) { return out.wire; });
  std::uint64_t arrives = rng_.below(static_cast<std::uint64_t>(wire) + 1);
  std::deque<Outgoing> kept;
  std::vector<core::OpId> lost;
  for (Outgoing& out : to_client_) {
    if (!out.wire || arrives > 0) {
      if (out.wire && told) {
        library_receives(out);
      }
      arrives -= out.wire ? 1 : 0;
      out.at = out.wire ? clock_.steady_ms() : out.at;
      out.wire = false;
      kept.push_back(std::move(out));
    } else if (const auto* replied = std::get_if<core::ZkReplied>(&out.event)) {
      lost.push_back(replied->op);
    }
  }
  to_client_ = told ? std::move(kept) : std::deque<Outgoing>();
  for (const Request& request : handle.to_server) {
    lost.push_back(request.op);
  }
  handle.to_server.clear();
  if (!told) {
    return;
  }
  handle.loss_untold = true;
  push(core::ZkDisconnected{handle.epoch}, false);
  for (const core::OpId op : lost) {
    push(core::ZkReplied{handle.epoch, op, ZkReply{ZkCode::unknown_outcome, {}, {}, "connection lost"}}, false);
  }
}

void FakeEnsemble::end_handle(core::Event last_word) {
  handle_->dead = true;
  handle_->connect_at = kNever;
  push(std::move(last_word), false);
}

// About how long the servers wait after the last they heard: pings come every third of a time-out.
std::int64_t FakeEnsemble::lease(const Session& session) {
  return session.timeout_ms - rng_.between(0, session.timeout_ms / 3) + rng_.between(0, 500);
}

// ---- Watches and views

void FakeEnsemble::on_txn(const Txn& txn) {
  if (observer_ != nullptr) {
    observer_->on_transaction(txn);
  }
  if (handle_ && handle_->connected && !handle_->view) {
    fire_watches(txn.path);
  }
}

void FakeEnsemble::fire_watches(const std::string& path) {
  if (handle_->server_watches.erase(path) > 0) {
    push(core::ZkWatchFired{handle_->epoch, path}, true);
  }
}

void FakeEnsemble::catch_up() {
  handle_->view.reset();
  handle_->view_until = kNever;
  std::vector<std::string> changed;
  for (const auto& [path, watch] : handle_->server_watches) {
    const Znode* before = znodes_.find_at(path, watch.since);
    const Znode* now = znodes_.find(path);
    const Zxid then = before == nullptr ? Zxid{} : before->stat.mzxid;
    if ((before == nullptr) != (now == nullptr) || (now != nullptr && now->stat.mzxid != then)) {
      changed.push_back(path);
    }
  }
  for (const std::string& path : changed) {
    fire_watches(path);
  }
}

// ---- Sessions

void FakeEnsemble::end_session(SessionId id, SessionEnd why, const std::string& spared) {
  ended_.emplace_back(znodes_.zxid(), sessions_.at(id));
  sessions_.erase(id);
  if (observer_ != nullptr) {
    observer_->on_session_end(id, why);
  }
  znodes_.end_session(id, spared);
}

void FakeEnsemble::expire(SessionId session, bool leave_ghost) {
  expire(session, SessionEnd::forced, leave_ghost);
}

void FakeEnsemble::close_session() {
  if (connected()) {
    expire(handle_->session->id, SessionEnd::closed, false);
  }
}

void FakeEnsemble::expire(SessionId session, SessionEnd why, bool leave_ghost) {
  if (!sessions_.contains(session)) {
    return;
  }
  std::string ghost;
  if (leave_ghost) {
    for (const auto& [path, znode] : znodes_.all()) {
      if (znode.stat.ephemeral_owner == session && (ghost.empty() || rng_.chance(0.5))) {
        ghost = path;
      }
    }
  }
  const bool ours = handle_ && handle_->connected && handle_->session->id == session;
  if (ours) {
    const bool silent = rng_.chance(options_.silent_expiry_chance);
    lose_connection(!silent);
    if (silent) {
      end_handle(core::ZkExpired{handle_->epoch});
    }
  }
  end_session(session, why, ghost);
}

}  // namespace limpet::test
