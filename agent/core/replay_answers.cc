// Replay: what the answers of ZooKeeper mean for a node, and what becomes of it.
#include <algorithm>
#include <cassert>
#include <utility>

#include "agent/core/core.h"
#include "agent/core/harmless_text.h"
#include "agent/core/replay_node.h"

namespace limpet::core {

namespace {

// A refused change is tried again after 1 s, 2 s, 4 s … 30 s, each ± a quarter.
constexpr std::int64_t kFirstRetryMs = 1'000;
constexpr std::int64_t kMaxRetryMs = 30'000;
// What makes the servers cut the connection costs a reconnect each time, so it is tried less and less: 5 s, 10 s … 1 h.
// The first are soon, for one that was lost three times by bad luck alone.
constexpr std::int64_t kFirstConvictRetryMs = 5'000;
constexpr std::int64_t kMaxConvictRetryMs = 3'600'000;
// A parent that keeps vanishing between its creation and its child's is somebody else's doing: stop running after it.
constexpr std::uint32_t kMaxParentRaces = 5;

}  // namespace

// ---- Outcomes

// `node` holds what is wanted now, `seq` says which change this is about.
void Replay::record(Happening what, const Node& node, Seq seq, std::string why, Effects& effects) const {
  HistoryEntry entry;
  entry.seq = seq;
  entry.id = node.id();
  entry.what = what;
  entry.why = std::move(why);
  if (what == Happening::registered) {
    entry.zxid = node.stat.mzxid;
  }
  effects.history.push_back(std::move(entry));
}

// Says once for all that is settled together that those who wait should look again.
void Replay::changed(Effects& effects) {
  if (effects.actions.empty() || !std::holds_alternative<Changed>(effects.actions.back())) {
    effects.actions.emplace_back(Changed{});
  }
}

void Replay::confirm(Node& node, Now now, Effects& effects) {
  take_out(node);
  close_node(node);
  const std::uint32_t attempts = std::exchange(node.attempts, 0);
  node.reason.reset();
  node.parent_races = 0;
  node.convicted = false;
  node.alone = false;
  window_.settled(node.path());
  if (node.registered_at == 0) {
    node.registered_at = now.wall_ms;
  }
  set_phase(node, Phase::confirmed);
  reconsider_removals(node.id());
  effects.outcomes.push_back(PutOutcome{node.id(), *znode(&node)});
  record(Happening::registered, node, node.seq(),
         attempts == 0 ? std::string() : "after " + std::to_string(attempts) + " refusals", effects);
  changed(effects);
}

void Replay::finish_removal(Node& node, Effects& effects) {
  take_out(node);
  close_node(node);
  window_.settled(node.path());
  changed(effects);
  if (node.live) {
    record(Happening::withdrawn, node, node.seq(), "", effects);
    node.attempts = 0;
    node.convicted = false;
    node.alone = false;
    if (node.budget == Budget::shed) {
      node.attempts = 1;  // as shed() has it
      node.present = true;
      open_node(node);
      node.budget = Budget::held_back;
      held_.insert(node.key(), &node);
      room_grew_ = true;
    }
    return;  // it is kept for the time when it is wanted again
  }
  record(Happening::removed, node, node.seq(), "", effects);
  assert(!node.counted_in_session);
  --counts_[static_cast<std::size_t>(node.phase)];
  Removal done;
  done.seq = node.seq();
  done.id = node.id();
  effects.removals_done.push_back(std::move(done));
  // Audits and retries that still name the path find no node, and are dropped.
  nodes_.erase(&node);
  drop_idle_parents();
}

// Decides, after something was learnt about an idle node, what is next.
void Replay::settle(Node& node, Now now, Effects& effects) {
  if (node.present && node.remote == Remote::foreign) {
    const bool persistent = node.stat.ephemeral_owner == SessionId{};
    set_aside(node, Phase::conflict, persistent ? ReasonCode::persistent_znode : ReasonCode::foreign_owner,
              persistent
                  ? "a persistent znode stands at " + node.path() +
                        ", which limpet did not make; it is taken over when somebody deletes it"
                  : "another session owns the znode " + node.path() + "; it is watched, and taken over when it goes",
              now, effects);
    return;
  }
  if (!in_line(node)) {
    open_node(node);
    enqueue(node);
    return;
  }
  if (node.present) {
    confirm(node, now, effects);
  } else {
    finish_removal(node, effects);
  }
}

void Replay::set_aside(Node& node, Phase phase, ReasonCode code, std::string message, Now now, Effects& effects) {
  take_out(node);
  const bool again = node.phase == phase && node.attempts > 0 && node.reason->code == code;
  ++node.attempts;
  ++figures_.refused[static_cast<std::size_t>(code)];
  node.alone = true;
  if (node.reason == nullptr) {
    node.reason = std::make_unique<Reason>();
  }
  node.reason->code = code;
  node.reason->message = std::move(message);
  node.reason->attempts = node.attempts;
  if (!again) {
    node.reason->since = now.wall_ms;
    if (!session_.is_limited()) {  // all are refused for the same reason, which is in the log
      effects.actions.push_back(Note{Note::Level::warn, phase == Phase::conflict ? "conflict" : "blocked",
                                     "registration=" + log_value(node.id().str()) + " path=" + log_value(node.path()) +
                                         " seq=" + std::to_string(node.seq().value) +
                                         " reason=" + quoted_value(node.reason->message)});
    }
    record(phase == Phase::conflict ? Happening::conflict : Happening::blocked, node, node.seq(), node.reason->message,
           effects);
  }
  if (node.present) {
    set_phase(node, phase);
  }
  changed(effects);
  window_.settled(node.path());
  retry_later(node, now);
}

void Replay::retry_later(Node& node, Now now) {
  const std::int64_t first_ms = node.convicted ? kFirstConvictRetryMs : kFirstRetryMs;
  const std::int64_t max_ms = node.convicted ? kMaxConvictRetryMs : kMaxRetryMs;
  std::int64_t delay_ms = std::min(first_ms << std::min<std::uint32_t>(node.attempts - 1, 10), max_ms);
  delay_ms = delay_ms * 3 / 4 + static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(delay_ms / 2));
  retries_.emplace(now.steady_ms + delay_ms, node.path());
}

