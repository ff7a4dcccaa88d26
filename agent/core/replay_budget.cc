// Replay: the bounds of the two packets that name many znodes: the one that ends the session, and the one that sets all
// watches anew (path_budget.h).
//
// No create is sent that could take the first past its bound. What may stand under the session counts: each znode of
// which that is known, whose create is in flight, or which has still to be read. A registration whose znode finds no
// room is held back, in state `blocked`, until znodes of others are gone. A watch that finds no room in the second
// packet is not left; audits and retries find out later then.
#include <algorithm>
#include <utility>

#include "agent/core/core.h"
#include "agent/core/replay_node.h"

namespace limpet::core {

std::uint64_t Replay::path_bytes(const Node& node) const {
  return packet_bytes(node.path(), options_.chroot_bytes);
}

std::uint64_t Replay::path_bound() const {
  return std::min<std::uint64_t>(options_.limits.max_path_bytes, kMostPathBytes);
}

// True where the next write of the node is a create.
bool Replay::creates(const Node& node) {
  return node.present && node.remote != Remote::ours;
}

bool Replay::fits(const Node& node) const {
  return !creates(node) || session_bytes_ + path_bytes(node) <= path_bound() + bytes_freed_by(removals_held_for(node));
}

// True where an answer may make room.
bool Replay::awaits_answers() const {
  return reads_and_writes_flying_ > 0 || !read_ready_.empty();
}

// ---- What may stand

// What is known now of the znode. While a request is in flight, its answer decides whether it counts.
void Replay::learn(Node& node, Remote remote) {
  node.remote = remote;
  if (node.place != Place::in_flight && remote != Remote::unknown) {
    count_in_session(node, remote == Remote::ours);
  }
}

void Replay::count_in_session(Node& node, bool may_stand) {
  if (std::exchange(node.counted_in_session, may_stand) == may_stand) {
    return;
  }
  if (may_stand) {
    session_bytes_ += path_bytes(node);
  } else {
    session_bytes_ -= path_bytes(node);
    room_grew_ = true;
  }
}

// On resume(): nothing stands under a new session, and a new handle has no watch.
void Replay::session_begins() {
  if (counted_for_ != session_.current()) {
    counted_for_ = session_.current();
    nodes_.for_each([this](Node& node) { count_in_session(node, false); });
  }
  if (watch_epoch_ != session_.epoch()) {
    watch_epoch_ = session_.epoch();
    watched_.clear();
    watch_bytes_ = kPacketHeadBytes;
  }
  while (!held_.empty()) {
    stop_holding(*held_.begin()->value);  // who finds room is decided anew
  }
}

// ---- Holding back

void Replay::hold_back(Node& node, Now now, Effects& effects) {
  take_out(node);
  node.budget = Budget::held_back;
  held_.insert(node.key(), &node);
  const bool again = node.phase == Phase::blocked && node.attempts > 0 && node.reason->code == ReasonCode::quota;
  if (!again) {
    node.attempts = std::max<std::uint32_t>(node.attempts, 1);
    node.reason = std::make_unique<Reason>();
    node.reason->code = ReasonCode::quota;
    node.reason->since = now.wall_ms;
    ++figures_.refused[static_cast<std::size_t>(ReasonCode::quota)];
  }
  node.reason->attempts = node.attempts;
  node.reason->message = "held back: with this znode the paths of this host would take " +
                         std::to_string(session_bytes_ + path_bytes(node)) +
                         " bytes in the packet that ends its ZooKeeper session, and the limit (max_path_bytes) is " +
                         std::to_string(path_bound()) + "; it goes out when others are deregistered";
  if (!again) {
    record(Happening::blocked, node, node.seq(), node.reason->message, effects);
  }
  set_phase(node, Phase::blocked);
  changed(effects);
}

// The node is out of the line of those held back. Its reason stays until it has settled.
void Replay::stop_holding(Node& node) {
  if (node.budget == Budget::held_back) {
    held_.erase(node.key(), &node);
  }
  node.budget = Budget::fits;
}

// In the order of their changes, those for which there is room now.
void Replay::release_held() {
  if (!std::exchange(room_grew_, false) || held_.empty()) {
    return;
  }
  std::uint64_t bytes = session_bytes_;
  std::vector<Node*> released;
  for (const auto& [key, node] : held_) {
    if (!creates(*node)) {
      released.push_back(node);
    } else if (bytes + path_bytes(*node) <= path_bound()) {
      bytes += path_bytes(*node);
      released.push_back(node);
    }
  }
  for (Node* node : released) {
    stop_holding(*node);
    node->attempts = 0;
    node->reason.reset();
    set_phase(*node, Phase::pending);
    enqueue(*node);
  }
}

// Says once that there are some, and once that there are none any more.
void Replay::tell_held(Effects& effects) {
  const bool undecided = held_.empty() && (awaits_answers() || !write_ready_.empty());
  if (held_told_ == !held_.empty() || undecided) {
    return;
  }
  held_told_ = !held_.empty();
  if (held_told_) {
    effects.actions.push_back(
        Note{Note::Level::error, "paths_over_bound",
             "held_back=" + std::to_string(held_.size()) + " bytes=" + std::to_string(session_bytes_) +
                 " limit=" + std::to_string(path_bound()) +
                 " meaning=\"the packet that ends the ZooKeeper session has no room for the paths of these "
                 "registrations; they wait until others are deregistered or max_path_bytes is raised\""});
  } else {
    effects.actions.push_back(Note{Note::Level::info, "paths_within_bound",
                                   "meaning=\"no registration is held back for the size of its path any more\""});
  }
}

// ---- A session that holds more than any may: from a release that counted less, or from before the limit was lowered

void Replay::shed_excess(Now now, Effects& effects) {
  if (session_bytes_ <= kMostPathBytes || awaits_answers()) {
    return;
  }
  std::uint64_t bytes = session_bytes_;
  std::size_t count = 0;
  const auto all = in_order();
  for (auto it = all.rbegin(); it != all.rend() && bytes > path_bound(); ++it) {
    Node& node = *it->second;
    if (node.phase == Phase::confirmed && node.counted_in_session) {
      bytes -= path_bytes(node);
      ++count;
      shed(node, now.wall_ms);
    }
  }
  if (count > 0) {
    effects.actions.push_back(
        Note{Note::Level::error, "session_too_large",
             "bytes=" + std::to_string(session_bytes_) + " limit=" + std::to_string(path_bound()) +
                 " withdrawn=" + std::to_string(count) +
                 " meaning=\"servers that end a session with so many paths may stop; the newest registrations are "
                 "withdrawn until the rest fits\""});
    changed(effects);
  }
}

void Replay::shed(Node& node, WallMs since) {
  want(node, SharedRegistration(node.change), Want::withdrawn);
  node.budget = Budget::shed;
  node.attempts = 1;
  node.reason = std::make_unique<Reason>(
      Reason{ReasonCode::quota,
             "withdrawn: the packet that ends the ZooKeeper session would be too large for the servers", since, 1});
  set_phase(node, Phase::blocked);
  enqueue(node);
}

// ---- Watches

// Whether the request may leave a watch: there is one already, which is renewed, or there is room for it.
void Replay::reserve_watch(const std::string& path, Flight& flight) {
  const std::uint64_t bytes = packet_bytes(path, options_.chroot_bytes);
  const bool renews = watched_.contains(path);
  flight.reserved = !renews && watch_bytes_ + bytes <= path_bound();
  flight.watches = renews || flight.reserved;
  watch_bytes_ += flight.reserved ? bytes : 0;
}

void Replay::watch_answered(const Flight& flight, const ZkReply& reply) {
  if (!flight.watches) {
    return;
  }
  const std::string& path = flight.node != nullptr ? flight.node->path() : flight.path;
  const std::uint64_t bytes = packet_bytes(path, options_.chroot_bytes);
  const bool left = reply.code == ZkCode::ok || (flight.verb == ZkVerb::watch && reply.code == ZkCode::no_node);
  watch_bytes_ -= flight.reserved ? bytes : 0;
  watch_bytes_ += left && watched_.insert(path).second ? bytes : 0;
}

void Replay::watch_gone(const std::string& path) {
  if (watched_.erase(path) > 0) {
    watch_bytes_ -= packet_bytes(path, options_.chroot_bytes);
  }
}

}  // namespace limpet::core
