// One znode path in the replay: what is wanted there, what is known of it, how far it is. Private to replay*.cc.
#pragma once

#include <string>

#include "agent/core/replay.h"

namespace limpet::core {

// Calls `each` with every path above `path` but "/", from the top down.
template <typename Each>
void for_each_parent(const std::string& path, Each each) {
  for (std::size_t end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1)) {
    each(path.substr(0, end));
  }
}

struct Replay::Node {
  std::string path;

  // Wanted.
  RegistrationId id;
  Seq seq;
  bool present = false;
  bool live = false;        // of a live registration: present, or withdrawn for now
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
  Seq flying;            // the change that the write in flight is about; 0: none is, or it only reads
  bool waiting = false;  // its key is in waiting_
  bool audit_queued = false;
  bool audit_flying = false;
  bool audit_again = false;
  std::uint32_t attempts = 0;
  std::uint32_t parent_races = 0;
  std::optional<ZkReply> not_cleared;  // why the removal before the create in flight was refused
  bool convicted = false;              // its request made the servers cut the connection
  bool alone = false;                  // goes by itself: a transaction failed that it was in, or it was refused
  Reason reason;                       // while set aside

  Key key() const { return {seq, live}; }
};

}  // namespace limpet::core
