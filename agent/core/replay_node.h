// One znode path in the replay: what is wanted there, what is known of it, how far it is. Private to replay*.cc.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "agent/core/parents.h"
#include "agent/core/replay.h"

namespace limpet::core {

inline std::string_view parent_of(std::string_view path) {
  return path.substr(0, path.rfind('/'));
}

// What stands there. presumed_absent: it went with a session that has ended. Good enough to create there, where a znode
// that a server's bug left behind shows itself (ZOOKEEPER-4837); a removal looks first.
enum class Replay::Remote : std::uint8_t { unknown, absent, presumed_absent, ours, former, foreign };

// held: a removal whose registration is to stand elsewhere, and does not yet (replay_move.cc).
enum class Replay::Place : std::uint8_t { none, read_ready, write_ready, in_flight, held };

// held_back: not created, because the packet that ends the session has no room for its path. shed: it stands, and is
// removed because that packet is larger than any may be; then held_back.
enum class Replay::Budget : std::uint8_t { fits, held_back, shed };

struct Replay::Node {
  // Wanted.
  SharedRegistration change;  // of a removal: its id, path and seq
  bool present = false;
  bool live = false;  // of a live registration: present, or withdrawn for now

  // How far.
  bool counted = false;
  bool is_open = false;
  bool waiting = false;  // its key is in waiting_
  bool audit_queued = false;
  bool audit_flying = false;
  bool audit_again = false;
  bool convicted = false;           // its request made the servers cut the connection
  bool alone = false;               // goes by itself: a transaction failed that it was in, or it was refused
  bool inherited = false;           // a znode there is of another registration: nothing was written since
  bool counted_in_session = false;  // may stand under the present session, so the packet that ends it may name it
  Budget budget = Budget::fits;
  Phase phase = Phase::pending;
  Place place = Place::none;
  std::uint32_t attempts = 0;
  std::uint32_t parent_races = 0;
  Seq flying;                            // the change that the write in flight is about; 0: none is, or it only reads
  std::unique_ptr<ZkReply> not_cleared;  // why the removal before the create in flight was refused
  std::unique_ptr<Reason> reason;        // for which it is set aside, where `attempts` is not 0

  // Known.
  Remote remote = Remote::absent;
  ZkStat stat;  // where ours, former or foreign
  Seq content;  // whose content stands there; 0: not known to be anybody's
  WallMs registered_at = 0;

  explicit Node(SharedRegistration wanted) : change(std::move(wanted)) {}
  const RegistrationId& id() const { return change->id; }
  const std::string& path() const { return change->path; }
  Seq seq() const { return change->seq; }
  Key key() const { return {change->seq, live}; }
  // As counted in the queue.
  std::uint64_t bytes() const { return change->path.size() + (present ? change->data.size() : 0); }
};

}  // namespace limpet::core
