#include "agent/core/replay.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "agent/core/core.h"

namespace limpet::core {

namespace {

// A confirmed znode is looked at again by at most this many requests at a time, behind everything that is open.
constexpr std::uint32_t kAuditsInFlight = 16;
// A refused change is tried again after 1 s, 2 s, 4 s … 30 s, each ± a quarter.
constexpr std::int64_t kFirstRetryMs = 1'000;
constexpr std::int64_t kMaxRetryMs = 30'000;
// A parent that keeps vanishing between its creation and its child's is somebody else's doing: stop running after it.
constexpr std::uint32_t kMaxParentRaces = 5;

}  // namespace

struct Replay::Node {
  std::string path;

  // Wanted.
  RegistrationId id;
  Seq seq;
  bool present = false;
  std::uint64_t bytes = 0;  // as counted in the queue

  // Known.
  Remote remote = Remote::absent;
  ZkStat stat;  // where ours, former or foreign
  Seq content;  // whose content stands there; 0: not known to be anybody's
  WallMs registered_at = 0;

  // How far.
  Phase phase = Phase::pending;
  bool counted = false;
  bool is_open = false;
  Place place = Place::none;
  bool audit_queued = false;
  bool audit_flying = false;
  bool audit_again = false;
  std::uint32_t attempts = 0;
  std::uint32_t parent_races = 0;
  Reason reason;  // while set aside

