// Lifetimes by single steps: when a registration's time is up, and when it is not.
#include "agent/core/lifetimes.h"

#include <gtest/gtest.h>

namespace limpet::core {
namespace {

constexpr std::int64_t kGraceMs = 10'000;
constexpr std::int64_t kLastCallMs = 100;

class LifetimesTest : public ::testing::Test {
 protected:
  LifetimesTest() { pass(0); }

  // Lets `ms` pass as they do for an agent that runs: each timer comes when it was asked for.
  void pass(std::int64_t ms) {
    const std::int64_t until = now_.steady_ms + ms;
    while (true) {
      const auto at = lifetimes_.deadline();
      const std::int64_t next = std::min(std::max(at.value_or(until), now_.steady_ms), until);
      now_.wall_ms += next - now_.steady_ms;
      now_.steady_ms = next;
      lifetimes_.observe(now_, at);
      lifetimes_.expire(now_);
      if (next == until) {
        return;
      }
    }
  }

  // The agent stands still for so long, and then its timer comes.
  void freeze(std::int64_t ms) {
    const auto at = lifetimes_.deadline();
    now_.steady_ms += ms;
    now_.wall_ms += ms;
    lifetimes_.observe(now_, at);
    lifetimes_.expire(now_);
  }

  Registration made(const std::string& instance, std::uint64_t seq, Lifetime lifetime) {
    Registration registration;
    registration.id = {"web", instance};
    registration.seq = Seq{seq};
    registration.lifetime = std::move(lifetime);
    return registration;
  }
  void begin(const std::string& instance, std::uint64_t seq, Lifetime lifetime) {
    const std::int64_t expires_ms = lifetime.expires_ms;
    lifetimes_.begin(made(instance, seq, std::move(lifetime)),
                     expires_ms > 0 ? std::optional(expires_ms) : std::nullopt, now_);
  }
  static Lifetime ttl(std::int64_t ms) {
    Lifetime lifetime;
    lifetime.ttl_ms = ms;
    return lifetime;
  }
  static Lifetime connection() {
    Lifetime lifetime;
    lifetime.bind = Bind::connection;
    return lifetime;
  }
  static Lifetime expires(std::int64_t ms) {
    Lifetime lifetime;
    lifetime.expires_ms = ms;
    return lifetime;
  }

  // "instance#seq" of each end.
  std::vector<std::string> ends() {
    std::vector<std::string> found;
    for (const Lifetimes::End& end : lifetimes_.take()) {
      found.push_back(end.id.instance + "#" + std::to_string(end.seq.value));
    }
    return found;
  }

