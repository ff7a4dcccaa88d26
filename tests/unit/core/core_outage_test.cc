// Core by single steps: what health checks find while ZooKeeper is away.
#include "tests/unit/core/core_lives_fixture.h"

namespace limpet::core {
namespace {

class ChecksInAnOutage : public CoreLivesTest {
 protected:
  void lose() { step(ZkDisconnected{Epoch{1}}); }
  static Session session() {
    Session session;
    session.id = kSession;
    session.timeout_ms = 10'000;
    return session;
  }
  std::size_t voided() const { return voided_.size(); }
  bool held_on_disk() {
    pass(1'000);
    return store_.written().holds.contains({RegistrationId{"web", "a"}, HoldCause::check});
  }
};

TEST_F(ChecksInAnOutage, FailureSeenWhileZooKeeperIsAwayWithdrawsNothingWhenItIsBack) {
  connect();
  submit({put("a", "1", checked())});
  lose();
  health("a", false);
  EXPECT_EQ(voided(), 1u);
  EXPECT_EQ(state("a"), State::suspended);
  EXPECT_FALSE(held_on_disk()) << "a restart must not take it up either";
  pass(25'000);
  connect();
  EXPECT_EQ(rechecks_.back(), true);
  EXPECT_EQ(state("a"), State::registered);
  EXPECT_TRUE(stands("a"));
  health("a", false);
  EXPECT_FALSE(stands("a")) << "it failed again when ZooKeeper was back";
}

TEST_F(ChecksInAnOutage, WithdrawalThatWasNotConfirmedWhenTheConnectionWentIsTakenBack) {
  connect();
  submit({put("a", "1", checked())});
  answers_run_ = false;
  health("a", false);
  EXPECT_EQ(state("a"), State::unhealthy);
  lose();
  EXPECT_EQ(voided(), 1u);
  EXPECT_NE(state("a"), State::unhealthy);
  EXPECT_FALSE(held_on_disk());
  answers_run_ = true;
  connect();
  EXPECT_TRUE(stands("a"));
  EXPECT_EQ(state("a"), State::registered);
}

TEST_F(ChecksInAnOutage, WithdrawalFromBeforeTheOutageStays) {
  connect();
  submit({put("a", "1", checked())});
  health("a", false);
  EXPECT_FALSE(stands("a"));
  lose();
  EXPECT_EQ(voided(), 0u);
  EXPECT_EQ(state("a"), State::unhealthy);
  connect();
  EXPECT_FALSE(stands("a"));
  lose();
  health("a", true);
  connect();
  EXPECT_TRUE(stands("a")) << "to come back needs no connection";
}

TEST_F(ChecksInAnOutage, WithdrawalFromAnEarlierRunStaysHoweverOftenTheConnectionGoes) {
  connect();
  submit({put("a", "1", checked())});
  health("a", false);
  pass(1'000);
  store_.process_crash();
  start();
  step(ServersChanged{});
  EXPECT_EQ(state("a"), State::unhealthy);
  step(ZkConnected{Epoch{2}, session(), "10.0.0.1:2181"});
  EXPECT_EQ(state("a"), State::unhealthy);
  EXPECT_FALSE(stands("a"));
  EXPECT_EQ(voided(), 0u);
}

TEST_F(ChecksInAnOutage, ShortLossDoesNotBeginTheCountsAnew) {
  connect();
  submit({put("a", "1", checked())});
  lose();
  pass(500);
  connect();
  EXPECT_EQ(rechecks_.back(), false);
}

TEST_F(ChecksInAnOutage, RegistrationThatIsMadeThenAndOnlyFailedIsNotPublished) {
  connect();
  lose();
  submit({put("a", "1", checked())});
  EXPECT_TRUE(watches_.at({"web", "a"}).unproven);
  health("a", false);
  EXPECT_EQ(voided(), 0u);
  EXPECT_EQ(state("a"), State::unhealthy);
  EXPECT_TRUE(held_on_disk());
  connect();
  EXPECT_EQ(state("a"), State::unhealthy);
  EXPECT_FALSE(stands("a"));
  EXPECT_EQ(history("a"), (Words{"accepted#1", "unhealthy#1", "withdrawn#1"}));
  health("a", true);
  EXPECT_TRUE(stands("a"));
}

TEST_F(ChecksInAnOutage, RegistrationMadeBeforeTheFirstSessionIsNotPublishedWhileItsCheckFails) {
  submit({put("a", "1", checked()), put("b", "1", checked())});
  health("a", false);
  health("b", false);
  health("b", true);
  EXPECT_EQ(state("b"), State::pending);
  connect();
  EXPECT_FALSE(stands("a"));
  EXPECT_TRUE(stands("b")) << "its check succeeded before ZooKeeper was there";
}

TEST_F(ChecksInAnOutage, FailureWithholdsNothingThatMayHaveBeenPublished) {
  connect();
  answers_run_ = false;
  submit({put("a", "1", checked())});  // its create has no answer
  EXPECT_FALSE(watches_.at({"web", "a"}).unproven);
  lose();
  health("a", false);
  EXPECT_EQ(voided(), 1u);
  EXPECT_EQ(state("a"), State::pending);
}

TEST_F(ChecksInAnOutage, ProcessThatEndedIsDeregisteredAllTheSame) {
  connect();
  submit({put("a", "1", process(4321))});
  lose();
  process_ended("a", 1);
  EXPECT_FALSE(there("a"));
  connect();
  EXPECT_FALSE(stands("a"));
}

}  // namespace
}  // namespace limpet::core
