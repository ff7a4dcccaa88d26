// SIGKILL at the k-th system call of each kind that changes something outside the process. By default a selection of k
// by seed; with LIMPET_CRASH_ALL=1 every k up to the last.
#include <gtest/gtest.h>

#include <cstdio>
#include <set>

#include "tests/crash/daemon.h"
#include "tests/crash/history.h"
#include "tests/crash/strace.h"

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

int count_calls(const Where& where) {
  Daemon daemon;
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

std::set<int> points(int last, const Where& where) {
  std::set<int> chosen;
  if (number_from_environment("LIMPET_CRASH_ALL", 0) != 0) {
    for (int k = 1; k <= last; ++k) {
      chosen.insert(k);
    }
    return chosen;
  }
  const long seed = number_from_environment("LIMPET_CRASH_SEED", 1);
  Rng rng(static_cast<std::uint64_t>(seed) * 1'000 + static_cast<unsigned char>(where.call[1]));
  const int wanted = std::min(last, 8);
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

INSTANTIATE_TEST_SUITE_P(Calls, KillPoint,
                         ::testing::Values(Where{"write"}, Where{"write", Files::wal}, Where{"fdatasync"},
                                           Where{"fdatasync", Files::wal}, Where{"fsync"}, Where{"rename"},
                                           Where{"renameat"}, Where{"unlink"}, Where{"openat", Files::state},
                                           Where{"mkdirat"}, Where{"sendto"}, Where{"ftruncate"}),
                         [](const auto& info) {
                           return std::string(info.param.call) + (info.param.files == Files::wal ? "_wal" : "");
                         });

}  // namespace

}  // namespace limpet::test