  Key key() const { return {seq, present}; }
};

Replay::Replay(const Options& options, const Registry& registry, const SessionMachine& session)
    : options_(options), registry_(registry), session_(session), random_(options.seed) {}
Replay::~Replay() = default;

// ---- What is wanted

Replay::Node& Replay::node_at(const std::string& path) {
  Node& node = nodes_[path];
  node.path = path;
  return node;
}

void Replay::want(Node& node, Seq seq, bool present, const RegistrationId& id, std::uint64_t bytes) {
  take_out(node);
  close_node(node);
  node.id = id;
  node.seq = seq;
  node.present = present;
  node.bytes = bytes;
  node.attempts = 0;
  node.parent_races = 0;
  set_phase(node, present ? Phase::pending : Phase::removing);
  open_node(node);
}

void Replay::want_present(const Registration& registration, bool known) {
  const bool is_new = !nodes_.contains(registration.path);
  Node& node = node_at(registration.path);
  if (is_new && !known) {
    node.remote = Remote::unknown;
  }
  // A conflict or a refusal may have been about the old content or about nothing any more: it is tried afresh.
  if (node.remote == Remote::foreign) {
    node.remote = Remote::unknown;
  }
  want(node, registration.seq, true, registration.id, registration.path.size() + registration.data.size());
  enqueue(node);
}

void Replay::want_absent(const Removal& removal, bool known, Effects& effects) {
  const bool is_new = !nodes_.contains(removal.path);
  Node& node = node_at(removal.path);
  if (is_new && !known) {
    node.remote = Remote::unknown;
  }
  want(node, removal.seq, false, removal.id, removal.path.size());
  if (node.place != Place::in_flight && (node.remote == Remote::absent || node.remote == Remote::foreign)) {
    finish_removal(node, effects);
    return;
  }
  enqueue(node);
}

void Replay::remember(const RegistrationId& id, const Outcome& outcome) {
  const Registration* registration = registry_.find(id);
  if (registration == nullptr || outcome.session != session_.current()) {
    return;
  }
  Node& node = node_at(registration->path);
  if (outcome.seq == registration->seq) {
    take_out(node);
    close_node(node);
    node.remote = Remote::ours;
    node.stat = ZkStat{outcome.czxid, outcome.mzxid, outcome.version, outcome.session};
    node.content = outcome.seq;
    node.registered_at = outcome.registered_at;
    set_phase(node, Phase::confirmed);
  }
}

// ---- Bookkeeping

void Replay::set_phase(Node& node, Phase phase) {
  if (node.counted) {
    --counts_[static_cast<std::size_t>(node.phase)];
  }
  node.phase = phase;
  node.counted = true;
  ++counts_[static_cast<std::size_t>(phase)];
}

void Replay::open_node(Node& node) {
  if (!node.is_open) {
    node.is_open = true;
    open_.emplace(node.key(), &node);
    open_bytes_ += node.bytes;
  }
}

void Replay::close_node(Node& node) {
  if (node.is_open) {
    node.is_open = false;
    open_.erase(node.key());
    open_bytes_ -= node.bytes;
  }
}

// Out of the line of what is to be sent; a request in flight stays in flight.
void Replay::take_out(Node& node) {
  if (node.place == Place::read_ready) {
    read_ready_.erase(node.key());
  } else if (node.place == Place::write_ready) {
    write_ready_.erase(node.key());
  }
  if (node.place != Place::in_flight) {
    node.place = Place::none;
  }
  if (barrier_ && *barrier_ == node.key()) {
    barrier_.reset();
  }
}

// True where what stands is what is wanted.
bool Replay::in_line(const Node& node) const {
  if (node.present) {
    return node.remote == Remote::ours && node.content == node.seq;
  }
  return node.remote == Remote::absent || node.remote == Remote::foreign;
}

// Puts an open node where its next request waits for its turn.
void Replay::enqueue(Node& node) {
  if (node.place != Place::none || !node.is_open) {
    return;
  }
  if (node.remote == Remote::unknown) {
    node.place = Place::read_ready;
    read_ready_.emplace(node.key(), &node);
  } else {
    node.place = Place::write_ready;
    write_ready_.emplace(node.key(), &node);
  }
}

void Replay::queue_audit(Node& node) {
  if (node.audit_flying) {
    node.audit_again = true;
  } else if (!node.audit_queued) {
    node.audit_queued = true;
    audits_.push_back(node.path);
  }
}

// ---- Outcomes

void Replay::confirm(Node& node, Now now, Effects& effects) {
  take_out(node);
  close_node(node);
  node.attempts = 0;
  node.parent_races = 0;
  if (node.registered_at == 0) {
    node.registered_at = now.wall_ms;
  }
  set_phase(node, Phase::confirmed);
  effects.outcomes.push_back(PutOutcome{node.id, *znode(node.path)});
  effects.actions.push_back(Changed{node.id});
}

void Replay::finish_removal(Node& node, Effects& effects) {
  take_out(node);
  close_node(node);
  --counts_[static_cast<std::size_t>(node.phase)];
  Removal done;
  done.seq = node.seq;
  done.id = node.id;
  effects.removals_done.push_back(std::move(done));
  effects.actions.push_back(Changed{node.id});
  // Audits and retries that still name the path find no node, and are dropped.
  nodes_.erase(std::string(node.path));
}

// Decides, after something was learnt about an idle node, what is next.
void Replay::settle(Node& node, Now now, Effects& effects) {
  if (node.present && node.remote == Remote::foreign) {
    const bool persistent = node.stat.ephemeral_owner == SessionId{};
    set_aside(node, Phase::conflict, persistent ? ReasonCode::persistent_znode : ReasonCode::foreign_owner,
              persistent
                  ? "a persistent znode stands at " + node.path +
                        ", which limpet did not make; it is taken over when somebody deletes it"
                  : "another session owns the znode " + node.path + "; it is watched, and taken over when it goes",
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
  const bool again = node.phase == phase && node.attempts > 0 && node.reason.code == code;
  ++node.attempts;
  node.reason.code = code;
  node.reason.message = std::move(message);
  node.reason.attempts = node.attempts;
  if (!again) {
    node.reason.since = now.wall_ms;
    effects.actions.push_back(Note{Note::Level::warn, phase == Phase::conflict ? "conflict" : "blocked",
                                   "registration=" + node.id.str() + " path=" + node.path + " seq=" +
                                       std::to_string(node.seq.value) + " reason=\"" + node.reason.message + "\""});
  }
  if (node.present) {
    set_phase(node, phase);
  }
  effects.actions.push_back(Changed{node.id});
  std::int64_t delay_ms = kFirstRetryMs << std::min<std::uint32_t>(node.attempts - 1, 5);
  delay_ms = std::min(delay_ms, kMaxRetryMs);
  delay_ms = delay_ms * 3 / 4 + static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(delay_ms / 2));
  retries_.emplace(now.steady_ms + delay_ms, node.path);
}

void Replay::refused(Node& node, const ZkReply& reply, Now now, Effects& effects) {
  ReasonCode code = ReasonCode::refused;
  std::string why = "ZooKeeper refuses it: " + reply.message;
  switch (reply.code) {
    case ZkCode::no_auth:
      code = ReasonCode::no_auth;
      why = "the ACL of its parent does not allow the agent to do this at " + node.path;
      break;
    case ZkCode::invalid_path:
      code = ReasonCode::invalid_path;
      why = "ZooKeeper refuses the path " + node.path + " as malformed";
      break;
    case ZkCode::parent_ephemeral:
      code = ReasonCode::parent_ephemeral;
      why = "a znode above " + node.path + " is ephemeral, and ephemeral znodes have no children";
      break;
    case ZkCode::quota_exceeded:
      code = ReasonCode::quota;
      why = "a ZooKeeper quota above " + node.path + " is used up";
      break;
    default:
      break;
  }
  set_aside(node, Phase::blocked, code, why + "; it is tried again from time to time", now, effects);
}

// ---- The session

void Replay::resume(bool fresh, Effects& effects) {
  running_ = true;
  synced_ = false;
  sync_flying_ = false;
  if (fresh) {
    known_parents_.clear();
  }
  parent_errors_.clear();
  retries_.clear();
  std::vector<Node*> gone;
  for (auto& [path, node] : nodes_) {
    take_out(node);
    if (fresh) {
      // Everything of ours went with the session that held it; what others hold shows itself when we create.
      node.remote = Remote::absent;
      node.content = Seq{};
      node.registered_at = 0;
      if (node.phase == Phase::confirmed) {
        set_phase(node, Phase::pending);
      }
      if (!node.present) {
        gone.push_back(&node);
        continue;
      }
      open_node(node);
    } else if (node.phase == Phase::conflict || node.remote == Remote::foreign) {
      node.remote = Remote::unknown;
    }
    if (node.phase == Phase::confirmed) {
      queue_audit(node);
    } else {
      enqueue(node);
    }
  }
  for (Node* node : gone) {
    finish_removal(*node, effects);
  }
}

void Replay::lost() {
  running_ = false;
  synced_ = false;
  sync_flying_ = false;
  read_flying_.clear();
  barrier_.reset();
  for (auto& [op, flight] : flights_) {
    if (flight.verb == ZkVerb::create_parent) {
      known_parents_.erase(flight.path);
    }
    const auto it = nodes_.find(flight.path);
    if (it == nodes_.end() || flight.verb == ZkVerb::create_parent || flight.verb == ZkVerb::sync) {
      continue;
    }
    Node& node = it->second;
    if (flight.audit) {
      node.audit_flying = false;
      node.audit_again = false;
      continue;  // resume() looks at every confirmed node again
    }
    node.place = Place::none;
    if (flight.verb != ZkVerb::read) {
      node.remote = Remote::unknown;
      node.content = Seq{};
    }
    enqueue(node);
  }
  flights_.clear();
  audits_flying_ = 0;
  reads_and_writes_flying_ = 0;
}

// ---- Sending

void Replay::send(Node& node, ZkRequest request, bool audit, Actions& actions) {
  const OpId op{next_op_++};
  flights_.emplace(op.value, Flight{node.path, request.verb, node.seq, node.key(), audit});
  if (audit) {
    ++audits_flying_;
    node.audit_flying = true;
  } else {
    ++reads_and_writes_flying_;
    node.place = Place::in_flight;
    if (request.verb == ZkVerb::read) {
      read_flying_.insert(node.key());
    }
  }
  actions.push_back(ZkSend{session_.epoch(), op, std::move(request)});
}

void Replay::send_sync(Actions& actions) {
  sync_flying_ = true;
  const OpId op{next_op_++};
  flights_.emplace(op.value, Flight{options_.root, ZkVerb::sync, Seq{}, Key{}, false});
  actions.push_back(ZkSend{session_.epoch(), op, ZkRequest{ZkVerb::sync, options_.root, "", -1}});
}

// In the same pipeline, before the first child: FIFO makes them stand when the child's create arrives.
void Replay::send_parents(const std::string& path, Actions& actions) {
  for (std::size_t end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1)) {
    const std::string parent = path.substr(0, end);
    if (known_parents_.insert(parent).second) {
      const OpId op{next_op_++};
      flights_.emplace(op.value, Flight{parent, ZkVerb::create_parent, Seq{}, Key{}, false});
      actions.push_back(ZkSend{session_.epoch(), op, ZkRequest{ZkVerb::create_parent, parent, "", -1}});
    }
  }
}

void Replay::send_write(Node& node, Actions& actions) {
  const Key key = node.key();
  if (!node.present || node.remote == Remote::former) {
    if (node.present) {
      barrier_ = key;
    }
    send(node, ZkRequest{ZkVerb::remove, node.path, "", node.stat.version}, false, actions);
    return;
  }
  const Registration* registration = registry_.find(node.id);
  assert(registration != nullptr && registration->path == node.path && registration->seq == node.seq);
  if (node.remote == Remote::ours) {
    send(node, ZkRequest{ZkVerb::set, node.path, registration->data, node.stat.version}, false, actions);
    return;
  }
  send_parents(node.path, actions);
  send(node, ZkRequest{ZkVerb::create, node.path, registration->data, -1}, false, actions);
  if (barrier_ && *barrier_ == key) {
    barrier_.reset();
  }
}

bool Replay::may_write(const Key& key) const {
  return !(!read_ready_.empty() && read_ready_.begin()->first < key) &&
         !(!read_flying_.empty() && *read_flying_.begin() < key) && !(barrier_ && *barrier_ < key);
}

void Replay::retry_due(Now now) {
  while (!retries_.empty() && retries_.begin()->first <= now.steady_ms) {
    const auto it = nodes_.find(retries_.begin()->second);
    retries_.erase(retries_.begin());
    if (it == nodes_.end() || it->second.place != Place::none || !it->second.is_open) {
      continue;
    }
    Node& node = it->second;
    if (node.remote == Remote::foreign) {
      node.remote = Remote::unknown;
    }
    forget_parents(node.path);
    enqueue(node);
  }
}

void Replay::pump(Now now, Actions& actions) {
  if (!running_) {
    return;
  }
  retry_due(now);
  if (!synced_ && !sync_flying_) {
    send_sync(actions);
  }
  while (synced_ && !read_ready_.empty() && reads_and_writes_flying_ < options_.window) {
    Node& node = *read_ready_.begin()->second;
    take_out(node);
    send(node, ZkRequest{ZkVerb::read, node.path, "", -1}, false, actions);
  }
  while (!write_ready_.empty() && reads_and_writes_flying_ < options_.window &&
         may_write(write_ready_.begin()->first)) {
    Node& node = *write_ready_.begin()->second;
    const std::optional<Key> barrier = barrier_;
    take_out(node);
    barrier_ = barrier;
    send_write(node, actions);
  }
  while (synced_ && !audits_.empty() && audits_flying_ < kAuditsInFlight && read_ready_.empty() &&
         write_ready_.empty()) {
    const auto it = nodes_.find(audits_.front());
    audits_.pop_front();
    if (it == nodes_.end()) {
      continue;
    }
    it->second.audit_queued = false;
    if (it->second.phase == Phase::confirmed) {
      send(it->second, ZkRequest{ZkVerb::watch, it->second.path, "", -1}, true, actions);
    }
  }
}

std::optional<std::int64_t> Replay::deadline() const {
  if (!running_ || retries_.empty()) {
    return std::nullopt;
  }
  return retries_.begin()->first;
}

// ---- Answers

void Replay::replied(OpId op, const ZkReply& reply, Now now, Effects& effects) {
  const auto it = flights_.find(op.value);
  if (it == flights_.end()) {
    return;  // lost() has dealt with it
  }
  const Flight flight = std::move(it->second);
  flights_.erase(it);
  if (flight.verb == ZkVerb::sync) {
    sync_flying_ = false;
    // A server that cannot do the sync for lack of a connection will say so; any other answer is as good as it gets.
    synced_ = reply.code != ZkCode::unknown_outcome && reply.code != ZkCode::not_sent;
    return;
  }
  if (flight.verb == ZkVerb::create_parent) {
    parent_replied(flight, reply);
    return;
  }
  const auto found = nodes_.find(flight.path);
  if (flight.audit) {
    --audits_flying_;
    if (found != nodes_.end()) {
      audit_replied(found->second, reply, effects);
    }
    return;
  }
  --reads_and_writes_flying_;
  if (flight.verb == ZkVerb::read) {
    read_flying_.erase(read_flying_.find(flight.key));
  }
  assert(found != nodes_.end());  // a node with a request in flight is never erased
  Node& node = found->second;
  node.place = Place::none;
  if (flight.verb == ZkVerb::read) {
    read_replied(node, reply, now, effects);
  } else {
    write_replied(node, flight, reply, now, effects);
  }
}

void Replay::parent_replied(const Flight& flight, const ZkReply& reply) {
  if (reply.code == ZkCode::ok || reply.code == ZkCode::node_exists) {
    parent_errors_.erase(flight.path);
    return;
  }
  known_parents_.erase(flight.path);
  // "No node" only says that the parent's own parent is missing, which tells its own story.
  if (reply.code != ZkCode::unknown_outcome && reply.code != ZkCode::not_sent && reply.code != ZkCode::throttled &&
      reply.code != ZkCode::no_node) {
    parent_errors_[flight.path] = reply;
  }
}

void Replay::forget_parents(const std::string& path) {
  for (std::size_t end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1)) {
    known_parents_.erase(path.substr(0, end));
    parent_errors_.erase(path.substr(0, end));
  }
}