void Replay::refused(Node& node, const Flight& flight, const ZkReply& reply, Now now, Effects& effects) {
  if ((flight.key != node.key() || flight.present != node.present) && node.remote != Remote::unknown) {
    settle(node, now, effects);  // it was about what is no longer wanted
    return;
  }
  ReasonCode code = ReasonCode::refused;
  std::string why = "ZooKeeper refuses it: " + reply.message;
  switch (reply.code) {
    case ZkCode::no_auth:
      code = ReasonCode::no_auth;
      why = "the ACL of its parent does not allow the agent to do this at " + node.path();
      break;
    case ZkCode::invalid_path:
      code = ReasonCode::invalid_path;
      why = "ZooKeeper refuses the path " + node.path() + " as malformed";
      break;
    case ZkCode::parent_ephemeral:
      code = ReasonCode::parent_ephemeral;
      why = "a znode above " + node.path() + " is ephemeral, and ephemeral znodes have no children";
      break;
    case ZkCode::quota_exceeded:
      code = ReasonCode::quota;
      why = "a ZooKeeper quota above " + node.path() + " is used up";
      break;
    default:
      break;
  }
  set_aside(node, Phase::blocked, code, why + "; it is tried again from time to time", now, effects);
  refused_last_ = node.path();
}

// ---- Answers

void Replay::replied(OpId op, const ZkReply& reply, Now now, Effects& effects) {
  if (const auto batch = batches_.extract(op.value)) {
    batch_replied(op.value, batch.mapped(), reply, now, effects);
    return;
  }
  const auto it = flights_.find(op.value);
  if (it == flights_.end()) {
    return;  // lost() has dealt with it
  }
  const Flight flight = std::move(it->second);
  flights_.erase(it);
  replied(flight, reply, now, effects);
}

void Replay::replied(const Flight& flight, const ZkReply& reply, Now now, Effects& effects) {
  if (reply.code == ZkCode::not_sent) {
    running_ = false;  // the connection is gone, and word of that is on its way: nothing more until resume()
  } else if (reply.code != ZkCode::unknown_outcome) {
    refused_last_.clear();
  }
  if (flight.verb == ZkVerb::sync) {
    sync_flying_ = false;
    // A server that cannot do the sync for lack of a connection will say so; any other answer is as good as it gets.
    synced_ = reply.code != ZkCode::unknown_outcome && reply.code != ZkCode::not_sent;
    return;
  }
  if (flight.verb == ZkVerb::create_parent) {
    parent_replied(flight, reply, effects);
    return;
  }
  if (flight.verb == ZkVerb::look) {
    look_replied(flight, reply, effects);
    return;
  }
  watch_answered(flight, reply);
  if (flight.verb == ZkVerb::watch) {
    --audits_flying_;
    if (Node* audited = find_node(flight.path)) {
      audit_replied(*audited, reply, effects);
    }
    return;
  }
  assert(flight.node != nullptr);
  if (flight.clears_the_way) {
    way_cleared(*flight.node, reply);
    return;  // the create right behind it decides
  }
  if (!flight.rides_along) {
    --reads_and_writes_flying_;
    if (reply.code != ZkCode::unknown_outcome && reply.code != ZkCode::not_sent) {
      window_.answered(now.steady_ms - flight.sent_ms);
    }
  }
  if (flight.verb == ZkVerb::read) {
    read_flying_.erase(read_flying_.find(flight.key));
  }
  Node& node = *flight.node;
  node.place = Place::none;
  stop_waiting(node);
  if (flight.verb == ZkVerb::read) {
    read_replied(node, flight, reply, now, effects);
  } else {
    write_replied(node, flight, reply, now, effects);
  }
}

