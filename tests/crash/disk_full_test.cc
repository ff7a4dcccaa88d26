// A disk that is really full: a small tmpfs and a filler. Skipped where nothing can be mounted.
#include <gtest/gtest.h>

#include <chrono>
#include <cstdio>

#include "tests/crash/daemon.h"
#include "tests/crash/history.h"
#include "tests/crash/small_disk.h"
#include "tests/support/real_ensemble.h"

namespace limpet::test {

namespace {

constexpr auto kSoon = std::chrono::seconds(10);

class DiskFull : public ::testing::TestWithParam<int> {
 protected:
  DiskFull() : disk_(static_cast<std::uint64_t>(GetParam()) << 20), daemon_(Daemon::kUnreachable, {}, disk_.path()) {}
  void SetUp() override {
    if (!disk_.why_not().empty()) {
      GTEST_SKIP() << disk_.why_not();
    }
  }
  void TearDown() override {
    daemon_.kill();
    for (const std::string& violation : history_.violations()) {
      ADD_FAILURE() << violation;
    }
  }

  bool registered(const std::string& name) { return history_.put(name) == History::Outcome::acknowledged; }
  bool removed(const std::string& name) { return history_.remove(name) == History::Outcome::acknowledged; }
  void compare() {
    UnixHttp http(daemon_.socket());
    const auto listing = list_all(http);
    ASSERT_TRUE(listing.has_value());
    history_.check(*listing);
  }
  // No space: reads go on, registrations are refused, deregistrations are not.
  void expect_only_removals(int first) {
    UnixHttp http(daemon_.socket());
    EXPECT_EQ(http.get("/healthz").status, 200);
    ASSERT_TRUE(poll_until([&] { return removed("n-" + std::to_string(first)); }, kSoon)) << daemon_.log();
    for (int i = first + 1; i < first + 20; ++i) {
      EXPECT_TRUE(removed("n-" + std::to_string(i))) << history_.last_status();
      const HttpAnswer refused = http.put("/v1/registrations/web/more", "{}");
      EXPECT_EQ(refused.status, 507);
      EXPECT_EQ(refused.json()["code"], "storage_full");
    }
    const nlohmann::json storage = daemon_.status()["storage"];
    EXPECT_EQ(storage["healthy"], false);
    EXPECT_NE(storage["error"].dump().find("full"), std::string::npos);
    EXPECT_EQ(http.get("/readyz").status, 503);
  }

  SmallDisk disk_;
  Daemon daemon_;
  History history_{daemon_.socket(), "web", 5, 0};
};

TEST_P(DiskFull, DeregistrationsGetThroughAndItResumesByItself) {
  ASSERT_TRUE(daemon_.start()) << daemon_.log();
  for (int i = 0; i < 60; ++i) {
    ASSERT_TRUE(registered("n-" + std::to_string(i))) << daemon_.log();
  }
  // Opening again writes all that the log holds into tables: up to 8 MiB of state, on a disk that is not small.
  for (int i = 0; GetParam() > 8 && i < 6 * GetParam(); ++i) {
    ASSERT_EQ(history_.put("large-" + std::to_string(i), 20'000), History::Outcome::acknowledged);
  }
  disk_.fill();
  int more = 100;
  while (registered("n-" + std::to_string(more)) && more < 20'000) {
    ++more;
  }
  EXPECT_TRUE(history_.last_status() == 507) << history_.last_status();
  expect_only_removals(0);
  compare();
  // It also starts on a full disk.
  daemon_.kill();
  ASSERT_TRUE(daemon_.start()) << daemon_.log();
  compare();
  expect_only_removals(20);
  disk_.empty();
  const auto before = std::chrono::steady_clock::now();
  EXPECT_TRUE(poll_until([&] { return registered("again"); }, kSoon)) << daemon_.log();
  const auto took = std::chrono::steady_clock::now() - before;
  std::printf("disk full, %d MiB: registrations again %lld ms after there was room\n", GetParam(),
              static_cast<long long>(std::chrono::duration_cast<std::chrono::milliseconds>(took).count()));
  compare();
  daemon_.kill();
  ASSERT_TRUE(daemon_.start()) << daemon_.log();
  compare();
}

TEST_P(DiskFull, FullAtTheFirstStart) {
  disk_.fill(256u << 10);
  ASSERT_TRUE(daemon_.start()) << daemon_.log();
  EXPECT_FALSE(registered("early"));
  EXPECT_EQ(history_.last_status(), 507);
  disk_.empty();
  EXPECT_TRUE(poll_until([&] { return registered("again"); }, kSoon)) << daemon_.log();
  daemon_.kill();
  ASSERT_TRUE(daemon_.start());
  compare();
}

TEST_P(DiskFull, ReadOnlyAtTheStartIsSaid) {
  ASSERT_TRUE(daemon_.start()) << daemon_.log();
  ASSERT_TRUE(registered("n-0"));
  daemon_.kill();
  ASSERT_TRUE(disk_.read_only(true));
  EXPECT_FALSE(daemon_.start());
  EXPECT_EQ(daemon_.exit_code(), 1);
  EXPECT_NE(daemon_.log().find("Read-only file system"), std::string::npos) << daemon_.log();
  ASSERT_TRUE(disk_.read_only(false));
  ASSERT_TRUE(daemon_.start()) << daemon_.log();
  compare();
}

INSTANTIATE_TEST_SUITE_P(MiB, DiskFull, ::testing::Values(8, 32, 64));

}  // namespace

}  // namespace limpet::test
