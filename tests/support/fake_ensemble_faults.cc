// The faults that a test brings upon the fake ensemble, and the others who write into it.
#include <algorithm>
#include <utility>
#include <vector>

#include "tests/support/fake_ensemble.h"

namespace limpet::test {

void FakeEnsemble::cut() {
  if (connected()) {
    lose_connection(true);
  }
}

void FakeEnsemble::set_network(bool up) {
  network_ = up;
  if (!up) {
    cut();
  }
}

void FakeEnsemble::set_quorum(bool up) {
  if (quorum_ == up) {
    return;
  }
  if (!up) {
    cut();
    quorum_ = false;
    return;
  }
  quorum_ = true;
  znodes_.take_zxid();
  for (auto& [id, session] : sessions_) {  // a new leader gives every session a whole time-out
    if (session.deadline != kNever) {
      session.deadline = std::max(session.deadline, clock_.steady_ms() + session.session.timeout_ms);
    }
  }
}

void FakeEnsemble::set_auth_broken(bool broken) {
  auth_broken_ = broken;
  if (broken) {
    cut();
  }
}

void FakeEnsemble::set_frozen(bool frozen) {
  frozen_ = frozen;
  if (!connected()) {
    return;
  }
  ServerSession& session = sessions_.at(handle_->session->id);
  session.deadline = frozen ? clock_.steady_ms() + lease(session.session) : kNever;
}

void FakeEnsemble::wipe() {
  if (connected()) {
    lose_connection(true);
  }
  std::vector<SessionId> ids;
  for (const auto& [id, session] : sessions_) {
    ids.push_back(id);
  }
  sessions_.clear();
  ended_.clear();
  for (const SessionId id : ids) {
    if (observer_ != nullptr) {
      observer_->on_session_end(id, SessionEnd::wiped);
    }
  }
  znodes_.wipe();
}

// What was done since is undone: znodes, sessions that began, sessions that ended.
void FakeEnsemble::roll_back(std::int64_t transactions) {
  if (connected()) {
    lose_connection(true);
  }
  const Zxid to{std::max<std::int64_t>(0, znodes_.zxid().value - transactions)};
  std::vector<SessionId> unknown;
  for (const auto& [id, session] : sessions_) {
    if (session.begun > to) {
      unknown.push_back(id);
    }
  }
  for (const SessionId id : unknown) {
    sessions_.erase(id);
    if (observer_ != nullptr) {
      observer_->on_session_end(id, SessionEnd::wiped);
    }
  }
  for (const auto& [before_end, session] : ended_) {
    if (before_end >= to && session.begun <= to) {
      sessions_[session.session.id] = session;
    }
  }
  std::erase_if(ended_, [to](const auto& ended) { return ended.first >= to; });
  for (auto& [id, session] : sessions_) {  // a new leader gives every session a whole time-out
    session.deadline = clock_.steady_ms() + session.session.timeout_ms;
  }
  znodes_.roll_back(to);
}

void FakeEnsemble::rival(SessionId session, std::int64_t for_ms) {
  rival_session_ = session;
  rival_until_ = clock_.steady_ms() + for_ms;
  cut();
}

void FakeEnsemble::estrange_sessions(std::int64_t lives_ms) {
  for (auto& [id, session] : sessions_) {
    session.foreign = true;
    session.deadline = clock_.steady_ms() + lives_ms;
  }
}

SessionId FakeEnsemble::foreign_session(std::int64_t lives_ms) {
  Session session;
  session.id = SessionId{0x7000'0000 + ++next_session_};
  session.timeout_ms = 10'000;
  znodes_.take_zxid();
  sessions_[session.id] = ServerSession{session, true, znodes_.zxid(), clock_.steady_ms() + lives_ms};
  return session.id;
}

void FakeEnsemble::settle_foreign_sessions(bool end) {
  for (auto& [id, session] : sessions_) {
    if (session.foreign) {
      session.deadline = end ? clock_.steady_ms() : kNever;
    }
  }
}

bool FakeEnsemble::outsider_create(const std::string& path, const std::string& data, SessionId owner) {
  const std::string parent = FakeZnodes::parent_of(path);
  if (!parent.empty() && znodes_.find(parent) == nullptr && !outsider_create(parent, {}, SessionId{0})) {
    return false;
  }
  return quorum_ && znodes_.create(path, data, owner, owner, nullptr) == core::ZkCode::ok;
}

bool FakeEnsemble::outsider_set(const std::string& path, const std::string& data) {
  return quorum_ && znodes_.set(path, data, -1, SessionId{0}, nullptr) == core::ZkCode::ok;
}

bool FakeEnsemble::outsider_remove(const std::string& path) {
  if (!quorum_) {
    return false;
  }
  std::vector<std::string> below;
  for (const auto& [candidate, znode] : znodes_.all()) {
    if (candidate == path || candidate.starts_with(path + "/")) {
      below.push_back(candidate);
    }
  }
  for (auto it = below.rbegin(); it != below.rend(); ++it) {
    (void)znodes_.remove(*it, -1, SessionId{0});
  }
  return !below.empty();
}

bool FakeEnsemble::connected_for(std::int64_t ms) const {
  return connected() && clock_.steady_ms() - handle_->connected_since >= ms;
}

std::size_t FakeEnsemble::in_flight() const {
  if (!handle_) {
    return 0;
  }
  const auto replies = std::count_if(to_client_.begin(), to_client_.end(), [this](const Outgoing& out) {
    const auto* replied = std::get_if<core::ZkReplied>(&out.event);
    return replied != nullptr && replied->epoch == handle_->epoch;
  });
  return handle_->to_server.size() + static_cast<std::size_t>(replies);
}

std::optional<SessionId> FakeEnsemble::attached_session() const {
  return connected() ? std::optional<SessionId>(handle_->session->id) : std::nullopt;
}

}  // namespace limpet::test