  using Ends = std::vector<std::string>;
  const RegistrationId a_{"web", "a"};
  Lifetimes lifetimes_{kGraceMs};
  Now now_{1'000'000, 1'800'000'000'000, 0};
};

TEST_F(LifetimesTest, TtlEndsWithoutHeartbeats) {
  begin("a", 1, ttl(3'000));
  pass(3'000 + kLastCallMs - 1);
  EXPECT_EQ(ends(), Ends{});
  pass(1);
  EXPECT_EQ(ends(), Ends{"a#1"});
  EXPECT_EQ(ends(), Ends{});  // told once
}

TEST_F(LifetimesTest, AHeartbeatBeginsTheTtlAnew) {
  begin("a", 1, ttl(3'000));
  for (int i = 0; i < 10; ++i) {
    pass(2'900);
    lifetimes_.heartbeat(a_);
  }
  EXPECT_EQ(ends(), Ends{});
  EXPECT_EQ(lifetimes_.ttl_expires_at(a_), now_.wall_ms + 3'000);
}

TEST_F(LifetimesTest, TheWallClockDoesNotCount) {
  begin("a", 1, ttl(3'000));
  now_.wall_ms += 86'400'000;
  pass(2'000);
  EXPECT_EQ(ends(), Ends{});
}

TEST_F(LifetimesTest, AFreezeGivesAWholeTtl) {
  begin("a", 1, ttl(3'000));
  pass(2'500);
  freeze(60'000);
  EXPECT_EQ(ends(), Ends{});
  pass(2'900);
  EXPECT_EQ(ends(), Ends{});
  pass(300);
  EXPECT_EQ(ends(), Ends{"a#1"});
}

TEST_F(LifetimesTest, AShortStallDoesNotCount) {
  begin("a", 1, ttl(3'000));
  pass(500);
  freeze(1'300);  // the timer was to come after 500 ms: 800 ms are lost
  pass(3'000 - 1'000 - 1);
  EXPECT_EQ(ends(), Ends{});
  pass(1 + kLastCallMs);
  EXPECT_EQ(ends(), Ends{"a#1"});
}

TEST_F(LifetimesTest, AHeartbeatThatWaitedInTheSocketIsHeardAfterAFreeze) {
  begin("a", 1, ttl(1'000));
  freeze(1'900);  // less than what gives grace
  EXPECT_EQ(ends(), Ends{});
  lifetimes_.heartbeat(a_);
  pass(900);
  EXPECT_EQ(ends(), Ends{});
}

TEST_F(LifetimesTest, ASuspendedMachineGivesAWholeTtl) {
  begin("a", 1, ttl(3'000));
  pass(2'900);
  now_.asleep_ms += 3'600'000;
  now_.wall_ms += 3'600'000;
  pass(2'900);
  EXPECT_EQ(ends(), Ends{});
}

TEST_F(LifetimesTest, ExpiryIsStoppedByReachingZooKeeper) {
  begin("a", 1, expires(5'000));
  begin("b", 2, expires(5'000));
  EXPECT_TRUE(lifetimes_.may_expire(a_));
  EXPECT_FALSE(lifetimes_.reached(a_, Seq{7}));  // another change
  EXPECT_TRUE(lifetimes_.reached(a_, Seq{1}));
  EXPECT_FALSE(lifetimes_.reached(a_, Seq{1}));
  EXPECT_FALSE(lifetimes_.may_expire(a_));
  pass(5'000);
  EXPECT_EQ(ends(), Ends{"b#2"});
}

TEST_F(LifetimesTest, AConnectionEndsWhatIsBoundToIt) {
  lifetimes_.bind(a_, Seq{1}, ConnectionId{5});
  begin("a", 1, connection());
  pass(100 * kGraceMs);  // idle connections live for ever
  EXPECT_EQ(ends(), Ends{});
  lifetimes_.closed(ConnectionId{5});
  EXPECT_EQ(ends(), Ends{"a#1"});
}

TEST_F(LifetimesTest, AConnectionThatClosedBeforeTheDiskWroteEndsItToo) {
  lifetimes_.bind(a_, Seq{1}, ConnectionId{5});
  lifetimes_.closed(ConnectionId{5});
  EXPECT_EQ(ends(), Ends{"a#1"});
  begin("a", 1, connection());
  lifetimes_.give_back();
  EXPECT_EQ(ends(), Ends{"a#1"});
}

// The change never came to be: the disk failed.
TEST_F(LifetimesTest, AChangeThatNeverCameToBeBindsNothing) {
  lifetimes_.bind(a_, Seq{1}, ConnectionId{5});
  begin("a", 1, connection());
  lifetimes_.bind(a_, Seq{2}, ConnectionId{6});
  lifetimes_.closed(ConnectionId{6});
  EXPECT_EQ(ends(), Ends{"a#2"});  // which the core drops, as #1 stands
  lifetimes_.closed(ConnectionId{5});
  EXPECT_EQ(ends(), Ends{"a#1"});
}

TEST_F(LifetimesTest, TheConnectionOfAnOldChangeDoesNotEndTheNewOne) {
  lifetimes_.bind(a_, Seq{1}, ConnectionId{5});
  begin("a", 1, connection());
  lifetimes_.bind(a_, Seq{2}, ConnectionId{6});
  begin("a", 2, connection());
  lifetimes_.closed(ConnectionId{5});
  EXPECT_EQ(ends(), Ends{});
}

TEST_F(LifetimesTest, WhatWasBoundToAnEarlierRunHasAGrace) {
  begin("a", 1, connection());
  begin("b", 2, connection());
  pass(kGraceMs - 1);
  EXPECT_EQ(ends(), Ends{});
  lifetimes_.bind(a_, Seq{1}, ConnectionId{5});  // it came back
  pass(1);
  EXPECT_EQ(ends(), Ends{"b#2"});
}

TEST_F(LifetimesTest, TheGraceOfConnectionsStandsStillWithTheAgent) {
  begin("a", 1, connection());
  freeze(10 * kGraceMs);
  EXPECT_EQ(ends(), Ends{});
  lifetimes_.bind(a_, Seq{1}, ConnectionId{5});
  pass(10 * kGraceMs);
  EXPECT_EQ(ends(), Ends{});
}

TEST_F(LifetimesTest, WhatADiskFailureInterruptedIsFoundAgain) {
  lifetimes_.bind(a_, Seq{1}, ConnectionId{5});
  begin("a", 1, connection());
  begin("b", 2, ttl(1'000));
  lifetimes_.closed(ConnectionId{5});
  pass(2'000);
  EXPECT_EQ(ends(), (Ends{"a#1", "b#2"}));
  lifetimes_.give_back();
  lifetimes_.grant_grace();        // as the core does when the disk works again
  EXPECT_EQ(ends(), Ends{"a#1"});  // a heartbeat could have saved the other: it is given the time for one
  pass(1'000 + kLastCallMs);
  EXPECT_EQ(ends(), Ends{"b#2"});
}

TEST_F(LifetimesTest, ANewerChangeMakesAnEndVoid) {
  begin("a", 1, {});
  lifetimes_.found({a_, Seq{1}, Happening::process_ended, "pid 7 ended"});
  begin("a", 2, {});
  EXPECT_EQ(ends(), Ends{});
  lifetimes_.found({a_, Seq{2}, Happening::process_ended, "pid 8 ended"});
  lifetimes_.end(a_, Seq{2});
  EXPECT_EQ(ends(), Ends{});
  EXPECT_EQ(lifetimes_.deadline(), std::nullopt);
}

}  // namespace
}  // namespace limpet::core
