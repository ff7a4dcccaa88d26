// Replay: registrations that move to another path.
//
// A move is a removal at the old path and a create at the new one, both of one change. Readers must find the
// registration at one of them at any time, so the removal is held until the create goes out, and both go in one
// transaction, also where the two were loaded from disk and read one after the other. Where the new path is refused or
// in conflict, the old znode stays until the new one stands. A registration that is withdrawn or deregistered holds
// nothing back, also if it is registered again. Neither does one that never came to stand at its old path, where a
// deregistered one still stands, nor one whose new path lies below its old one: an ephemeral znode has no children, so
// the old one must go first.
#include "agent/core/core.h"
#include "agent/core/replay_node.h"

namespace limpet::core {

namespace {

// Removals that go along with one write. More could make the transaction larger than servers take, with any data.
constexpr std::size_t kMaxRides = 2;

bool lies_below(std::string_view path, std::string_view above) {
  return path.size() > above.size() && path.starts_with(above) && path[above.size()] == '/';
}

}  // namespace

bool Replay::must_wait_for_move(const Node& removal) const {
  if (removal.live || removal.inherited) {
    return false;
  }
  const auto it = registry_.removals().find(removal.seq());
  const Registration* moved = registry_.find(removal.id());
  // A limpet that did not mark them has left some, of which only the last change of a registration can be told.
  const bool is_move =
      it != registry_.removals().end() && moved != nullptr && (it->second.moved || it->second.seq == moved->seq);
  if (!is_move || moved->path == removal.path() || lies_below(moved->path, removal.path())) {
    return false;
  }
  const Node* there = find_node(moved->path);
  return there != nullptr && there->present && there->id() == removal.id() && there->phase != Phase::confirmed;
}

// Those whose znodes go when `node` is written.
std::vector<Replay::Node*> Replay::removals_held_for(const Node& node) const {
  std::vector<Node*> held;
  const std::set<Seq>* seqs = node.present ? registry_.removals_of(node.id()) : nullptr;
  if (seqs == nullptr) {
    return held;
  }
  for (const Seq seq : *seqs) {
    Node* removal = find_node(registry_.removals().at(seq).path);
    if (removal != nullptr && removal->place == Place::held && held.size() < kMaxRides) {
      held.push_back(removal);
    }
  }
  return held;
}

// Of the packet that ends the session.
std::uint64_t Replay::bytes_freed_by(const std::vector<Node*>& removals) const {
  std::uint64_t bytes = 0;
  for (const Node* removal : removals) {
    bytes += removal->counted_in_session ? path_bytes(*removal) : 0;
  }
  return bytes;
}

// The registration of that name came to stand, or is wanted elsewhere, or no more.
void Replay::reconsider_removals(const RegistrationId& id) {
  const std::set<Seq>* seqs = registry_.removals_of(id);
  if (seqs == nullptr) {
    return;
  }
  for (const Seq seq : *seqs) {
    Node* removal = find_node(registry_.removals().at(seq).path);
    if (removal != nullptr && !removal->live &&
        (removal->place == Place::held || removal->place == Place::write_ready)) {
      take_out(*removal);
      enqueue(*removal);
    }
  }
}

Replay::Flight Replay::begin_ride(Node& removal, Now now) {
  removal.place = Place::in_flight;
  removal.flying = removal.seq();
  Flight flight{ZkVerb::remove, &removal, "", removal.seq(), removal.key(), false, false, now.steady_ms};
  flight.rides_along = true;
  return flight;
}

}  // namespace limpet::core
