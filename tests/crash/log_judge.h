// What an agent did to ZooKeeper, judged by the servers' transaction log against what it had accepted: the order of all
// changes (I3), no ghost (I5), no blink (I6), nothing that nobody asked for (I2), nothing of anybody else's (I8). The
// letters are those of the list of invariants.
//
// A session that is made while an earlier one lives (a server has said that it expired, which it has not) is not judged
// by order: what stands in its way is found as it goes.
//
// Every registration's data must be its own: by it a znode's content tells which change it comes from. Plain; one
// thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/crash/history.h"
#include "tests/support/txn_log.h"

namespace limpet::test {

class LogJudge {
 public:
  // Of an agent with this root, all of whose registrations lie at <root>/<service>/<instance>.
  explicit LogJudge(std::string root) : root_(std::move(root)) {}

  void add(const std::vector<Accepted>& accepted);
  // A session that the agent has held.
  void add_session(std::int64_t session) { ours_.insert(session); }
  // A znode of somebody else: the agent must leave it alone, whatever it was asked.
  void add_foreign(const std::string& path) { foreign_.insert(path); }

  // Promises that were broken, in words. `txns` in their order, of all paths.
  std::vector<std::string> judge(const std::vector<Txn>& txns);
  // Of the last judge(): changes of registrations that could be put in an order.
  std::uint64_t ordered() const { return ordered_; }

 private:
  struct Asked {
    std::map<std::string, std::uint64_t> seq_of;  // data -> seq; 0: not known
    std::set<std::uint64_t> removals;             // seqs of deregistrations
    bool unknown_removals = false;
  };
  // A path as the log has it so far.
  struct Standing {
    std::int64_t owner = 0;     // the session that created it
    std::uint64_t written = 0;  // seq of what was written last, where known
    std::uint64_t removed = 0;  // seq of the deregistration that last took it away: at least this
  };

  void judge_one(const Txn& txn);
  void judge_write(const Txn& txn, const Asked& asked, Standing& standing);
  void judge_delete(const Txn& txn, const Asked& asked, Standing& standing);
  void in_order(const Txn& txn, std::uint64_t seq);
  void violated(const Txn& txn, const std::string& what);

  const std::string root_;
  std::map<std::string, Asked> asked_;  // by path
  std::set<std::int64_t> ours_;
  std::set<std::string> foreign_;

  // Of one judge().
  std::set<std::int64_t> open_;  // sessions of the agent's that live
  bool alone_ = true;            // session_ was, when it first wrote
  std::map<std::string, Standing> standing_;
  std::int64_t session_ = 0;                               // the agent's, at this point of the log
  std::uint64_t newest_ = 0;                               // the highest seq that this session has brought
  std::set<std::pair<std::string, std::string>> brought_;  // path and data that it has
  std::uint64_t ordered_ = 0;
  std::vector<std::string> violations_;
};

// What the servers' logs say, of servers that may run meanwhile.
class RealEnsemble;
std::vector<Txn> transactions_of(const RealEnsemble& servers);

}  // namespace limpet::test
