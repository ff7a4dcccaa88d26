// Replay: writes that go out as one transaction, and what becomes of one that fails.
//
// A transaction is done whole or not at all. Several are in flight, so each begins with checks of what those before it
// bring about: where one of them came to nothing, so does this one, and nothing has overtaken anything. What was in a
// failed one is sent anew, each by itself until it has settled; what failed only by its checks goes together again.
#include <algorithm>
#include <cassert>
#include <span>
#include <utility>

#include "agent/core/core.h"
#include "agent/core/replay_node.h"

namespace limpet::core {

namespace {

// How many paths of a transaction the next one looks at: all, or so many at even distances. Where a transaction failed,
// they hold all the same only if somebody else has a znode at each of them.
constexpr std::size_t kAnchors = 16;
constexpr std::size_t kMaxInFlight = 8;
constexpr std::uint64_t kCheckBytes = 24;  // of each, without its path

// What holds where each of `writes` was done and did not before, as far as a look at some of their znodes can tell.
// None where there is a removal: it leaves nothing to look at, and what it makes room for may look as what was there.
std::vector<ZkRequest> anchors_of(std::span<const ZkRequest> writes) {
  std::vector<ZkRequest> anchors;
  if (std::any_of(writes.begin(), writes.end(), [](const auto& write) { return write.verb == ZkVerb::remove; })) {
    return anchors;
  }
  const std::size_t count = std::min(writes.size(), kAnchors);
  anchors.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const ZkRequest& write = writes[count == 1 ? 0 : i * (writes.size() - 1) / (count - 1)];
    anchors.push_back({ZkVerb::check, write.path, "", write.verb == ZkVerb::create ? 0 : write.version + 1});
  }
  return anchors;
}

}  // namespace

// ---- Sending

// What the node's write takes in a transaction: the header of a request, the lengths of what it holds, its flags.
std::uint64_t Replay::wire_bytes(const Node& node) const {
  constexpr std::uint64_t kRequestBytes = 32;
  const std::uint64_t clearing =
      creates(node) && node.remote == Remote::former ? kRequestBytes + options_.chroot_bytes + node.path().size() : 0;
  return clearing + kRequestBytes + options_.chroot_bytes + node.bytes() + (creates(node) ? options_.acl_bytes : 0);
}

// Of the checks that a transaction sent now begins with.
std::uint64_t Replay::anchor_bytes() const {
  std::uint64_t bytes = 0;
  for (const auto& [op, batch] : batches_) {
    bytes += batch.anchor_bytes;
  }
  return bytes;
}

bool Replay::goes_alone(const Node& node) const {
  return node.alone || options_.batch <= 1 || wire_bytes(node) > window_.batch_bytes();
}

bool Replay::may_send(const Node& first, Now now) {
  return pacer_.may_send({.writes = write_ready_.size(),
                          .room = window_.limit() - reads_and_writes_flying_,
                          .enough = options_.batch,
                          .update = first.present && first.remote == Remote::ours,
                          .in_flight = reads_and_writes_flying_ != read_flying_.size()},
                         now.steady_ms);
}

// False while the newest in flight leaves nothing to look at, or is known to come to nothing, or there are too many.
bool Replay::may_follow() const {
  return batches_.empty() || (batches_.size() < kMaxInFlight && !batches_.rbegin()->second.anchors.empty());
}

// Those at the head of the line that may go together.
std::vector<Replay::Node*> Replay::next_batch(Now now) {
  std::vector<Node*> nodes;
  std::size_t writes = 0;
  std::uint64_t bytes = anchor_bytes();
  std::uint64_t session = session_bytes_;  // with these
  for (const auto& [key, node] : write_ready_) {
    const std::vector<Node*> removals = removals_held_for(*node);
    writes += (node->present && node->remote == Remote::former ? 2 : 1) + removals.size();
    bytes += wire_bytes(*node);
    session += creates(*node) ? path_bytes(*node) : 0;
    session -= bytes_freed_by(removals);
    const bool full = !nodes.empty() && (writes > options_.batch || bytes > window_.batch_bytes());
    if (goes_alone(*node) || full || (creates(*node) && session > path_bound()) || !may_write(key) ||
        !window_.room(reads_and_writes_flying_ + static_cast<std::uint32_t>(nodes.size())) ||
        !window_.take_share(now.steady_ms)) {
      break;
    }
    nodes.push_back(node);
    session -= !node->present && node->counted_in_session ? path_bytes(*node) : 0;
  }
  return nodes;
}

void Replay::send_writes(Now now, Effects& effects) {
  Actions& actions = effects.actions;
  pacer_.stop_waiting();
  window_.stop_waiting();  // what waits for an answer must not be woken for a share that is there already
  while (!write_ready_.empty() && window_.room(reads_and_writes_flying_) && may_write(write_ready_.begin()->key)) {
    Node& first = *write_ready_.begin()->value;
    if (!fits(first)) {
      if (awaits_answers()) {
        return;
      }
      hold_back(first, now, effects);
      continue;
    }
    if (goes_alone(first)) {
      // It must not overtake what may come to nothing, and be sent anew.
      if (!batches_.empty() || !window_.take_share(now.steady_ms)) {
        return;
      }
      send_by_itself(first, now, actions);
      continue;
    }
    if (!may_send(first, now) || !may_follow()) {
      return;
    }
    const std::vector<Node*> nodes = next_batch(now);
    if (nodes.empty()) {
      return;  // this second's share is used up, or the checks leave no room
    }
    pacer_.sent(nodes.size(), write_ready_.size(), now.steady_ms);
    if (nodes.size() == 1 && batches_.empty()) {
      send_by_itself(first, now, actions);
    } else {
      send_batch(nodes, now, actions);
    }
  }
}