const ZkReply* Replay::parent_error(const std::string& path) const {
  for (std::size_t end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1)) {
    if (const auto it = parent_errors_.find(path.substr(0, end)); it != parent_errors_.end()) {
      return &it->second;
    }
  }
  return nullptr;
}

void Replay::read_replied(Node& node, const ZkReply& reply, Now now, Effects& effects) {
  switch (reply.code) {
    case ZkCode::ok: {
      node.stat = reply.stat;
      node.content = Seq{};
      const SessionId owner = reply.stat.ephemeral_owner;
      if (owner != SessionId{} && owner == session_.current()) {
        node.remote = Remote::ours;
        const Registration* registration = node.present ? registry_.find(node.id) : nullptr;
        if (registration != nullptr && registration->data == reply.data) {
          node.content = node.seq;
        }
      } else {
        node.remote = session_.held_before(owner) ? Remote::former : Remote::foreign;
      }
      settle(node, now, effects);
      return;
    }
    case ZkCode::no_node:
      node.remote = Remote::absent;
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
      refused(node, reply, now, effects);
      return;
  }
}

void Replay::write_replied(Node& node, const Flight& flight, const ZkReply& reply, Now now, Effects& effects) {
  switch (reply.code) {
    case ZkCode::ok:
      if (flight.verb == ZkVerb::remove) {
        node.remote = Remote::absent;
        node.content = Seq{};
        node.registered_at = 0;
      } else {
        node.remote = Remote::ours;
        node.stat = reply.stat;
        node.stat.ephemeral_owner = session_.current();
        node.content = flight.seq;
        queue_audit(node);  // which leaves a watch; a set has used up the one before
      }
      settle(node, now, effects);
      return;
    case ZkCode::no_node:
      node.remote = Remote::absent;
      node.content = Seq{};
      if (flight.verb == ZkVerb::create) {
        const ZkReply* cause = parent_error(node.path);
        if (cause != nullptr || ++node.parent_races > kMaxParentRaces) {
          const ZkReply copy = cause != nullptr ? *cause : reply;
          forget_parents(node.path);
          refused(node, copy, now, effects);
          return;
        }
        forget_parents(node.path);
      }
      settle(node, now, effects);
      return;
    case ZkCode::node_exists:
    case ZkCode::bad_version:
      node.remote = Remote::unknown;
      enqueue(node);
      return;
    case ZkCode::unknown_outcome:
      node.remote = Remote::unknown;
      node.content = Seq{};
      enqueue(node);
      return;
    case ZkCode::not_sent:
    case ZkCode::throttled:
      enqueue(node);
      return;
    case ZkCode::not_empty:
    case ZkCode::parent_ephemeral:
    case ZkCode::no_auth:
    case ZkCode::invalid_path:
    case ZkCode::quota_exceeded:
    case ZkCode::refused:
      refused(node, reply, now, effects);
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
                                 "registration=" + node.id.str() + " path=" + node.path +
                                     " found=" + (reply.code == ZkCode::no_node ? "deleted" : "changed") +
                                     " meaning=\"somebody else touched our znode; it is put right\""});
  node.remote = Remote::unknown;
  node.content = Seq{};
  node.registered_at = 0;
  set_phase(node, Phase::pending);
  open_node(node);
  enqueue(node);
  effects.actions.push_back(Changed{node.id});
}

