// From results to what is told: without time and without checks.
#include "agent/liveness/health.h"

#include <gtest/gtest.h>

namespace limpet::liveness {
namespace {

Check check(const std::string& target, std::uint32_t rise = 1, std::uint32_t fall = 1) {
  Check result;
  result.target = target;
  result.rise = rise;
  result.fall = fall;
  return result;
}

class HealthTest : public ::testing::Test {
 protected:
  void ask(const std::vector<Check>& checks, bool failing = false) { places_ = health_.replace(checks, failing); }

  // What is told after this result.
  std::string well(std::size_t index) {
    health_.take(index, {true, {}});
    return told();
  }
  std::string bad(std::size_t index, const std::string& words = "no") {
    health_.take(index, {false, words});
    return told();
  }
  std::string told() {
    const auto report = health_.report(now_ms_);
    return !report ? "nothing" : report->passing ? "passing" : report->message;
  }

  Health health_;
  std::vector<std::optional<std::size_t>> places_;
  std::int64_t now_ms_ = 1'000'000;
};

TEST_F(HealthTest, BeginsWell) {
  ask({check("a")});
  EXPECT_EQ(told(), "nothing");
  EXPECT_EQ(well(0), "nothing");
}

TEST_F(HealthTest, FailsAfterFallInARow) {
  ask({check("a", 1, 3)});
  EXPECT_EQ(bad(0), "nothing");
  EXPECT_EQ(bad(0), "nothing");
  EXPECT_EQ(well(0), "nothing");
  EXPECT_EQ(bad(0), "nothing");
  EXPECT_EQ(bad(0), "nothing");
  EXPECT_EQ(bad(0, "refused"), "tcp a: refused");
  EXPECT_EQ(bad(0, "refused"), "nothing") << "told once";
}

TEST_F(HealthTest, UnprovenCheckFailsAtItsFirstFailure) {
  places_ = health_.replace({check("a", 2, 3)}, false, true);
  EXPECT_EQ(told(), "nothing");
  EXPECT_EQ(health_.failing(), 0u);
  EXPECT_EQ(bad(0, "refused"), "tcp a: refused");
  EXPECT_EQ(well(0), "nothing");
  EXPECT_EQ(well(0), "passing");
}

TEST_F(HealthTest, UnprovenCheckThatSucceedsFailsAfterFallInARow) {
  places_ = health_.replace({check("a", 1, 2)}, false, true);
  EXPECT_EQ(well(0), "nothing");
  EXPECT_EQ(bad(0), "nothing");
  EXPECT_EQ(bad(0, "refused"), "tcp a: refused");
}

TEST_F(HealthTest, UnprovenCheckThatDidNotRunFailsAfterFallInARowOnceZooKeeperIsBack) {
  places_ = health_.replace({check("a", 1, 2)}, false, true);
  health_.recheck(false);
  EXPECT_EQ(bad(0), "nothing");
  EXPECT_EQ(bad(0, "refused"), "tcp a: refused");
}

TEST_F(HealthTest, IsWellAfterRiseInARow) {
  ask({check("a", 3, 1)});
  bad(0);
  EXPECT_EQ(well(0), "nothing");
  EXPECT_EQ(well(0), "nothing");
  EXPECT_EQ(bad(0), "nothing");
  EXPECT_EQ(well(0), "nothing");
  EXPECT_EQ(well(0), "nothing");
  EXPECT_EQ(well(0), "passing");
  EXPECT_EQ(well(0), "nothing");
}

TEST_F(HealthTest, OneFailingCheckIsEnoughAndAllMustBeWell) {
  ask({check("a"), check("b"), check("c")});
  EXPECT_EQ(bad(1), "tcp b: no");
  now_ms_ += Health::kTellEveryMs;
  EXPECT_EQ(bad(0), "tcp a: no (and 1 more check fails)");
  now_ms_ += Health::kTellEveryMs;
  EXPECT_EQ(bad(2), "tcp a: no (and 2 more checks fail)");
  now_ms_ += Health::kTellEveryMs;
  EXPECT_EQ(well(0), "tcp b: no (and 1 more check fails)");
  EXPECT_EQ(well(1), "nothing") << "too soon after the last";
  EXPECT_EQ(well(2), "passing") << "never too soon";
}

TEST_F(HealthTest, OtherWordsAreToldNowAndThen) {
  ask({check("a")});
  EXPECT_EQ(bad(0, "one"), "tcp a: one");
  EXPECT_EQ(bad(0, "two"), "nothing");
  now_ms_ += Health::kTellEveryMs - 1;
  EXPECT_EQ(bad(0, "three"), "nothing");
  now_ms_ += 1;
  EXPECT_EQ(bad(0, "four"), "tcp a: four");
  EXPECT_EQ(well(0), "passing");
  EXPECT_EQ(bad(0, "five"), "tcp a: five") << "a new failure is told at once";
}

TEST_F(HealthTest, WhoFailedInTheRunBeforeProvesItself) {
  ask({check("a"), check("b", 2)}, true);
  EXPECT_EQ(told(), "nothing");
  EXPECT_EQ(well(0), "nothing");
  EXPECT_EQ(well(1), "nothing");
  EXPECT_EQ(well(1), "passing");
}

TEST_F(HealthTest, WhoFailedInTheRunBeforeAndStillDoesIsToldAnew) {
  ask({check("a"), check("b")}, true);
  EXPECT_EQ(well(0), "nothing");
  EXPECT_EQ(bad(1), "tcp b: no");
  EXPECT_EQ(well(1), "passing");
}

TEST_F(HealthTest, NoChecksAreWell) {
  ask({}, true);
  EXPECT_EQ(told(), "passing");
  ask({check("a")});
  bad(0);
  ask({}, true);
  EXPECT_EQ(told(), "passing");
}

TEST_F(HealthTest, WhatIsAskedForInTheSameWordsGoesOn) {
  ask({check("a", 1, 3), check("b"), check("a", 1, 3)});
  bad(0);
  bad(0);
  bad(1);
  ask({check("c"), check("b"), check("a", 1, 3)}, true);
  EXPECT_EQ(places_, (std::vector<std::optional<std::size_t>>{std::nullopt, 1, 0}));
  EXPECT_EQ(told(), "nothing");
  EXPECT_EQ(well(1), "nothing") << "the new one has to prove itself, as the core has it failing";
  EXPECT_EQ(well(0), "passing");
  EXPECT_EQ(bad(2), "tcp a: no") << "the third in a row";
}

TEST_F(HealthTest, AFailureThatTheCoreForgotIsToldAgain) {
  ask({check("a"), check("b")});
  EXPECT_EQ(bad(0), "tcp a: no");
  ask({check("a"), check("c")}, false);
  EXPECT_EQ(told(), "tcp a: no");
  ask({check("c")}, false);
  EXPECT_EQ(told(), "nothing");
}

TEST_F(HealthTest, OtherIntervalsAreOtherWords) {
  ask({check("a")});
  bad(0);
  Check slower = check("a");
  slower.interval_ms *= 2;
  ask({slower}, false);
  EXPECT_EQ(places_[0], std::nullopt);
  EXPECT_EQ(told(), "nothing");
}

TEST(StoodStill, IsARunThatEndedFarTooLateOrAMachineThatSlept) {
  EXPECT_FALSE(stood_still(900, 1000, 0));
  EXPECT_FALSE(stood_still(1010, 1000, 1));
  EXPECT_TRUE(stood_still(60'000, 1000, 0));
  EXPECT_TRUE(stood_still(100, 1000, 3'600'000));
}

// ---- Failures seen while ZooKeeper was away

TEST_F(HealthTest, VoidedFailureIsReportedOnlyAfterFallFailuresFromTheRecheckOn) {
  ask({check("a", 1, 2)});
  bad(0);
  EXPECT_EQ(bad(0), "tcp a: no");
  health_.void_failures();
  EXPECT_EQ(bad(0), "nothing");
  EXPECT_EQ(health_.failing(), 1u) << "for people it fails";
  health_.recheck(true);
  EXPECT_EQ(health_.failing(), 0u);
  EXPECT_EQ(bad(0), "nothing");
  EXPECT_EQ(bad(0), "tcp a: no");
}

TEST_F(HealthTest, RecheckOfAllBeginsEveryCountAnewAndAnotherDoesNot) {
  ask({check("a", 1, 3)});
  bad(0);
  bad(0);
  health_.recheck(false);
  EXPECT_EQ(bad(0), "tcp a: no");
  ask({check("b", 1, 3)});
  told();
  bad(0);
  bad(0);
  health_.recheck(true);
  EXPECT_EQ(bad(0), "nothing");
  EXPECT_EQ(bad(0), "nothing");
  EXPECT_EQ(bad(0), "tcp b: no");
}

TEST_F(HealthTest, DoubtfulCheckThatSucceedsPassesWithoutAReport) {
  ask({check("a")});
  bad(0);
  health_.void_failures();
  EXPECT_EQ(well(0), "nothing");
  EXPECT_EQ(health_.failing(), 0u);
  EXPECT_EQ(bad(0), "tcp a: no") << "it is for the core to void that again";
}

TEST_F(HealthTest, RecheckLeavesAFailureFromBeforeTheOutage) {
  ask({check("a"), check("b")});
  bad(0);
  health_.recheck(true);
  EXPECT_EQ(told(), "nothing");
  EXPECT_EQ(health_.failing(), 1u);
}

}  // namespace
}  // namespace limpet::liveness
