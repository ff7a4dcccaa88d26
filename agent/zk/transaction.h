// A transaction in the ZooKeeper library's form: what it is handed, what it answers into, and what that comes to.
//
// The library's answer to a create inside a transaction is only that it was done. So right behind the transaction, on
// the same connection, goes one look at the last znode that it creates: all that one transaction does has one zxid, and
// that znode tells it. Made and handed in on the core thread, completed on the library's. The library writes into it
// until completed() has said true, or its handle is closed.
#pragma once

#include <zookeeper/zookeeper.h>

#include <atomic>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "agent/core/types.h"

namespace limpet::zk {

class Transaction {
 public:
  // Of creates, sets, removes and checks; at least one.
  explicit Transaction(std::span<const core::ZkRequest> requests);
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  // Hands in what it was made of, once, with `chroot` in front of every path. `done` and `looked` are called with
  // `context`: they store what they are told and then ask completed(). Where this does not return ZOK nothing was sent,
  // and neither is called. `requests` and `acl`, which all that is created gets, are needed for this call only.
  int hand_in(zhandle_t* zh, std::span<const core::ZkRequest> requests, const std::string& chroot,
              const ACL_vector* acl, void_completion_t done, stat_completion_t looked, const void* context);

  // The library's thread.
  void set_done(int rc) { rc_ = rc; }
  void set_looked(int rc, const Stat* stat);
  // True for the one who is the last to be waited for. Only that one may ask for the reply() of what was done. Any
  // thread.
  bool completed() { return awaited_.fetch_sub(1) == 1; }
  // True where it was not done: then the reply() is known without the look. After set_done().
  bool refused() const { return rc_ != ZOK; }
  // `session`: whose the znodes must be that it created.
  core::ZkReply reply(SessionId session) const;

 private:
  core::ZkReply refusal() const;
  std::optional<core::ZkStat> made(SessionId session) const;

  std::vector<core::ZkVerb> verbs_;
  std::vector<zoo_op_result_t> results_;
  std::vector<Stat> stats_;
  int rc_ = ZOK;
  int look_rc_ = ZNOTHING;
  Stat look_{};
  std::atomic<int> awaited_{1};
};

}  // namespace limpet::zk