void Replay::way_cleared(Node& node, const ZkReply& reply) {
  switch (reply.code) {
    case ZkCode::ok:
    case ZkCode::no_node:
      node.remote = Remote::absent;  // and counts, for the create in flight
      node.content = Seq{};
      node.registered_at = 0;
      return;
    case ZkCode::bad_version:
    case ZkCode::unknown_outcome:
    case ZkCode::not_sent:
    case ZkCode::throttled:
      return;  // the create finds the znode, and it is read again
    case ZkCode::node_exists:
    case ZkCode::not_empty:
    case ZkCode::parent_ephemeral:
    case ZkCode::no_auth:
    case ZkCode::invalid_path:
    case ZkCode::quota_exceeded:
    case ZkCode::refused:
      node.not_cleared = std::make_unique<ZkReply>(reply);
      return;
  }
}

void Replay::parent_replied(const Flight& flight, const ZkReply& reply, Effects& effects) {
  if (reply.code == ZkCode::ok || reply.code == ZkCode::node_exists) {
    known_parents_.stands(flight.path);
    if (reply.code == ZkCode::ok && registry_.lies_in_a_place(flight.path)) {
      effects.parents.push_back(created_for(flight));
      looks_.emplace_back(flight.path, flight.change);
    }
    return;
  }
  // "No node" only says that the parent's own parent is missing, which has an error of its own.
  if (reply.code == ZkCode::unknown_outcome || reply.code == ZkCode::not_sent || reply.code == ZkCode::throttled ||
      reply.code == ZkCode::no_node) {
    known_parents_.unknown(flight.path);
  } else {
    known_parents_.refused(flight.path, reply);
  }
}

void Replay::look_replied(const Flight& flight, const ZkReply& reply, Effects& effects) {
  --looks_flying_;
  if (reply.code == ZkCode::ok) {
    effects.parents.push_back(created_for(flight));
    effects.parents.back().czxid = reply.stat.czxid;
  } else if (reply.code == ZkCode::unknown_outcome || reply.code == ZkCode::not_sent) {
    looks_.emplace_back(flight.path, flight.change);
  }
}

Parent Replay::created_for(const Flight& flight) {
  Parent parent;
  parent.path = flight.path;
  parent.service = flight.change->id.service;
  parent.uid = flight.change->owner.uid;
  return parent;
}

// Names that are used once would pile up.
void Replay::drop_idle_parents() {
  if (!known_parents_.overgrown()) {
    return;
  }
  std::unordered_set<std::string> needed;
  nodes_.for_each([&](const Node& node) {
    for_each_parent(node.path(), [&](std::string parent) { needed.insert(std::move(parent)); });
  });
  known_parents_.keep_only(needed);
}

void Replay::read_replied(Node& node, const Flight& flight, const ZkReply& reply, Now now, Effects& effects) {
  switch (reply.code) {
    case ZkCode::ok: {
      node.stat = reply.stat;
      node.content = Seq{};
      const SessionId owner = reply.stat.ephemeral_owner;
      if (owner != SessionId{} && owner == session_.current()) {
        learn(node, Remote::ours);
        if (node.present && node.change->data == reply.data) {
          node.content = node.seq();
        }
      } else {
        learn(node, session_.held_before(owner) ? Remote::former : Remote::foreign);
      }
      settle(node, now, effects);
      return;
    }
    case ZkCode::no_node:
      learn(node, Remote::absent);
      node.content = Seq{};
      settle(node, now, effects);
      return;
    case ZkCode::unknown_outcome:
    case ZkCode::not_sent:
    case ZkCode::throttled:
      enqueue(node);
      return;
    case ZkCode::node_exists:
    case ZkCode::bad_version:
    case ZkCode::not_empty:
    case ZkCode::parent_ephemeral:
    case ZkCode::no_auth:
    case ZkCode::invalid_path:
    case ZkCode::quota_exceeded:
    case ZkCode::refused:
      refused(node, flight, reply, now, effects);
      return;
  }
}

