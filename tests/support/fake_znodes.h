// The servers' side of the fake ensemble: znodes, sessions and the one order of all transactions.
//
// Every transaction ever made is kept, so that a lagging follower can be asked what it saw then, and so that a test can
// judge afterwards. Knows nothing of connections, time or faults; see fake_ensemble.h. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/core/types.h"

namespace limpet::test {

// The real servers' side has words of the same names (zk_observer.h, txn_log.h); a program may hold both.
namespace fake {

struct Znode {
  std::string data;
  core::ZkStat stat;
};

// One change of one znode. A session's end is one transaction: its znodes go with the same zxid.
struct Txn {
  Zxid zxid;
  std::string path;
  SessionId by;                 // the session that asked; 0: an operator, or the servers themselves
  bool session_end = false;     // the znode went with its owner's session
  std::optional<Znode> before;  // nullopt: it did not exist
  std::optional<Znode> after;   // nullopt: it does not exist any more
};

}  // namespace fake

using fake::Txn;
using fake::Znode;

class FakeZnodes {
 public:
  // Called after each transaction.
  using Listener = std::function<void(const Txn&)>;
  void set_listener(Listener listener) { listener_ = std::move(listener); }

  // What the servers do with a request, checked in their order. `stat` is set by create and set.
  core::ZkCode create(const std::string& path, std::string data, SessionId owner, SessionId by, core::ZkStat* stat);
  core::ZkCode set(const std::string& path, std::string data, std::int32_t version, SessionId by, core::ZkStat* stat);
  core::ZkCode remove(const std::string& path, std::int32_t version, SessionId by);

  // From begin() to commit() or undo(), all that is done has one zxid, and the listener hears of it at the end.
  void begin();
  void commit();
  void undo();

  // Deletes all ephemerals of `owner`, but for `spared` (a ghost) where that is not empty.
  void end_session(SessionId owner, const std::string& spared = {});
  // Takes a zxid for something that changes no znode: a new session, a new leader.
  Zxid take_zxid() { return Zxid{in_transaction_ ? zxid_ : ++zxid_}; }
  // Everything is gone, and the zxids start anew: somebody deleted the servers' data.
  void wipe();

  // Everything is as it was when `to` was the newest zxid, and that is the newest again: a restored backup.
  void roll_back(Zxid to);

  const Znode* find(std::string_view path) const;
  // The znode as it was when `zxid` was the newest.
  const Znode* find_at(std::string_view path, Zxid zxid) const;
  bool has_children(const std::string& path) const;
  std::int32_t count_children(const std::string& path) const;
  const std::map<std::string, Znode, std::less<>>& all() const { return znodes_; }
  Zxid zxid() const { return Zxid{zxid_}; }

  static std::string parent_of(const std::string& path);  // "" of a path right below the root

 private:
  void apply(Zxid zxid, const std::string& path, SessionId by, bool session_end, std::optional<Znode> after);

  struct Version {
    Zxid zxid;
    std::optional<Znode> znode;
  };

  Listener listener_;
  std::int64_t zxid_ = 0;
  bool in_transaction_ = false;
  std::vector<Txn> done_;  // in the transaction
  std::map<std::string, Znode, std::less<>> znodes_;
  std::map<std::string, std::vector<Version>, std::less<>> versions_;
};

}  // namespace limpet::test
