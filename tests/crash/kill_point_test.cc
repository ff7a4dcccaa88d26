// SIGKILL at the k-th system call of each kind that changes something outside the process. By default a selection of k
// by seed; with LIMPET_CRASH_ALL=1 every k up to the last. Without ZooKeeper, and with three real servers, whose
// transaction log then judges what was written.
#include <gtest/gtest.h>

#include <cstdio>
#include <set>

#include "tests/crash/daemon.h"
#include "tests/crash/history.h"
#include "tests/crash/log_judge.h"
#include "tests/crash/servers.h"
#include "tests/crash/strace.h"
#include "tests/support/zk_observer.h"

namespace limpet::test {

namespace {

constexpr int kChanges = 30;
constexpr std::uint64_t kScript = 20'261;

// Runs the script until the agent is gone; true where it came to the end.
bool run_script(History& history) {
  for (int i = 0; i < kChanges; ++i) {
    if (history.change() == History::Outcome::unknown) {
      return false;
    }
  }
  return true;
}

struct Where {
  const char* call;
  Files files = Files::any;
};

int count_calls(const Where& where, const std::string& zookeeper = Daemon::kUnreachable,
                const std::string& root = "/kill_point") {
  Daemon daemon(zookeeper, {"--root", root});
  History history(daemon.socket(), "web", kScript);
  EXPECT_TRUE(daemon.start(observe(daemon, where.call, where.files))) << daemon.log();
  EXPECT_TRUE(run_script(history)) << daemon.log();
  daemon.kill();
  return how_often(daemon);
}

// After the end of a run: starts without a fault, compares, changes a little, kills, starts, compares again.
void judge(Daemon& daemon, History& history) {
  for (int round = 0; round < 2; ++round) {
    ASSERT_TRUE(daemon.start()) << daemon.log();
    UnixHttp http(daemon.socket());
    const auto listing = list_all(http);
    ASSERT_TRUE(listing.has_value());
    history.check(*listing);
    // A seq that was given away is above all that anyone has seen.
    EXPECT_EQ(history.put("i-0"), History::Outcome::acknowledged) << daemon.log();
    daemon.kill();
  }
  for (const std::string& violation : history.violations()) {
    ADD_FAILURE() << violation;
  }
}

class KillPoint : public ::testing::TestWithParam<Where> {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_strace(); !why.empty()) {
      GTEST_SKIP() << why;
    }
  }
};