void Replay::write_replied(Node& node, const Flight& flight, const ZkReply& reply, Now now, Effects& effects) {
  const bool may_stand =
      reply.code == ZkCode::ok || reply.code == ZkCode::node_exists || reply.code == ZkCode::unknown_outcome;
  if (flight.verb == ZkVerb::create && !may_stand) {
    count_in_session(node, false);
  }
  switch (reply.code) {
    case ZkCode::ok:
      ++(flight.verb == ZkVerb::remove ? figures_.removed
         : flight.verb == ZkVerb::set  ? figures_.set
                                       : figures_.created);
      if (flight.verb == ZkVerb::remove) {
        learn(node, Remote::absent);
        watch_gone(node.path());
        node.content = Seq{};
        node.registered_at = 0;
      } else if (const SessionId owner = reply.stat.ephemeral_owner;
                 flight.verb == ZkVerb::set && owner != SessionId{} && owner != session_.current()) {
        // Somebody replaced our znode by one of the same version: the next read tells.
        learn(node, Remote::unknown);
        node.content = Seq{};
      } else {
        learn(node, Remote::ours);
        node.stat = reply.stat;
        node.stat.ephemeral_owner = session_.current();
        node.content = flight.seq;
        if (flight.seq != node.seq() || !node.present) {
          record(Happening::registered, node, flight.seq, "but no longer wanted", effects);
        }
        queue_audit(node);  // which leaves a watch; a set has used up the one before
      }
      settle(node, now, effects);
      return;
    case ZkCode::no_node:
      learn(node, Remote::absent);
      node.content = Seq{};
      if (flight.verb == ZkVerb::create) {
        const ZkReply* cause = known_parents_.error_above(node.path());
        if (cause != nullptr || ++node.parent_races > kMaxParentRaces) {
          const ZkReply copy = cause != nullptr ? *cause : reply;
          known_parents_.forget_above(node.path());
          refused(node, flight, copy, now, effects);
          return;
        }
        known_parents_.forget_above(node.path());
      }
      settle(node, now, effects);
      return;
    case ZkCode::node_exists:
    case ZkCode::bad_version:
      learn(node, Remote::unknown);
      if (const auto why = std::exchange(node.not_cleared, nullptr)) {
        refused(node, flight, *why, now, effects);
        return;
      }
      enqueue(node);
      return;
    case ZkCode::unknown_outcome:
      learn(node, Remote::unknown);
      node.content = Seq{};
      enqueue(node);
      return;
    case ZkCode::not_sent:
    case ZkCode::throttled:
      settle(node, now, effects);  // nothing happened
      return;
    case ZkCode::not_empty:
    case ZkCode::parent_ephemeral:
    case ZkCode::no_auth:
    case ZkCode::invalid_path:
    case ZkCode::quota_exceeded:
    case ZkCode::refused:
      refused(node, flight, reply, now, effects);
      return;
  }
}

// Nothing waits for an audit, and it changes nothing where all is well. Where it is not, the node is read again in
// earnest, in the order of its seq.
void Replay::audit_replied(Node& node, const ZkReply& reply, Effects& effects) {
  node.audit_flying = false;
  const bool again = std::exchange(node.audit_again, false);
  if (node.phase != Phase::confirmed || reply.code == ZkCode::unknown_outcome || reply.code == ZkCode::not_sent) {
    return;
  }
  const bool as_known = reply.code == ZkCode::ok && reply.stat.czxid == node.stat.czxid &&
                        reply.stat.mzxid == node.stat.mzxid && reply.stat.version == node.stat.version &&
                        reply.stat.ephemeral_owner == node.stat.ephemeral_owner;
  if (as_known) {
    if (again) {
      queue_audit(node);
    }
    return;
  }
  effects.actions.push_back(Note{Note::Level::warn, "drift",
                                 "registration=" + log_value(node.id().str()) + " path=" + log_value(node.path()) +
                                     " found=" + (reply.code == ZkCode::no_node ? "deleted" : "changed") +
                                     " meaning=\"somebody else touched our znode; it is put right\""});
  record(Happening::repaired, node, node.seq(),
         reply.code == ZkCode::no_node ? "somebody else deleted its znode" : "somebody else changed its znode",
         effects);
  learn(node, Remote::unknown);
  node.content = Seq{};
  node.registered_at = 0;
  set_phase(node, Phase::pending);
  open_node(node);
  enqueue(node);
  changed(effects);
}

void Replay::watch_fired(const std::string& path) {
  watch_gone(path);
  Node* found = find_node(path);
  if (found == nullptr) {
    return;
  }
  Node& node = *found;
  if (node.phase == Phase::confirmed) {
    queue_audit(node);
    return;
  }
  // What was read no longer holds. A request in flight shows it by itself.
  const bool was_read = node.remote == Remote::ours || node.remote == Remote::former || node.remote == Remote::foreign;
  if (!was_read || !node.is_open || node.place == Place::in_flight) {
    return;
  }
  const bool goes_on = node.place == Place::write_ready || node.place == Place::held || node.phase == Phase::conflict;
  take_out(node);
  learn(node, Remote::unknown);
  node.content = Seq{};
  if (goes_on) {
    enqueue(node);  // what was refused waits for its next try
  }
}

}  // namespace limpet::core
