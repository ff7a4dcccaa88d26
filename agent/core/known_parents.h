// Cache of the znodes above registrations, as the replay knows them: which stand in this session, which stood in an
// earlier one, and which ZooKeeper refused to create.
//
// An entry that is missing although its znode exists costs one create that answers "node exists". Owned by Replay; no
// clock, no I/O.
#pragma once

#include <cstddef>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "agent/core/types.h"

namespace limpet::core {

class KnownParents {
 public:
  // True where the parent at `path` has to be created now; from then on it counts as standing. `presume`: one that
  // stood in an earlier session is taken to stand still.
  bool must_create(const std::string& path, bool presume);
  void stands(const std::string& path) { errors_.erase(path); }
  // The create has an unknown outcome.
  void unknown(const std::string& path) { standing_.erase(path); }
  void refused(const std::string& path, const ZkReply& reply);
  // There is no znode at `path`, or nobody knows.
  void forget(const std::string& path);
  void forget_above(const std::string& path);

  // A znode at `path` stood in an earlier session, and so did its parents.
  void presume_above(const std::string& path);
  // True where a parent of `path` was only presumed.
  bool doubt_above(const std::string& path);
  // The topmost refusal above `path`; null: none.
  const ZkReply* error_above(const std::string& path) const;

  void session_begins() { errors_.clear(); }
  void session_ended();

  // There are many: keep_only() the parents of the nodes that the replay has.
  bool overgrown() const { return size() >= allowed_; }
  void keep_only(const std::unordered_set<std::string>& needed);

 private:
  static constexpr std::size_t kAllowed = 1'000;

  std::size_t size() const { return standing_.size() + presumed_.size() + errors_.size(); }

  std::unordered_set<std::string> standing_;  // or their create is in flight, in this session
  std::unordered_set<std::string> presumed_;  // stood in an earlier session
  std::unordered_map<std::string, ZkReply> errors_;
  std::size_t allowed_ = kAllowed;
};

}  // namespace limpet::core
