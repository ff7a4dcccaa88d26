// Replay: what is wanted, and the coming and going of the session.
#include <algorithm>
#include <cassert>
#include <utility>

#include "agent/core/core.h"
#include "agent/core/replay_node.h"

namespace limpet::core {

Replay::Replay(const Options& options, const Registry& registry, const SessionMachine& session)
    : options_(options),
      registry_(registry),
      session_(session),
      random_(options.seed),
      window_(options.window, options.replay_rate),
      counted_for_(session.current()) {}
Replay::~Replay() = default;

// ---- What is wanted

// The one that is there, or a new one, of which it is `known` that nothing stands there.
Replay::Node& Replay::node_at(const SharedRegistration& change, bool known) {
  if (Node* node = find_node(change->path)) {
    return *node;
  }
  auto added = std::make_unique<Node>(change);
  Node& node = *added;
  node.remote = known ? Remote::absent : Remote::unknown;
  count_in_session(node, !known);
  nodes_.insert(std::move(added));
  return node;
}

// All of them, by their changes: nothing depends on where a table happens to hold them.
std::vector<std::pair<Replay::Key, Replay::Node*>> Replay::in_order() const {
  std::vector<std::pair<Key, Node*>> all;
  all.reserve(nodes_.size());
  nodes_.for_each([&](Node& node) { all.emplace_back(node.key(), &node); });
  std::sort(all.begin(), all.end());
  return all;
}

void Replay::want(Node& node, const SharedRegistration& change, Want what) {
  take_out(node);
  close_node(node);
  stop_waiting(node);
  stop_holding(node);
  if (node.id() != change->id) {
    node.registered_at = 0;
    node.inherited = node.remote != Remote::absent && node.remote != Remote::presumed_absent;
  }
  node.change = change;
  node.present = what == Want::present;
  node.live = what != Want::gone;
  node.alone = node.attempts > 0;
  node.attempts = 0;
  node.parent_races = 0;
  node.convicted = false;
  set_phase(node, what == Want::present ? Phase::pending : what == Want::gone ? Phase::removing : Phase::withdrawn);
  open_node(node);
  if (node.place == Place::in_flight) {
    node.waiting = true;
    waiting_.insert(node.key());
  }
}

void Replay::stop_waiting(Node& node) {
  if (std::exchange(node.waiting, false)) {
    waiting_.erase(node.key());
  }
}

void Replay::want_present(const SharedRegistration& registration, bool known, Node* there) {
  Node& node = there != nullptr ? *there : node_at(registration, known);
  // What was to be withdrawn, and is not yet, may stand as it is wanted again: nothing needs to be written then.
  const bool comes_back = node.live && !node.present && node.seq() == registration->seq;
  if (comes_back && node.remote == Remote::ours && node.place != Place::in_flight) {
    learn(node, Remote::unknown);
  }
  // A conflict or a refusal may have been about the old content or about nothing any more: it is tried afresh.
  if (node.remote == Remote::foreign) {
    learn(node, Remote::unknown);
  }
  want(node, registration, Want::present);
  enqueue(node);
  reconsider_removals(registration->id);
}

void Replay::want_withdrawn(const SharedRegistration& registration, bool known, Effects& effects) {
  Node& node = node_at(registration, known);
  want(node, registration, Want::withdrawn);
  want_no_more(node, effects);
  reconsider_removals(registration->id);
}

// What is there, if anything, is to go.
void Replay::want_no_more(Node& node, Effects& effects) {
  if (node.place != Place::in_flight && (node.remote == Remote::absent || node.remote == Remote::foreign)) {
    finish_removal(node, effects);
    return;
  }
  enqueue(node);
}

void Replay::want_absent(const Removal& removal, bool known, Effects& effects) {
  const SharedRegistration change(remnant_of(removal));
  Node& node = node_at(change, known);
  want(node, change, Want::gone);
  want_no_more(node, effects);
  reconsider_removals(removal.id);
}

void Replay::remember(const RegistrationId& id, const Outcome& outcome) {
  const Registration* registration = registry_.find(id);
  if (registration == nullptr || outcome.session != session_.current()) {
    return;
  }
  Node& node = *find_node(registration->path);
  if (outcome.seq == registration->seq && node.present) {
    take_out(node);
    close_node(node);
    learn(node, Remote::ours);
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
    open_.insert(node.key(), &node);
    open_bytes_ += node.bytes();
    ++open_of_[node.change->owner.uid];
  }
}

void Replay::close_node(Node& node) {
  if (node.is_open) {
    node.is_open = false;
    open_.erase(node.key(), &node);
    open_bytes_ -= node.bytes();
    if (const auto it = open_of_.find(node.change->owner.uid); --it->second == 0) {
      open_of_.erase(it);
    }
  }
}

// Out of the line of what is to be sent; a request in flight stays in flight.
void Replay::take_out(Node& node) {
  if (node.place == Place::read_ready) {
    read_ready_.erase(node.key(), &node);
  } else if (node.place == Place::write_ready) {
    write_ready_.erase(node.key(), &node);
  }
  if (node.place != Place::in_flight) {
    node.place = Place::none;
  }
}

// True where what stands is what is wanted.
bool Replay::in_line(const Node& node) const {
  if (node.present) {
    return node.remote == Remote::ours && node.content == node.seq();
  }
  return node.remote == Remote::absent || node.remote == Remote::foreign;
}

// Puts an open node where its next request waits for its turn.
void Replay::enqueue(Node& node) {
  if (node.place != Place::none || !node.is_open || node.budget == Budget::held_back) {
    return;
  }
  if (node.remote == Remote::unknown || (node.remote == Remote::presumed_absent && !node.present)) {
    node.place = Place::read_ready;
    read_ready_.insert(node.key(), &node);
  } else if (must_wait_for_move(node)) {
    node.place = Place::held;
  } else {
    node.place = Place::write_ready;
    write_ready_.insert(node.key(), &node);
  }
}

void Replay::queue_audit(Node& node) {
  if (node.audit_flying) {
    node.audit_again = true;
  } else if (!node.audit_queued) {
    node.audit_queued = true;
    audits_.push_back(node.change);
  }
}

// ---- The session

void Replay::resume(bool fresh, Now now, Effects& effects) {
  next_full_audit_ms_ = now.steady_ms;
  session_begins();
  running_ = true;
  synced_ = false;
  sync_flying_ = false;
  known_parents_.session_begins();
  retries_.clear();
  if (fresh) {
    forget_session(effects);
  }
  for (const auto& [key, each] : in_order()) {
    Node& node = *each;
    const bool held = node.place == Place::held;  // for long, perhaps, and its watch went with the connection
    take_out(node);
    if (!fresh && (held || node.phase == Phase::conflict || node.remote == Remote::foreign)) {
      learn(node, Remote::unknown);
    }
    if (node.convicted || (node.attempts > 0 && node.path() == refused_last_)) {
      retry_later(node, now);
    } else if (node.phase != Phase::confirmed) {
      enqueue(node);
    }
  }
  refused_last_.clear();
}

void Replay::forget_session(Effects& effects) {
  known_parents_.session_ended();
  std::vector<Node*> gone;
  for (const auto& [key, each] : in_order()) {
    Node& node = *each;
    take_out(node);
    learn(node, node.remote == Remote::absent ? Remote::absent : Remote::presumed_absent);
    node.content = Seq{};
    node.registered_at = 0;
    if (node.phase == Phase::confirmed) {
      set_phase(node, Phase::pending);
    }
    if (!in_line(node)) {
      open_node(node);
    } else if (node.is_open) {
      gone.push_back(&node);
    }
  }
  for (Node* node : gone) {
    finish_removal(*node, effects);
  }
}

void Replay::lost(Now now, Effects& effects) {
  std::vector<std::string> writes;
  running_ = false;
  synced_ = false;
  sync_flying_ = false;
  read_flying_.clear();
  for (const auto& [op, flight] : flights_) {
    watch_answered(flight, ZkReply{ZkCode::unknown_outcome, {}, {}, {}});
    lost(flight, writes);
  }
  for (const auto& [op, batch] : batches_) {
    for (const Flight& part : batch.parts) {
      lost(part, writes);
    }
  }
  flights_.clear();
  batches_.clear();
  pacer_.connection_lost();
  audits_flying_ = 0;
  looks_flying_ = 0;
  reads_and_writes_flying_ = 0;
  if (const auto convicted = window_.lost(writes)) {
    convict(*find_node(*convicted), now, effects);
  }
}

// Servers do not say why they cut a connection. That of too large a request they cut, but their bounds are far above
// what most registrations need.
void Replay::convict(Node& node, Now now, Effects& effects) {
  constexpr std::uint64_t kLargeBytes = 16 << 10;
  node.convicted = true;
  const bool large = node.bytes() >= kLargeBytes;
  set_aside(node, Phase::blocked, large ? ReasonCode::too_large : ReasonCode::refused,
            large ? "the servers cut the connection whenever this is sent: it is probably larger than their "
                    "jute.maxbuffer; make it smaller, or raise that; it is tried again from time to time"
                  : "the servers cut the connection whenever this is sent, and do not say why; with " +
                        std::to_string(node.bytes()) +
                        " bytes it is not too large, so look at the servers' logs; it is tried again from time to time",
            now, effects);
}

void Replay::lost(const Flight& flight, std::vector<std::string>& writes) {
  if (flight.verb == ZkVerb::create_parent) {
    known_parents_.unknown(flight.path);
  }
  if (flight.verb == ZkVerb::look) {
    looks_.emplace_back(flight.path, flight.change);
  }
  if (Node* audited = flight.verb == ZkVerb::watch ? find_node(flight.path) : nullptr) {
    audited->audit_flying = false;
    audited->audit_again = false;  // resume() looks at every confirmed node again
  }
  if (flight.node == nullptr || flight.clears_the_way) {
    return;  // of the latter, the create right behind it tells
  }
  Node& node = *flight.node;
  node.place = Place::none;
  stop_waiting(node);
  if (flight.verb != ZkVerb::read) {
    if (!flight.rides_along) {
      writes.push_back(node.path());
    }
    learn(node, Remote::unknown);
    node.content = Seq{};
  }
  enqueue(node);
}

// ---- For the API

std::uint64_t Replay::depth_of(std::uint32_t uid) const {
  const auto it = open_of_.find(uid);
  return it == open_of_.end() ? 0 : it->second;
}

ReplayFigures Replay::figures() const {
  ReplayFigures figures = figures_;
  figures.in_flight = reads_and_writes_flying_;
  figures.window = window_.limit();
  return figures;
}

std::string_view Replay::PathOf::key(const Node& node) {
  return node.path();
}

Replay::Node* Replay::find_node(std::string_view path) const {
  return nodes_.find(path);
}

const std::string& Replay::path_of(const Node& node) {
  return node.path();
}

const RegistrationId& Replay::id_of(const Node& node) {
  return node.id();
}

bool Replay::withdraws(const Node& node) {
  return node.live && !node.present;
}

Replay::Phase Replay::phase(const Node* node) {
  return node == nullptr ? Phase::pending : node->phase;
}

bool Replay::confirmed(const Node* node, Seq seq) {
  return node != nullptr && node->phase == Phase::confirmed && node->seq() == seq;
}

bool Replay::unsent(const Node* node, Seq seq) {
  return node != nullptr && node->seq() == seq && node->is_open && node->content != seq &&
         (node->place != Place::in_flight || node->flying != seq);
}

bool Replay::doubtful(const Node* node) {
  return node != nullptr && node->remote == Remote::unknown;
}

bool Replay::unpublished(const Node* node) {
  return node == nullptr ||
         (node->place != Place::in_flight && (node->remote == Remote::absent || node->remote == Remote::foreign));
}

bool Replay::withdrawing(const Node* node) {
  return node != nullptr && withdraws(*node) && node->is_open && node->remote == Remote::ours;
}

const Reason* Replay::set_aside_reason(const Node* node) {
  return node != nullptr && node->attempts > 0 ? node->reason.get() : nullptr;
}

std::optional<Outcome> Replay::znode(const Node* node) {
  if (node == nullptr || node->remote != Remote::ours) {
    return std::nullopt;
  }
  return Outcome{node->content,    node->stat.ephemeral_owner, node->stat.czxid,
                 node->stat.mzxid, node->stat.version,         node->registered_at};
}

}  // namespace limpet::core
