// Replay: what is sent, when, and in which order.
#include <algorithm>
#include <cassert>
#include <utility>

#include "agent/core/core.h"
#include "agent/core/replay_node.h"

namespace limpet::core {

namespace {

// Confirmed znodes are looked at again behind everything that is open, by at most this many requests at a time and a
// tenth of a second, after every connect and then every so often: a watch tells sooner, but may be lost.
constexpr std::uint32_t kAuditsInFlight = 16;
constexpr std::uint32_t kAuditsPerShare = 100;
constexpr std::uint32_t kAuditsPerBusyShare = 10;  // while changes come: each of these uses up a watch anyway
constexpr std::int64_t kAuditShareMs = 100;
constexpr std::int64_t kFullAuditMs = 300'000;
constexpr std::uint32_t kLooksInFlight = 16;

}  // namespace

// A read or write of the node.
Replay::Flight Replay::begin_flight(Node& node, ZkVerb verb, Now now) {
  ++reads_and_writes_flying_;
  node.place = Place::in_flight;
  node.flying = verb == ZkVerb::read ? Seq{} : node.seq();
  if (verb == ZkVerb::create) {
    count_in_session(node, true);
  }
  if (verb == ZkVerb::create || verb == ZkVerb::set) {
    node.inherited = false;
  }
  if (verb == ZkVerb::read) {
    read_flying_.insert(node.key());
  }
  return {verb, &node, "", node.seq(), node.key(), node.present, false, now.steady_ms};
}

void Replay::send(Flight flight, ZkRequest request, Actions& actions) {
  const OpId op{next_op_++};
  flights_.emplace(op.value, std::move(flight));
  actions.push_back(ZkSend{session_.epoch(), op, std::move(request)});
}

void Replay::send_read(Node& node, Now now, Actions& actions) {
  Flight flight = begin_flight(node, ZkVerb::read, now);
  reserve_watch(node.path(), flight);
  ZkRequest request{ZkVerb::read, node.path(), "", -1};
  request.leave_watch = flight.watches;
  send(std::move(flight), std::move(request), actions);
}

void Replay::send_audit(Node& node, Actions& actions) {
  ++audits_flying_;
  node.audit_flying = true;
  Flight flight{ZkVerb::watch, nullptr, node.path()};
  reserve_watch(node.path(), flight);
  ZkRequest request{ZkVerb::watch, node.path(), "", -1};
  request.leave_watch = flight.watches;
  send(std::move(flight), std::move(request), actions);
}

void Replay::send_sync(Actions& actions) {
  if (synced_ || sync_flying_) {
    return;
  }
  sync_flying_ = true;
  send(Flight{ZkVerb::sync}, ZkRequest{ZkVerb::sync, options_.root, "", -1}, actions);
}

// In the same pipeline, before the first child: FIFO makes them stand when the child's create arrives. `presume`: not
// those that stood in an earlier session; where one is gone, the transaction fails, and nothing overtakes it.
void Replay::send_parents(const Node& node, bool presume, Actions& actions) {
  for_each_parent(node.path(), [&](std::string parent) {
    if (!known_parents_.must_create(parent, presume)) {
      return;
    }
    Flight flight{ZkVerb::create_parent, nullptr, parent};
    flight.change = node.change;
    send(std::move(flight), ZkRequest{ZkVerb::create_parent, parent, "", -1}, actions);
  });
}

// Behind everything else: the czxid of a parent that was created is wanted only when it is to be pruned.
void Replay::send_looks(Actions& actions) {
  while (!looks_.empty() && looks_flying_ < kLooksInFlight && read_ready_.empty() && write_ready_.empty()) {
    Flight flight{ZkVerb::look, nullptr, std::move(looks_.front().first)};
    flight.change = std::move(looks_.front().second);
    looks_.pop_front();
    ++looks_flying_;
    ZkRequest request{ZkVerb::look, flight.path, "", -1};
    send(std::move(flight), std::move(request), actions);
  }
}

// What brings the node into line.
ZkRequest Replay::write_of(const Node& node) {
  if (!node.present) {
    assert(node.remote == Remote::ours || node.remote == Remote::former);
    return removal_of(node);
  }
  assert(node.live);
  if (node.remote == Remote::ours) {
    return ZkRequest{ZkVerb::set, node.path(), node.change->data, node.stat.version};
  }
  return ZkRequest{ZkVerb::create, node.path(), node.change->data, -1};
}

// A znode of a former session goes with that session, so it is made anew under this one. Both requests go out together:
// readers miss the name no longer than the servers take between two requests, and nothing overtakes.
Replay::Flight Replay::begin_clearing(Node& node, Now now) {
  node.not_cleared.reset();
  return {ZkVerb::remove, &node, "", node.seq(), node.key(), false, true, now.steady_ms};
}

// Somebody's parent, if what is below has been asked for already: behind this it has to be made.
ZkRequest Replay::removal_of(const Node& node) {
  known_parents_.forget(node.path());
  return ZkRequest{ZkVerb::remove, node.path(), "", node.stat.version};
}

void Replay::send_write(Node& node, Now now, Actions& actions) {
  if (node.present && node.remote != Remote::ours) {
    if (node.remote == Remote::former) {
      send(begin_clearing(node, now), removal_of(node), actions);
    }
    send_parents(node, false, actions);
  }
  ZkRequest request = write_of(node);
  send(begin_flight(node, request.verb, now), std::move(request), actions);
}

bool Replay::may_write(const Key& key) const {
  return !(!read_ready_.empty() && read_ready_.begin()->key < key) &&
         !(!read_flying_.empty() && *read_flying_.begin() < key) && !(!waiting_.empty() && *waiting_.begin() < key);
}

void Replay::retry_due(Now now) {
  while (!retries_.empty() && retries_.begin()->first <= now.steady_ms) {
    Node* found = find_node(retries_.begin()->second);
    retries_.erase(retries_.begin());
    if (found == nullptr || found->place != Place::none || !found->is_open) {
      continue;
    }
    Node& node = *found;
    if (node.remote == Remote::foreign) {
      learn(node, Remote::unknown);
    }
    if (node.convicted) {
      window_.probation(node.path());
    }
    known_parents_.forget_above(node.path());
    enqueue(node);
  }
}

void Replay::pump(Now now, Effects& effects) {
  if (!running_) {
    return;
  }
  Actions& actions = effects.actions;
  retry_due(now);
  release_held();
  shed_excess(now, effects);
  if (!read_ready_.empty()) {
    send_sync(actions);
  }
  while (synced_ && !read_ready_.empty() && window_.room(reads_and_writes_flying_)) {
    Node& node = *read_ready_.begin()->value;
    take_out(node);
    send_read(node, now, actions);
  }
  send_writes(now, effects);
  send_sync(actions);  // writes need none, so they do not wait behind it
  send_audits(now, actions);
  tell_held(effects);
  send_looks(actions);
}

void Replay::send_audits(Now now, Actions& actions) {
  if (now.steady_ms >= next_full_audit_ms_) {
    next_full_audit_ms_ = now.steady_ms + kFullAuditMs;
    for (const auto& [key, node] : in_order()) {
      if (node->phase == Phase::confirmed) {
        queue_audit(*node);
      }
    }
  }
  if (now.steady_ms - audit_share_began_ms_ >= kAuditShareMs) {
    audit_share_began_ms_ = now.steady_ms;
    audit_share_left_ = pacer_.busy(now.steady_ms, kAuditShareMs) ? kAuditsPerBusyShare : kAuditsPerShare;
  }
  while (synced_ && !audits_.empty() && audits_flying_ < kAuditsInFlight && audit_share_left_ > 0 &&
         read_ready_.empty() && write_ready_.empty()) {
    Node* node = find_node(audits_.front()->path);
    audits_.pop_front();
    if (node == nullptr) {
      continue;
    }
    node->audit_queued = false;
    if (node->phase == Phase::confirmed) {
      --audit_share_left_;
      send_audit(*node, actions);
    }
  }
}

std::optional<std::int64_t> Replay::deadline() const {
  if (!running_) {
    return std::nullopt;
  }
  std::int64_t at = next_full_audit_ms_;
  if (!retries_.empty()) {
    at = std::min(at, retries_.begin()->first);
  }
  if (!write_ready_.empty() && window_.next_share_ms()) {
    at = std::min(at, *window_.next_share_ms());
  }
  if (const auto wake_ms = pacer_.wake_at()) {
    at = std::min(at, *wake_ms);
  }
  if (!audits_.empty() && audit_share_left_ == 0) {
    at = std::min(at, audit_share_began_ms_ + kAuditShareMs);
  }
  return at;
}

}  // namespace limpet::core
