#include "tests/crash/log_judge.h"

#include "tests/support/real_ensemble.h"

namespace limpet::test {

void LogJudge::add(const std::vector<Accepted>& accepted) {
  for (const auto& change : accepted) {
    Asked& asked = asked_[root_ + "/" + change.id];
    if (!change.data) {
      asked.unknown_removals = asked.unknown_removals || !change.seq;
      if (change.seq) {
        asked.removals.insert(*change.seq);
      }
    } else {
      std::uint64_t& seq = asked.seq_of[*change.data];
      seq = change.seq.value_or(seq);
    }
  }
}

std::vector<std::string> LogJudge::judge(const std::vector<Txn>& txns) {
  standing_.clear();
  open_.clear();
  session_ = 0;
  newest_ = 0;
  brought_.clear();
  ordered_ = 0;
  violations_.clear();
  for (const Txn& txn : txns) {
    if (txn.what == "create_session" && ours_.contains(txn.session)) {
      open_.insert(txn.session);
    } else if (txn.what == "close_session") {
      open_.erase(txn.session);
      std::erase_if(standing_, [&](const auto& entry) { return entry.second.owner == txn.session; });
    } else if (txn.path.starts_with(root_ + "/") && ours_.contains(txn.session)) {
      judge_one(txn);
    }
  }
  return violations_;
}

void LogJudge::judge_one(const Txn& txn) {
  if (foreign_.contains(txn.path)) {
    violated(txn, "it is somebody else's");
    return;
  }
  const auto asked = asked_.find(txn.path);
  if (asked == asked_.end()) {
    // Parents are created, and never touched again.
    if (txn.what != "create" || !txn.data.empty()) {
      violated(txn, "nobody asked for anything there");
    }
    return;
  }
  if (txn.session != session_) {  // everything is brought again, in order
    session_ = txn.session;
    alone_ = open_.size() <= 1;
    newest_ = 0;
    brought_.clear();
  }
  Standing& standing = standing_[txn.path];
  if (txn.what == "delete") {
    judge_delete(txn, asked->second, standing);
  } else {
    judge_write(txn, asked->second, standing);
  }
}

void LogJudge::judge_write(const Txn& txn, const Asked& asked, Standing& standing) {
  if (txn.what == "create") {
    standing.owner = txn.session;
  } else if (standing.owner != txn.session) {
    violated(txn, "the znode is of another session");
  }
  const auto found = asked.seq_of.find(txn.data);
  if (found == asked.seq_of.end()) {
    violated(txn, "nobody asked for this content");
    return;
  }
  const std::uint64_t seq = found->second;
  if (seq == 0) {
    return;  // not known which change it was
  }
  if (seq < standing.removed) {
    violated(txn,
             "a ghost: seq " + std::to_string(seq) + " was deregistered by seq " + std::to_string(standing.removed));
  }
  if (seq < standing.written) {
    violated(txn, "an older content, seq " + std::to_string(seq) + " after " + std::to_string(standing.written));
  }
  standing.written = seq;
  if (brought_.emplace(txn.path, txn.data).second) {
    in_order(txn, seq);
  }
}

void LogJudge::judge_delete(const Txn& txn, const Asked& asked, Standing& standing) {
  const bool replaced = standing.owner != 0 && standing.owner != txn.session;
  if (replaced && !ours_.contains(standing.owner)) {
    violated(txn, "the znode is of another owner");
  }
  // The deregistrations that may have been the reason: later than what stood. The first that keeps the order is taken.
  const auto first = asked.removals.upper_bound(standing.written);
  if (replaced || asked.unknown_removals) {
    return;
  }
  if (first == asked.removals.end()) {
    violated(txn, "nobody deregistered it");
    return;
  }
  const auto fitting = asked.removals.upper_bound(std::max(standing.written, newest_));
  standing.removed = *first;
  in_order(txn, fitting == asked.removals.end() ? *first : *fitting);
}

void LogJudge::in_order(const Txn& txn, std::uint64_t seq) {
  if (!alone_) {
    return;
  }
  ++ordered_;
  // What one batch accepted, or one transaction carries, has seqs of its own: no two are equal.
  if (seq <= newest_) {
    violated(txn, "seq " + std::to_string(seq) + " after " + std::to_string(newest_));
  }
  newest_ = std::max(newest_, seq);
}

void LogJudge::violated(const Txn& txn, const std::string& what) {
  char head[100];
  std::snprintf(head, sizeof head, "zxid 0x%llx session 0x%llx ", static_cast<unsigned long long>(txn.zxid),
                static_cast<unsigned long long>(txn.session));
  violations_.push_back(head + txn.what + " " + txn.path + " \"" + txn.data.substr(0, 20) + "\": " + what);
}

std::vector<Txn> transactions_of(const RealEnsemble& servers) {
  std::vector<std::string> directories;
  for (int i = 0; i < servers.size(); ++i) {
    directories.push_back(servers.data_directory(i));
  }
  return read_txn_logs(directories);
}

}  // namespace limpet::test
