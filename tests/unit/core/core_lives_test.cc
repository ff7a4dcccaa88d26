// Core by single steps: what ends by itself, what is withdrawn, and what the history says of it.
#include <algorithm>

#include "tests/unit/core/core_lives_fixture.h"

namespace limpet::core {
namespace {

// ---- Ends

TEST_F(CoreLivesTest, WithoutHeartbeatsATtlEnds) {
  connect();
  submit({put("a", "1", ttl(3'000))});
  pass(2'000);
  step(Heartbeat{Token{++token_}, Caller{{1000, 7}, false}, {"web", "a"}});
  EXPECT_FALSE(accepted().changed);
  pass(2'500);
  EXPECT_TRUE(there("a"));
  pass(1'000);
  EXPECT_FALSE(there("a"));
  EXPECT_FALSE(stands("a"));
  EXPECT_EQ(history("a"), (Words{"accepted#1", "registered#1", "ttl_expired#2", "removed#2"}));
  step(Heartbeat{Token{++token_}, Caller{{1000, 7}, false}, {"web", "a"}});
  EXPECT_EQ(problem(), ProblemCode::not_found);
}

TEST_F(CoreLivesTest, OnlyItsOwnerSendsHeartbeats) {
  submit({put("a", "1", ttl(3'000))});
  step(Heartbeat{Token{++token_}, Caller{{1001, 7}, false}, {"web", "a"}});
  EXPECT_EQ(problem(), ProblemCode::not_owner);
}

TEST_F(CoreLivesTest, ARestartGivesAWholeTtl) {
  submit({put("a", "1", ttl(3'000))});
  pass(2'900);
  start();
  pass(2'900);
  EXPECT_TRUE(there("a"));
  pass(1'000);
  EXPECT_FALSE(there("a"));
}

TEST_F(CoreLivesTest, AProcessEndsWhatIsBoundToIt) {
  submit({put("a", "1", process(4321))});
  EXPECT_EQ(watches_.at({"web", "a"}).process->pid, 4321);
  process_ended("a", 1);
  EXPECT_FALSE(there("a"));
  EXPECT_TRUE(watches_.empty());
  const Words words = history("a");
  EXPECT_NE(std::find(words.begin(), words.end(), "process_ended#2"), words.end());
}

// D17: the old process ends while the new one registers under the same name.
TEST_F(CoreLivesTest, TheEndOfAnOldProcessDoesNotEndTheNewOne) {
  submit({put("a", "1", process(4321))});
  disk_runs_ = false;
  submit({put("a", "1", process(4322))});
  process_ended("a", 1);  // before the new one is on disk
  disk_runs_ = true;
  write();
  process_ended("a", 1);  // and after
  EXPECT_TRUE(there("a"));
  EXPECT_EQ(watches_.at({"web", "a"}).seq, Seq{2});
  process_ended("a", 2);
  EXPECT_FALSE(there("a"));
}

TEST_F(CoreLivesTest, ADeathWhileTheDiskFailsIsNotForgotten) {
  submit({put("a", "1", process(4321))});
  store_.fail_next_append(Errc::io, false);
  process_ended("a", 1);
  EXPECT_TRUE(there("a"));  // nothing could be written
  reopen();
  EXPECT_FALSE(there("a"));
}

TEST_F(CoreLivesTest, AConnectionEndsWhatIsBoundToIt) {
  submit({put("a", "1", connection()), put("b", "1")}, 1000, 5);
  step(ConnectionClosed{ConnectionId{6}});
  EXPECT_TRUE(there("a"));
  step(ConnectionClosed{ConnectionId{5}});
  EXPECT_FALSE(there("a"));
  EXPECT_TRUE(there("b"));
}

TEST_F(CoreLivesTest, AFailedUpdateLeavesTheConnectionThatStands) {
  submit({put("a", "1", connection())}, 1000, 5);
  store_.fail_next_append(Errc::io, false);
  submit({put("a", "2", connection())}, 1000, 6);
  EXPECT_EQ(problem(), ProblemCode::storage_failed);
  reopen();
  step(ConnectionClosed{ConnectionId{6}});
  EXPECT_TRUE(there("a"));
  step(ConnectionClosed{ConnectionId{5}});
  EXPECT_FALSE(there("a"));
}

TEST_F(CoreLivesTest, AFailedDeregistrationLeavesTheConnectionThatStands) {
  submit({put("a", "1", connection())}, 1000, 5);
  store_.fail_next_append(Errc::io, false);
  submit({DeregisterRequest{{"web", "a"}}}, 1000, 5);
  reopen();
  EXPECT_TRUE(there("a"));
  step(ConnectionClosed{ConnectionId{5}});
  EXPECT_FALSE(there("a"));
}

TEST_F(CoreLivesTest, AfterARestartConnectionsHaveAGraceToComeBack) {
  submit({put("a", "1", connection()), put("b", "1", connection())});
  start();
  pass(9'000);
  submit({put("a", "1", connection())}, 1000, 1);
  EXPECT_FALSE(accepted().changed);
  pass(2'000);
  EXPECT_TRUE(there("a"));
  EXPECT_FALSE(there("b"));
}

TEST_F(CoreLivesTest, ADiskThatFailsKillsNobody) {
  submit({put("a", "1", ttl(3'000))});
  pass(2'900);
  store_.fail_next_append(Errc::io, false);
  submit({put("a", "2", ttl(3'000))});  // a sign of life, though nothing came of it
  pass(60'000);
  reopen();
  EXPECT_TRUE(there("a"));
  pass(2'900);
  EXPECT_TRUE(there("a"));
  pass(1'000);
  EXPECT_FALSE(there("a"));
}

// A PUT of what stands is a sign of life, and takes no room.
TEST_F(CoreLivesTest, OnAFullDiskWhatStandsMayBeSaidAgain) {
  Lifetime lifetime;
  lifetime.ttl_ms = 2'000;
  submit({put("a", "1", lifetime)});
  step(SpaceChanged{true});
  for (int i = 0; i < 4; ++i) {
    pass(1'000);
    submit({put("a", "1", lifetime)});
    EXPECT_FALSE(accepted().changed);
  }
  EXPECT_TRUE(there("a"));
  submit({put("a", "2", lifetime)});
  EXPECT_EQ(problem(), ProblemCode::storage_full);
  submit({put("a", "1", lifetime), put("b", "1")});
  EXPECT_EQ(problem(), ProblemCode::storage_full);
}

TEST_F(CoreLivesTest, WhoeverWaitsForASlowDiskIsNotTakenForDead) {
  submit({put("a", "1", ttl(3'000))});
  disk_runs_ = false;
  submit({put("a", "1", ttl(3'000)), put("b", "1")});
  pass(60'000);
  disk_runs_ = true;
  write();
  pass(2'900);
  EXPECT_TRUE(there("a"));
  pass(1'000);
  EXPECT_FALSE(there("a"));
}

TEST_F(CoreLivesTest, WhatDoesNotReachZooKeeperInTimeIsDropped) {
  submit({put("a", "1", expires(5'000))});
  pass(4'900);
  EXPECT_TRUE(there("a"));
  pass(200);
  EXPECT_FALSE(there("a"));
  const Words words = history("a");
  EXPECT_NE(std::find(words.begin(), words.end(), "expired#2"), words.end());
}

TEST_F(CoreLivesTest, WhatHasBeenInZooKeeperDoesNotExpire) {
  connect();
  submit({put("a", "1", expires(5'000))});
  EXPECT_TRUE(stands("a"));
  pass(1);
  store_.power_cut(0);  // right after it was confirmed
  now_.wall_ms += 60'000;
  start();
  pass(60'000);
  EXPECT_TRUE(there("a"));
}

TEST_F(CoreLivesTest, WhatHasBeenInZooKeeperDoesNotExpireThoughTheDiskFailed) {
  connect();
  submit({put("a", "1", expires(5'000))});
  store_.fail_next_append(Errc::io, false);
  pass(1);  // this would have written that it is there
  reopen();
  pass(1'000);
  store_.process_crash();
  now_.wall_ms += 60'000;
  start();
  pass(60'000);
  EXPECT_TRUE(there("a"));
}

TEST_F(CoreLivesTest, AWallClockThatJumpsExpiresNothing) {
  disk_runs_ = false;
  submit({put("a", "1", expires(5'000))});
  now_.wall_ms += 86'400'000;
  disk_runs_ = true;
  write();
  pass(4'000);
  EXPECT_TRUE(there("a"));
}

// ---- Maintenance

TEST_F(CoreLivesTest, MaintenanceWithdrawsAndIsKept) {
  connect();
  submit({put("a", "1")});
  maintenance("a", "new disk");
  EXPECT_EQ(accepted().seq, Seq{2});
  EXPECT_EQ(state("a"), State::maintenance);
  EXPECT_FALSE(stands("a"));
  maintenance("a", "new disk");  // the same again
  EXPECT_FALSE(accepted().changed);
  EXPECT_EQ(accepted().seq, Seq{2});
  store_.power_cut(0);
  start();
  connect();
  EXPECT_EQ(state("a"), State::maintenance);
  EXPECT_EQ(core_->find({"web", "a"})->maintenance->message, "new disk");
  maintenance("a", std::nullopt);
  EXPECT_EQ(accepted().seq, Seq{3});
  EXPECT_EQ(state("a"), State::registered);
  EXPECT_TRUE(stands("a"));
  maintenance("a", std::nullopt);
  EXPECT_FALSE(accepted().changed);
}

TEST_F(CoreLivesTest, MaintenanceOfTheHostWithdrawsAllAndOnlyRootBringsItAbout) {
  connect();
  submit({put("a", "1")});
  maintenance(std::nullopt, "kernel");
  EXPECT_EQ(problem(), ProblemCode::not_allowed);
  maintenance(std::nullopt, "kernel", 0);
  submit({put("b", "1")});
  EXPECT_EQ(state("a"), State::maintenance);
  EXPECT_EQ(state("b"), State::maintenance);
  EXPECT_TRUE(znodes_.empty());
  maintenance(std::nullopt, std::nullopt, 0);
  EXPECT_TRUE(stands("a"));
  EXPECT_TRUE(stands("b"));
}

TEST_F(CoreLivesTest, MaintenanceOfNothingOrOfAnothersIsRefused) {
  maintenance("a", "x");
  EXPECT_EQ(problem(), ProblemCode::not_found);
  submit({put("a", "1")});
  maintenance("a", "x", 1001);
  EXPECT_EQ(problem(), ProblemCode::not_owner);
}

TEST_F(CoreLivesTest, MaintenanceEndsWithItsRegistration) {
  submit({put("a", "1")});
  maintenance("a", "x");
  submit({DeregisterRequest{{"web", "a"}}});
  submit({put("a", "2")});
  EXPECT_FALSE(core_->find({"web", "a"})->maintenance);
}

// The record of what stood there before must not be taken for what stands there now.
TEST_F(CoreLivesTest, ACrashAtTheEndOfMaintenanceIsNotTakenForRegistered) {
  connect();
  submit({put("a", "1")});
  pass(1'000);
  maintenance("a", "x");
  step(ZkDisconnected{Epoch{1}});
  maintenance("a", std::nullopt);  // the znode is gone, and cannot be made again yet
  store_.process_crash();
  start();
  const auto result = store_.written().outcomes.find({"web", "a"});
  ASSERT_NE(result, store_.written().outcomes.end());
  EXPECT_NE(state("a"), State::registered);
  Session session = *store_.written().session;
  step(ZkConnected{Epoch{1}, session, "10.0.0.1:2181"});
  EXPECT_TRUE(stands("a"));
  EXPECT_EQ(state("a"), State::registered);
}

// ---- Health

TEST_F(CoreLivesTest, AFailingCheckWithdrawsUntilItPasses) {
  connect();
  submit({put("a", "1", checked())});
  EXPECT_EQ(watches_.at({"web", "a"}).checks.size(), 1u);
  health("a", false);
  EXPECT_EQ(state("a"), State::unhealthy);
  EXPECT_FALSE(stands("a"));
  EXPECT_EQ(core_->find({"web", "a"})->reason->message, "connection refused");
  pass(1'000);
  store_.process_crash();
  start();
  EXPECT_TRUE(watches_.at({"web", "a"}).failing);
  EXPECT_EQ(state("a"), State::unhealthy);
  connect();
  health("a", true);
  EXPECT_TRUE(stands("a"));
  EXPECT_EQ(history("a"), (Words{"accepted#1", "registered#1", "unhealthy#1", "withdrawn#1", "withdrawn#1", "healthy#1",
                                 "registered#1"}));
}

TEST_F(CoreLivesTest, ACheckThatFailsForgesNoFieldOfTheLog) {
  connect();
  submit({put("a", "1", checked())});
  const Watch& watch = watches_.at({"web", "a"});
  step(HealthChanged{watch.id, watch.seq, false, "down\" event=ended registration=db/1 why=\"x\n\u202e"});
  EXPECT_EQ(notes_.back(),
            R"(unhealthy registration=web/a check="down\" event=ended registration=db/1 why=\"x\n\u202e")");
}

TEST_F(CoreLivesTest, OtherChecksBeginAnew) {
  connect();
  submit({put("a", "1", checked())});
  health("a", false);
  submit({put("a", "1")});
  EXPECT_NE(state("a"), State::unhealthy);
  EXPECT_TRUE(watches_.empty());
}

TEST_F(CoreLivesTest, ChecksThatEndedWhileTheDiskFailedHoldNothing) {
  connect();
  submit({put("a", "1", checked())});
  health("a", false);
  pass(1'000);
  store_.fail_next_append(Errc::io, true);
  submit({put("a", "2")});
  EXPECT_EQ(problem(), ProblemCode::storage_failed);
  reopen();  // and it happened after all
  EXPECT_EQ(state("a"), State::registered);
}

// The check failed while its registration was on its way to be replaced by one without checks.
TEST_F(CoreLivesTest, NoCheckNoFailure) {
  connect();
  submit({put("a", "1", checked())});
  disk_runs_ = false;
  submit({DeregisterRequest{{"web", "a"}}});
  submit({put("a", "2")});
  health("a", false);
  pass(1'000);
  disk_runs_ = true;
  write();
  start();
  EXPECT_EQ(state("a"), State::pending);
}

// ---- The history

TEST_F(CoreLivesTest, WhatWasNeverSentIsCalledSuperseded) {
  submit({put("a", "1")});
  submit({put("a", "2")});
  submit({DeregisterRequest{{"web", "a"}}});
  const Words words = history("a");
  EXPECT_EQ(Words(words.begin(), words.begin() + 1), Words{"accepted#1"});
  for (const std::string word : {"accepted#2", "superseded#1", "deregistered#3", "superseded#2"}) {
    EXPECT_EQ(std::count(words.begin(), words.end(), word), 1) << word;
  }
}

TEST_F(CoreLivesTest, TheHistoryTellsWhoAndWhy) {
  submit({put("a", "1", process(4321))});
  process_ended("a", 1);
  pass(1'000);
  const auto& history = store_.written().history;
  const auto of = [&](Happening what) {
    return *std::find_if(history.begin(), history.end(), [&](const HistoryEntry& entry) { return entry.what == what; });
  };
  EXPECT_EQ(of(Happening::accepted).who->program, "test");
  EXPECT_EQ(of(Happening::accepted).who->owner.uid, 1000u);
  EXPECT_EQ(of(Happening::process_ended).why, "pid 4321 ended");
}

TEST_F(CoreLivesTest, WhatHappenedWhileTheDiskFailedIsWrittenLater) {
  connect();
  submit({put("a", "1", checked())});
  pass(1'000);
  store_.fail_next_append(Errc::io, false);
  health("a", false);
  pass(1'000);
  EXPECT_FALSE(core_->status(now_).storage_healthy());
  reopen();
  const Words words = history("a");
  EXPECT_NE(std::find(words.begin(), words.end(), "unhealthy#1"), words.end());
  EXPECT_FALSE(store_.written().disordered);
  EXPECT_TRUE(store_.written().holds.contains({RegistrationId{"web", "a"}, HoldCause::check}));
}

// ---- Whom it takes how much from

TEST_F(CoreLivesTest, OneUserHasAQuota) {
  options_.limits.max_registrations_per_uid = 1;
  start();
  submit({put("a", "1")}, 1000);
  submit({put("b", "1")}, 1000);
  EXPECT_EQ(problem(), ProblemCode::quota);
  submit({put("a", "2")}, 1000);  // an update needs no more room
  EXPECT_TRUE(accepted().changed);
  submit({put("b", "1")}, 1001);
  EXPECT_TRUE(accepted().changed);
  submit({put("c", "1"), put("d", "1")}, 0);  // not counted
  EXPECT_TRUE(accepted().changed);
  submit({DeregisterRequest{{"web", "a"}}, put("e", "1")}, 1000);
  EXPECT_TRUE(accepted().changed);
}

TEST_F(CoreLivesTest, AnewConfiguredLimitsAndPolicyHold) {
  Limits limits;
  limits.max_registrations = 1;
  PolicyRule rule;
  rule.uids = {1000};
  rule.services = {"web"};
  limits.policy = Policy({rule}, 99);
  step(Reconfigured{limits});
  submit({put("a", "1")}, 1001);
  EXPECT_EQ(problem(), ProblemCode::not_allowed);
  submit({put("a", "1")}, 1000);
  EXPECT_TRUE(accepted().changed);
  submit({put("b", "1")}, 1000);
  EXPECT_EQ(problem(), ProblemCode::quota);
}

// Readers of a service look at what stands under its name, whatever the registration is called.
TEST_F(CoreLivesTest, APathIntoTheNamesOfAnotherServiceIsAMatterOfPolicyToo) {
  options_.paths = {"/other"};
  PolicyRule rule;
  rule.uids = {1000};
  rule.services = {"web"};
  options_.limits.policy = Policy({rule}, 99);
  start();
  const auto at = [&](const std::string& path) {
    RegisterRequest request = put("a", "1");
    request.path = path;
    return request;
  };
  submit({at("/services/db/a")}, 1000);
  EXPECT_EQ(problem(), ProblemCode::not_allowed);
  submit({at("/services/web/elsewhere/a")}, 1000);
  EXPECT_TRUE(accepted().changed);
  submit({at("/services/db/a")}, 0);
  EXPECT_TRUE(accepted().changed);
}

TEST_F(CoreLivesTest, PathOutsideRootNeedsARuleOfThePolicyThatNamesIt) {
  options_.paths = {"/dubbo"};
  PolicyRule web;
  web.uids = {1000};
  web.services = {"web"};
  PolicyRule java = web;
  java.uids = {1001};
  java.paths = {"/dubbo/com.acme.*"};
  options_.limits.policy = Policy({web, java}, 99);
  start();
  const auto at = [&](const std::string& path) {
    RegisterRequest request = put("a", "1");
    request.path = path;
    return request;
  };
  submit({at("/dubbo/com.acme.Hello/providers/x")}, 1000);
  EXPECT_EQ(problem(), ProblemCode::not_allowed);
  submit({at("/dubbo/com.other.Hello/providers/x")}, 1001);
  EXPECT_EQ(problem(), ProblemCode::not_allowed);
  submit({at("/dubbo/com.acme.Hello/providers/x")}, 1001);
  EXPECT_TRUE(accepted().changed);
  submit({at("/dubbo/com.other.Hello/providers/x")}, 0);
  EXPECT_TRUE(accepted().changed);
}

}  // namespace
}  // namespace limpet::core