std::set<int> points(int last, const Where& where, int by_default = 8) {
  std::set<int> chosen;
  if (number_from_environment("LIMPET_CRASH_ALL", 0) != 0) {
    for (int k = 1; k <= last; ++k) {
      chosen.insert(k);
    }
    return chosen;
  }
  const long seed = number_from_environment("LIMPET_CRASH_SEED", 1);
  Rng rng(static_cast<std::uint64_t>(seed) * 1'000 + static_cast<unsigned char>(where.call[1]));
  const int wanted = std::min(last, by_default);
  while (static_cast<int>(chosen.size()) < wanted) {
    chosen.insert(static_cast<int>(rng.between(1, last)));
  }
  return chosen;
}

TEST_P(KillPoint, NothingAcknowledgedIsLost) {
  const Where& where = GetParam();
  const char* call = where.call;
  const int last = count_calls(where);
  int killed = 0;
  for (const int k : points(last, where)) {
    SCOPED_TRACE("kill at " + std::string(call) + " number " + std::to_string(k) + " of " + std::to_string(last));
    Daemon daemon;
    History history(daemon.socket(), "web", kScript);
    if (daemon.start(inject(daemon, call, "signal=KILL:when=" + std::to_string(k), where.files))) {
      run_script(history);
    }
    // Where other threads took turns differently, it may come to the end of the script without reaching k.
    killed += daemon.wait_ended(std::chrono::milliseconds(50)) && daemon.exit_code() == -SIGKILL ? 1 : 0;
    daemon.kill();
    judge(daemon, history);
    if (HasFatalFailure()) {
      return;
    }
  }
  std::printf("kill points: %s%s: %d killed, of %d calls\n", call, where.files == Files::wal ? " on the log" : "",
              killed, last);
  if (last > 0) {
    EXPECT_GT(killed, 0) << "no fault fired";
  }
}

// Until all is in ZooKeeper; then the znodes are what is shown, and the log has it in order.
class KillPointWithZooKeeper : public KillPoint {
 protected:
  void settle(Daemon& daemon, History& history, LogJudge& judge) {
    ASSERT_TRUE(daemon.start()) << daemon.log();
    nlohmann::json status;
    ASSERT_TRUE(poll_until([&] {
      status = daemon.status();
      return status.is_object() && status["zookeeper"]["state"] == "connected" && status["queue"]["depth"] == 0;
    })) << daemon.log();
    judge.add_session(
        static_cast<std::int64_t>(std::stoull(status["zookeeper"]["session"].get<std::string>(), nullptr, 16)));
    UnixHttp http(daemon.socket());
    const auto listing = list_all(http);
    ASSERT_TRUE(listing.has_value());
    history.check(*listing);
  }
  void expect_znodes(const History& history, const std::string& root) {
    ZkObserver observer(servers().connect_string());
    observer.sync();
    std::map<std::string, Znode> found = observer.tree(root);
    std::erase_if(found, [](const auto& entry) { return entry.second.ephemeral_owner == 0; });
    EXPECT_EQ(found.size(), history.expected().size());
    for (const auto& [id, shown] : history.expected()) {
      const auto it = found.find(root + "/" + id);
      ASSERT_NE(it, found.end()) << id;
      EXPECT_EQ(it->second.data, shown.data) << id;
    }
  }
};

TEST_P(KillPointWithZooKeeper, NothingIsLostAndTheLogIsInOrder) {
  const Where& where = GetParam();
  const std::string kind = std::string(where.call) + (where.files == Files::wal ? "_wal" : "");
  const int last = count_calls(where, servers().connect_string(), "/count_" + kind);
  int killed = 0;
  std::uint64_t ordered = 0;
  for (const int k : points(last, where, 3)) {
    SCOPED_TRACE("kill at " + kind + " number " + std::to_string(k) + " of " + std::to_string(last));
    const std::string root = "/" + kind + "_" + std::to_string(k);
    Daemon daemon(servers().connect_string(), {"--root", root});
    History history(daemon.socket(), "web", kScript);
    LogJudge judge(root);
    if (daemon.start(inject(daemon, where.call, "signal=KILL:when=" + std::to_string(k), where.files))) {
      run_script(history);
    }
    killed += daemon.wait_ended(std::chrono::milliseconds(50)) && daemon.exit_code() == -SIGKILL ? 1 : 0;
    daemon.kill();
    for (int round = 0; round < 2 && !HasFatalFailure(); ++round) {
      settle(daemon, history, judge);
      run_script(history);
      daemon.kill();
    }
    settle(daemon, history, judge);
    expect_znodes(history, root);
    judge.add(history.accepted());
    for (const std::string& violation : judge.judge(transactions_of(servers()))) {
      ADD_FAILURE() << violation;
    }
    for (const std::string& violation : history.violations()) {
      ADD_FAILURE() << violation;
    }
    ordered += judge.ordered();
    if (HasFatalFailure()) {
      return;
    }
  }
  std::printf("kill points with ZooKeeper: %s: %d killed, of %d calls; %llu changes judged in order by the log\n",
              kind.c_str(), killed, last, static_cast<unsigned long long>(ordered));
  EXPECT_GT(killed, 0) << "no fault fired";
  EXPECT_GT(ordered, 0U);
}

INSTANTIATE_TEST_SUITE_P(Calls, KillPointWithZooKeeper,
                         ::testing::Values(Where{"write"}, Where{"write", Files::wal}, Where{"fdatasync", Files::wal},
                                           Where{"sendto"}),
                         [](const auto& info) {
                           return std::string(info.param.call) + (info.param.files == Files::wal ? "_wal" : "");
                         });

INSTANTIATE_TEST_SUITE_P(Calls, KillPoint,
                         ::testing::Values(Where{"write"}, Where{"write", Files::wal}, Where{"pwrite64", Files::wal},
                                           Where{"fdatasync"}, Where{"fdatasync", Files::wal}, Where{"fsync"},
                                           Where{"rename"}, Where{"renameat"}, Where{"unlink"},
                                           Where{"openat", Files::state}, Where{"mkdirat"}, Where{"sendto"},
                                           Where{"ftruncate"}),
                         [](const auto& info) {
                           return std::string(info.param.call) + (info.param.files == Files::wal ? "_wal" : "");
                         });

}  // namespace

}  // namespace limpet::test