// In a transaction all the same where a removal goes along.
void Replay::send_by_itself(Node& node, Now now, Actions& actions) {
  if (!removals_held_for(node).empty()) {
    return send_batch({&node}, now, actions);
  }
  take_out(node);
  send_write(node, now, actions);
}

void Replay::send_batch(const std::vector<Node*>& nodes, Now now, Actions& actions) {
  Batch batch;
  ZkRequest request{ZkVerb::transaction, nodes.back()->path(), "", -1};
  std::vector<ZkRequest>& all = request.batch;
  all.reserve(batches_.size() * kAnchors + nodes.size());
  batch.parts.reserve(nodes.size());
  // Of all of them: what the last would have made may stand there from a former session, though it came to nothing.
  for (const auto& [before, other] : batches_) {
    all.insert(all.end(), other.anchors.begin(), other.anchors.end());
    batch.before = before;
  }
  batch.checks = all.size();
  std::string_view above;  // the one before
  for (Node* node : nodes) {
    take_out(*node);
    for (Node* removal : removals_held_for(*node)) {
      batch.parts.push_back(begin_ride(*removal, now));
      all.push_back(removal_of(*removal));
    }
    if (node->present && node->remote != Remote::ours) {
      if (node->remote == Remote::former) {
        batch.parts.push_back(begin_clearing(*node, now));
        all.push_back(removal_of(*node));
      }
      if (const std::string_view parent = parent_of(node->path()); parent != above) {
        send_parents(*node, true, actions);
        above = parent;
      }
    }
    all.push_back(write_of(*node));
    batch.parts.push_back(begin_flight(*node, all.back().verb, now));
  }
  batch.anchors = anchors_of(std::span(all).subspan(batch.checks));
  for (const ZkRequest& anchor : batch.anchors) {
    batch.anchor_bytes += kCheckBytes + options_.chroot_bytes + anchor.path.size();
  }
  const OpId op{next_op_++};
  batches_.emplace(op.value, std::move(batch));
  actions.push_back(ZkSend{session_.epoch(), op, std::move(request)});
}

// ---- Answers

void Replay::batch_replied(std::uint64_t op, const Batch& batch, const ZkReply& reply, Now now, Effects& effects) {
  if (reply.code != ZkCode::ok) {
    for (auto& [other, follower] : batches_) {
      follower.anchors.clear();  // it comes to nothing like this one
      follower.anchor_bytes = 0;
    }
  }
  if (reply.code == ZkCode::ok) {
    assert(reply.batch.size() == batch.checks + batch.parts.size());
    last_done_batch_ = op;
    if (batches_.empty()) {
      pacer_.idle(now.steady_ms);
    }
    effects.outcomes.reserve(effects.outcomes.size() + batch.parts.size());
    effects.history.reserve(effects.history.size() + batch.parts.size());
    for (std::size_t i = 0; i < batch.parts.size(); ++i) {
      replied(batch.parts[i], reply.batch[batch.checks + i], now, effects);
    }
    return;
  }
  const auto guilty = std::find_if(reply.batch.begin(), reply.batch.end(), [](const ZkReply& one) {
    return one.code != ZkCode::ok && one.code != ZkCode::throttled;
  });
  const std::size_t at = static_cast<std::size_t>(guilty - reply.batch.begin());
  if (guilty != reply.batch.end() && at >= batch.checks) {
    part_failed(batch, at - batch.checks, *guilty, now, effects);
    return;
  }
  ZkReply each;
  each.code = reply.code;
  each.message = reply.message;
  if (reply.code != ZkCode::unknown_outcome && reply.code != ZkCode::not_sent) {
    each.code = ZkCode::throttled;  // not executed
    // Only where a check failed because what it looks at was not done will the next try be any different.
    const bool follows = guilty != reply.batch.end() && batch.before != last_done_batch_;
    if (!follows && reply.code != ZkCode::throttled) {
      settle_alone(batch);
    }
  }
  for (const Flight& part : batch.parts) {
    replied(part, each, now, effects);
  }
}

// One of the writes was refused, and the others with it.
void Replay::part_failed(const Batch& batch, std::size_t part, const ZkReply& reply, Now now, Effects& effects) {
  const Flight& at_fault = batch.parts[part];
  const bool clearing = at_fault.clears_the_way;
  bool presumed = false;
  if (reply.code == ZkCode::no_node && at_fault.verb == ZkVerb::create) {
    // What stood above it in an earlier session is gone: here, and perhaps above others.
    for (const Flight& other : batch.parts) {
      presumed = known_parents_.doubt_above(other.node->path()) || presumed;
    }
  }
  if (!presumed) {
    settle_alone(batch);
  }
  ZkReply not_executed;
  not_executed.code = ZkCode::throttled;
  ZkReply in_the_way;
  in_the_way.code = ZkCode::node_exists;
  for (std::size_t i = 0; i < batch.parts.size(); ++i) {
    // The create behind a removal that was refused would have found what was not removed.
    const bool blocked = clearing && i == part + 1 && reply.code != ZkCode::no_node;
    const bool refused = i == part && !presumed;
    replied(batch.parts[i], refused ? reply : blocked ? in_the_way : not_executed, now, effects);
  }
}

void Replay::settle_alone(const Batch& batch) {
  for (const Flight& part : batch.parts) {
    part.node->alone = true;
  }
}

}  // namespace limpet::core
