#include "tests/support/fake_ensemble.h"

#include <algorithm>
#include <cassert>
#include <utility>
#include <variant>

namespace limpet::test {

using core::ZkCode;
using core::ZkReply;
using core::ZkRequest;
using core::ZkVerb;

FakeEnsemble::FakeEnsemble(ManualClock& clock, std::uint64_t seed, FakeEnsembleOptions options, Sink sink,
                           Observer* observer)
    : clock_(clock), rng_(seed), options_(options), sink_(std::move(sink)), observer_(observer) {
  znodes_.set_listener([this](const Txn& txn) { on_txn(txn); });
}

// ---- The handle

void FakeEnsemble::start(const core::ZkStart& start) {
  assert(!handle_);
  handle_.emplace();
  handle_->epoch = start.epoch;
  handle_->session = start.session;
  handle_->connect_at = clock_.steady_ms() + rng_.between(0, options_.max_connect_ms);
}

void FakeEnsemble::stop(const core::ZkStop& stop) {
  if (handle_ && handle_->epoch == stop.epoch) {
    drop_handle();
  }
}

void FakeEnsemble::send(core::ZkSend send) {
  if (!handle_ || handle_->epoch != send.epoch) {
    return;  // the handle is gone, and its requests with it
  }
  if (!handle_->connected || handle_->loss_untold) {
    push(core::ZkReplied{send.epoch, send.op, ZkReply{ZkCode::not_sent, {}, {}, "not connected"}}, false);
    return;
  }
  std::int64_t at = clock_.steady_ms() + latency();
  if (!handle_->to_server.empty()) {
    at = std::max(at, handle_->to_server.back().at);
  }
  handle_->to_server.push_back(Request{at, send.op, std::move(send.request)});
}

void FakeEnsemble::drop_handle() {
  if (!handle_) {
    return;
  }
  if (handle_->connected) {
    lose_connection(rng_.chance(0.5));
  }
  const std::int64_t delay_ms = rng_.between(0, rng_.chance(0.5) ? 2 : 3'000);
  for (Outgoing& out : to_client_) {
    late_.push_back(std::move(out));
    late_.back().at = clock_.steady_ms() + delay_ms;
  }
  to_client_.clear();
  handle_.reset();
}

void FakeEnsemble::process_died() {
  drop_handle();
  late_.clear();
  frozen_ = false;
}

// ---- Time

std::int64_t FakeEnsemble::latency() {
  return rng_.between(options_.min_latency_ms, options_.max_latency_ms);
}

void FakeEnsemble::push(core::Event event, bool wire, std::optional<std::pair<std::string, bool>> sets_watch) {
  // What the library itself finds out comes at once; only what comes over the wire takes its time.
  std::int64_t at = clock_.steady_ms() + (wire ? latency() : rng_.between(0, 1));
  if (!to_client_.empty()) {
    at = std::max(at, to_client_.back().at);
  }
  const Zxid zxid = handle_ && handle_->view ? *handle_->view : znodes_.zxid();
  to_client_.push_back(Outgoing{at, wire, std::move(event), std::move(sets_watch), wire ? zxid : Zxid{}});
}

std::int64_t FakeEnsemble::earliest_deadline() const {
  std::int64_t earliest = kNever;
  if (quorum_) {
    for (const auto& [id, session] : sessions_) {
      earliest = std::min(earliest, session.deadline);
    }
  }
  return earliest;
}

std::int64_t FakeEnsemble::next_at() const {
  std::int64_t at = earliest_deadline();
  if (!frozen_ && !to_client_.empty()) {
    at = std::min(at, to_client_.front().at);
  }
  if (!frozen_ && !late_.empty()) {
    at = std::min(at, late_.front().at);
  }
  if (handle_) {
    if (!handle_->to_server.empty()) {
      at = std::min(at, handle_->to_server.front().at);
    }
    if (!frozen_) {
      at = std::min(at, handle_->connect_at);
    }
    if (handle_->view) {
      at = std::min(at, handle_->view_until);
    }
    at = std::min(at, handle_->rival_at);
  }
  return at;
}

bool FakeEnsemble::run_one() {
  const std::int64_t now = clock_.steady_ms();
  if (earliest_deadline() <= now) {
    const auto due = std::find_if(sessions_.begin(), sessions_.end(),
                                  [now](const auto& entry) { return entry.second.deadline <= now; });
    expire(SessionId(due->first), SessionEnd::timed_out, false);
    return true;
  }
  if (handle_ && handle_->view && handle_->view_until <= now) {
    catch_up();
    return true;
  }
  if (handle_ && handle_->rival_at <= now) {
    cut();
    return true;
  }
  if (handle_ && !handle_->to_server.empty() && handle_->to_server.front().at <= now) {
    if (poisonous(handle_->to_server.front().request)) {
      ++poisonings_;
      cut();
    } else {
      apply_next();
    }
    return true;
  }
  if (!frozen_ && !to_client_.empty() && to_client_.front().at <= now) {
    deliver();
    return true;
  }
  if (!frozen_ && deliver_late()) {
    return true;
  }
  if (!frozen_ && handle_ && handle_->connect_at <= now) {
    try_connect();
    return true;
  }
  return false;
}

void FakeEnsemble::deliver() {
  Outgoing out = std::move(to_client_.front());
  to_client_.pop_front();
  if (out.wire) {
    library_receives(out);
  }
  if (handle_ && std::holds_alternative<core::ZkDisconnected>(out.event)) {
    handle_->loss_untold = false;
  }
  sink_(std::move(out.event));
}

bool FakeEnsemble::deliver_late() {
  if (late_.empty() || late_.front().at > clock_.steady_ms()) {
    return false;
  }
  core::Event event = std::move(late_.front().event);
  late_.erase(late_.begin());
  sink_(std::move(event));
  return true;
}

// What the client's library does by itself with what comes over the present connection.
void FakeEnsemble::library_receives(const Outgoing& out) {
  handle_->last_zxid = std::max(handle_->last_zxid, out.zxid);
  if (out.sets_watch) {
    handle_->watches.insert_or_assign(out.sets_watch->first, out.sets_watch->second);
  }
  const auto* fired = std::get_if<core::ZkWatchFired>(&out.event);
  if (fired != nullptr && !handle_->server_watches.contains(fired->path)) {
    handle_->watches.erase(fired->path);  // but not where a newer one was set meanwhile
  }
}

}  // namespace limpet::test