void Replay::watch_fired(const std::string& path) {
  const auto it = nodes_.find(path);
  if (it == nodes_.end()) {
    return;
  }
  Node& node = it->second;
  if (node.phase == Phase::confirmed) {
    queue_audit(node);
  } else if (node.phase == Phase::conflict && node.place == Place::none) {
    node.remote = Remote::unknown;
    enqueue(node);
  }
}

// ---- For the API

const std::string& Replay::path_of(const Node& node) {
  return node.path;
}

Replay::Phase Replay::phase(const std::string& path) const {
  const auto it = nodes_.find(path);
  return it == nodes_.end() ? Phase::pending : it->second.phase;
}

bool Replay::confirmed(const std::string& path, Seq seq) const {
  const auto it = nodes_.find(path);
  return it != nodes_.end() && it->second.phase == Phase::confirmed && it->second.seq == seq;
}

const Reason* Replay::set_aside_reason(const std::string& path) const {
  const auto it = nodes_.find(path);
  if (it == nodes_.end() || it->second.attempts == 0) {
    return nullptr;
  }
  return &it->second.reason;
}

std::optional<Outcome> Replay::znode(const std::string& path) const {
  const auto it = nodes_.find(path);
  if (it == nodes_.end() || it->second.remote != Remote::ours) {
    return std::nullopt;
  }
  const Node& node = it->second;
  return Outcome{node.content,    node.stat.ephemeral_owner, node.stat.czxid,
                 node.stat.mzxid, node.stat.version,         node.registered_at};
}

}  // namespace limpet::core
