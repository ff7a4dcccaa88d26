// One run of `limpet prune`: looks at the parents that this agent created, and removes the empty ones.
//
//   idle --start--> looking --all looked at--> removing (not in a dry run) --all answered--> idle, with a report
//     looking, removing --connection lost--> idle, with a report that says so
//
// A parent is removed only while no registration of this agent lies below it, where its czxid is that of its creation
// by this agent, by a delete of the version that was read; the servers refuse a delete of what has children. What lies
// deepest goes first, so that a whole empty branch goes in one run: ZooKeeper keeps the order of one session's
// requests. Owned by Core; no clock, no I/O.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/core/event.h"
#include "agent/core/parents.h"
#include "agent/core/registry.h"
#include "agent/core/session.h"

namespace limpet::core {

class Pruner {
 public:
  // A request's OpId has this bit; those of the replay have not.
  static constexpr std::uint64_t kOpBit = std::uint64_t{1} << 63;

  // What is passed must outlive this object.
  Pruner(const Registry& registry, const SessionMachine& session) : registry_(registry), session_(session) {}

  struct Result {
    Prune asked;  // for whom, and how
    PruneReport report;
    std::vector<std::string> gone;  // paths that the agent need no longer remember
  };

  bool busy() const { return state_ != State::idle; }
  // Precondition: not busy, and the session is usable.
  void start(Prune asked, const Parents& parents, Now now, Actions& actions);
  void replied(OpId op, const ZkReply& reply, Actions& actions);
  void lost();
  // Of a run that is over, once.
  std::optional<Result> take_result();

 private:
  enum class State { idle, looking, removing };
  using Outcome = PruneReport::Outcome;
  struct Item {
    std::string path;
    Zxid czxid;  // of its creation by this agent; 0: not known
    std::optional<Outcome> outcome;
    std::string message;
    ZkStat stat;        // as it was looked at
    bool sent = false;  // its removal
  };

  void add(const Parent& parent, Now now);
  void pump(Actions& actions);
  void send(std::size_t index, ZkVerb verb, std::int32_t version, Actions& actions);
  void looked(Item& item, const ZkReply& reply);
  void removed(Item& item, const ZkReply& reply);
  void judge();
  void finish();
  static void leave(Item& item, Outcome outcome, std::string message);

  const Registry& registry_;
  const SessionMachine& session_;
  State state_ = State::idle;
  Prune asked_;
  std::vector<Item> items_;                                   // the deepest first
  std::size_t next_ = 0;                                      // of items_, to be looked at or removed
  std::unordered_map<std::uint64_t, std::size_t> in_flight_;  // by op
  std::uint64_t next_op_ = kOpBit + 1;
  std::uint64_t empty_ = 0;
  std::optional<Result> result_;
};

}  // namespace limpet::core
