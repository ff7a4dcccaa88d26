// EIO, ENOSPC, EDQUOT and EROFS at the k-th system call on the state directory, once and from then on. By default a
// selection of k by seed; with LIMPET_CRASH_ALL=1 every k.
#include <gtest/gtest.h>

#include <cstdio>
#include <set>
#include <thread>

#include "tests/crash/daemon.h"
#include "tests/crash/history.h"
#include "tests/crash/strace.h"

namespace limpet::test {

namespace {

constexpr int kErrorChanges = 30;
constexpr std::uint64_t kErrorScript = 31'264;
constexpr auto kRecovery = std::chrono::seconds(10);

constexpr int kForEver = 0;
constexpr int kBurst = 4;  // so that opening the store again fails at first, too

struct Case {
  const char* call;
  const char* error;
  int times;  // in a row; kForEver
  Files files = Files::state;
};

const char* how_long(const Case& fault) {
  return fault.times == kForEver ? "for_ever" : fault.times == 1 ? "once" : "burst";
}

class IoError : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_strace(); !why.empty()) {
      GTEST_SKIP() << why;
    }
  }
  void befall(int k);
  void expect_served(const Daemon& daemon) const;
  void expect_recovery(History& history, const Daemon& daemon) const;
  int refused_ = 0;   // changes answered with 503 or 507
  int no_start_ = 0;  // runs in which the fault came while the store was opened
};

int count_calls(const Case& fault) {
  Daemon daemon;
  History history(daemon.socket(), "web", kErrorScript);
  EXPECT_TRUE(daemon.start(observe(daemon, fault.call, fault.files))) << daemon.log();
  for (int i = 0; i < kErrorChanges; ++i) {
    history.change();
  }
  daemon.kill();
  return how_often(daemon);
}

// With a broken disk, everything that needs none goes on.
void IoError::expect_served(const Daemon& daemon) const {
  UnixHttp http(daemon.socket());
  EXPECT_EQ(http.get("/healthz").status, 200);
  EXPECT_EQ(http.get("/v1/status").status, 200);
  EXPECT_EQ(http.get("/v1/registrations").status, 200);
}

void IoError::expect_recovery(History& history, const Daemon& daemon) const {
  const auto until = std::chrono::steady_clock::now() + kRecovery;
  while (history.put("i-0") != History::Outcome::acknowledged) {
    ASSERT_LT(std::chrono::steady_clock::now(), until) << daemon.log();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

void IoError::befall(int k) {
  const Case& fault = GetParam();
  Daemon daemon;
  History history(daemon.socket(), "web", kErrorScript);
  const std::string when =
      std::to_string(k) + (fault.times == kForEver ? "+" : ".." + std::to_string(k + fault.times - 1));
  const bool full = std::string(fault.error) == "ENOSPC" || std::string(fault.error) == "EDQUOT";
  if (daemon.start(inject(daemon, fault.call, std::string("error=") + fault.error + ":when=" + when, fault.files))) {
    int refused = 0;
    for (int i = 0; i < kErrorChanges && refused < 3; ++i) {
      if (history.change() == History::Outcome::unknown) {
        ++refused;
        EXPECT_TRUE(history.last_status() == 503 || (full && history.last_status() == 507)) << history.last_status();
        expect_served(daemon);
        if (fault.times != kForEver) {
          expect_recovery(history, daemon);
        }
      }
    }
    refused_ += refused;
    UnixHttp http(daemon.socket());
    if (const auto listing = list_all(http); fault.times != kForEver && listing) {
      history.check(*listing);
    }
    EXPECT_FALSE(daemon.ended()) << daemon.log();
  } else {
    ++no_start_;
    EXPECT_EQ(daemon.exit_code(), 1) << daemon.log();
  }
  daemon.kill();
  for (int round = 0; round < 2; ++round) {
    ASSERT_TRUE(daemon.start()) << daemon.log();
    UnixHttp http(daemon.socket());
    history.check(list_all(http).value());
    EXPECT_EQ(history.put("i-0"), History::Outcome::acknowledged) << daemon.log();
    daemon.kill();
  }
  for (const std::string& violation : history.violations()) {
    ADD_FAILURE() << violation;
  }
}

TEST_P(IoError, AcknowledgedStaysAndTheAgentRecovers) {
  const Case& fault = GetParam();
  const int last = count_calls(fault);
  std::set<int> points;
  if (number_from_environment("LIMPET_CRASH_ALL", 0) != 0) {
    for (int k = 1; k <= last; ++k) {
      points.insert(k);
    }
  } else {
    Rng rng(static_cast<std::uint64_t>(number_from_environment("LIMPET_CRASH_SEED", 1)) * 77 +
            static_cast<std::uint64_t>(fault.times));
    points = {static_cast<int>(rng.between(1, last)), static_cast<int>(rng.between(last / 2 + 1, last))};
  }
  for (const int k : points) {
    SCOPED_TRACE(std::string(fault.error) + " at " + fault.call + " number " + std::to_string(k) + " " +
                 how_long(fault));
    befall(k);
    if (HasFatalFailure()) {
      return;
    }
  }
  std::printf("io errors: %s%s %s %s: %zu points of %d, %d changes refused, %d starts refused\n", fault.call,
              fault.files == Files::wal ? " on the log" : "", fault.error, how_long(fault), points.size(), last,
              refused_, no_start_);
}

std::vector<Case> cases() {
  std::vector<Case> out;
  for (const char* call : {"write", "fdatasync", "fsync", "rename", "openat"}) {
    for (const char* error : {"EIO", "ENOSPC"}) {
      out.push_back({call, error, 1});
      out.push_back({call, error, kForEver});
    }
  }
  for (const char* call : {"write", "fdatasync"}) {
    for (const char* error : {"EIO", "ENOSPC"}) {
      out.push_back({call, error, 1, Files::wal});
    }
  }
  // The filling ahead: nobody hears of it when it fails.
  out.push_back({"pwrite64", "EIO", 1, Files::wal});
  out.push_back({"pwrite64", "ENOSPC", kForEver, Files::wal});
  out.push_back({"fdatasync", "EIO", kBurst});
  out.push_back({"write", "ENOSPC", kBurst});
  out.push_back({"write", "EDQUOT", 1, Files::wal});
  out.push_back({"write", "EROFS", kForEver, Files::wal});  // what a remount leaves of files that are open
  return out;
}

INSTANTIATE_TEST_SUITE_P(Calls, IoError, ::testing::ValuesIn(cases()), [](const auto& info) {
  return std::string(info.param.call) + (info.param.files == Files::wal ? "_wal_" : "_") + info.param.error + "_" +
         how_long(info.param);
});

}  // namespace

}  // namespace limpet::test
