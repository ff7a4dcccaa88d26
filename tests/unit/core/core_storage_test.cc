// Core by single steps: a disk that does not answer.
#include "tests/unit/core/core_lives_fixture.h"

namespace limpet::core {
namespace {

class SilentDisk : public CoreLivesTest {
 protected:
  StorageState storage() const { return core_->status(now_).storage; }
  std::size_t unanswered() const { return static_cast<std::size_t>(token_) - replies_.size(); }
};

TEST_F(SilentDisk, AppendWithoutAnswerForFiveSecondsIsReportedAndTheCallerHears503) {
  connect();
  disk_runs_ = false;
  submit({put("a", "1")});
  pass(4'900);
  EXPECT_EQ(storage(), StorageState::working);
  EXPECT_EQ(unanswered(), 1u);
  EXPECT_EQ(core_->status(now_).append_pending_ms, 4'900);
  pass(500);
  EXPECT_EQ(storage(), StorageState::hung);
  EXPECT_EQ(core_->status(now_).storage_error, "the disk has not answered since 2027-01-15T08:00:00Z");
  EXPECT_EQ(problem(), ProblemCode::storage_failed);
  EXPECT_EQ(unanswered(), 0u);
}

TEST_F(SilentDisk, NewChangesAreRefusedAtOnceWhileReadsAndHeartbeatsGoOn) {
  submit({put("a", "1", ttl(30'000))});
  disk_runs_ = false;
  submit({put("b", "1")});
  pass(6'000);
  submit({put("c", "1")});
  EXPECT_EQ(problem(), ProblemCode::storage_failed);
  EXPECT_EQ(unanswered(), 0u);
  maintenance("a", "disk");
  EXPECT_EQ(problem(), ProblemCode::storage_failed);
  EXPECT_TRUE(core_->find({"web", "a"}));
  step(Heartbeat{Token{++token_}, Caller{{1000, 7}, false}, {"web", "a"}});
  EXPECT_EQ(accepted().id.instance, "a");
  submit({put("a", "1", ttl(30'000))});
  EXPECT_FALSE(accepted().changed) << "what is on disk already needs none";
  submit({put("b", "1")});
  EXPECT_EQ(problem(), ProblemCode::storage_failed) << "whether that is on disk is what nobody knows";
}

TEST_F(SilentDisk, RepeatOfWhatIsOnDiskIsAnsweredWhileAnAppendIsUnderWay) {
  submit({put("a", "1")});
  disk_runs_ = false;
  submit({put("b", "1")});
  submit({put("a", "1")});
  EXPECT_FALSE(accepted().changed);
  EXPECT_EQ(accepted().seq, Seq{1});
  submit({put("b", "1")});
  EXPECT_EQ(unanswered(), 2u) << "both wait for the append that holds b";
}

TEST_F(SilentDisk, ChangesTakeEffectWhenTheDiskAnswersAfterAll) {
  connect();
  disk_runs_ = false;
  submit({put("a", "1")});
  pass(70'000);
  EXPECT_FALSE(there("a"));
  disk_runs_ = true;
  write();
  EXPECT_EQ(storage(), StorageState::working);
  EXPECT_EQ(core_->status(now_).append_pending_ms, 0);
  EXPECT_TRUE(stands("a"));
  submit({put("a", "1")});
  EXPECT_EQ(accepted().seq, Seq{1}) << "the same again is safe";
  submit({put("b", "1")});
  EXPECT_EQ(accepted().seq, Seq{2});
}

TEST_F(SilentDisk, AppendThatFailsAfterAllIsAFailedDisk) {
  disk_runs_ = false;
  submit({put("a", "1")});
  pass(6'000);
  store_.fail_next_append(Errc::io, false);
  write();
  EXPECT_EQ(storage(), StorageState::failed);
  disk_runs_ = true;
  reopen();
  EXPECT_EQ(storage(), StorageState::working);
  EXPECT_FALSE(there("a"));
}

TEST_F(SilentDisk, NobodyIsTakenForDeadMeanwhile) {
  submit({put("a", "1", ttl(10'000)), put("b", "1", process(4321))});
  disk_runs_ = false;
  submit({put("c", "1")});
  pass(6'000);
  process_ended("b", 2);
  pass(60'000);
  disk_runs_ = true;
  write();
  EXPECT_TRUE(there("a"));
  EXPECT_FALSE(there("b")) << "that has ended, and is not forgotten";
  pass(9'900);
  EXPECT_TRUE(there("a")) << "a whole ttl from when the disk answers";
  pass(1'000);
  EXPECT_FALSE(there("a"));
}

TEST_F(SilentDisk, AgentThatStoodStillDoesNotBlameItsDisk) {
  disk_runs_ = false;
  submit({put("a", "1")});
  now_.steady_ms += 60'000;  // stopped and continued: the timer and the disk's answer come together
  now_.wall_ms += 60'000;
  step(Tick{});
  EXPECT_EQ(storage(), StorageState::working);
  EXPECT_EQ(unanswered(), 1u);
  pass(5'500);
  EXPECT_EQ(storage(), StorageState::hung);
}

// Stopped for less than the time it takes to suspect the disk, and continued just when that is over.
TEST_F(SilentDisk, AnswerThatIsDueBesideTheTimerIsHeard) {
  for (const std::int64_t stopped_ms : {4'999, 5'000, 5'300, 5'900}) {
    disk_runs_ = false;
    submit({put("a", std::to_string(stopped_ms))});
    now_.steady_ms += stopped_ms;
    now_.wall_ms += stopped_ms;
    step(Tick{});
    EXPECT_EQ(storage(), StorageState::working) << stopped_ms;
    disk_runs_ = true;
    write();
    EXPECT_TRUE(accepted().changed) << stopped_ms;
  }
}

TEST_F(SilentDisk, SlowDiskThatAnswersIsNotSilent) {
  disk_runs_ = false;
  for (const char* name : {"a", "b", "c"}) {
    submit({put(name, "1")});
  }
  for (int i = 0; i < 3; ++i) {  // each append takes four seconds
    pass(4'000);
    EXPECT_EQ(storage(), StorageState::working);
    const Persist next = held_.front();
    held_.erase(held_.begin());
    step(Persisted{next.ticket, store_.append(next.batch, next.sync)});
  }
  EXPECT_EQ(unanswered(), 0u);
}

TEST_F(SilentDisk, HistoryTellsOfItsBeginningAndItsEnd) {
  disk_runs_ = false;
  submit({put("a", "1")});
  pass(6'000);
  disk_runs_ = true;
  write();
  pass(1'000);
  std::vector<Happening> told;
  for (const HistoryEntry& entry : store_.written().history) {
    if (entry.what == Happening::storage_failed || entry.what == Happening::storage_recovered) {
      told.push_back(entry.what);
    }
  }
  EXPECT_EQ(told, (std::vector<Happening>{Happening::storage_failed, Happening::storage_recovered}));
}

TEST_F(SilentDisk, NewSessionIsUsedOnlyWhenItIsOnDiskAndItsRegistrationsArePendingUntilThen) {
  connect();
  submit({put("a", "1")});
  EXPECT_EQ(state("a"), State::registered);
  disk_runs_ = false;
  submit({put("b", "1")});
  pass(6'000);
  step(ZkExpired{Epoch{1}});
  znodes_.clear();
  EXPECT_EQ(state("a"), State::pending) << "its znode went with the session";
  Session session;
  session.id = SessionId{0x1002};
  session.timeout_ms = 10'000;
  step(ZkConnected{Epoch{2}, session, "10.0.0.1:2181"});
  const StatusView status = core_->status(now_);
  EXPECT_EQ(status.session_state, SessionState::connected);
  EXPECT_NE(status.session_message, "");
  EXPECT_EQ(status.by_state[static_cast<std::size_t>(State::pending)], 1u);
  EXPECT_EQ(status.by_state[static_cast<std::size_t>(State::suspended)], 0u);
  EXPECT_EQ(status.queue_depth, 1u);
  EXPECT_EQ(core_->find({"web", "a"})->reason->code, ReasonCode::storage);
  EXPECT_FALSE(stands("a"));
  disk_runs_ = true;
  write();
  EXPECT_EQ(state("a"), State::registered);
  EXPECT_TRUE(stands("a"));
  EXPECT_TRUE(stands("b"));
}

// Confirmed while its deregistration was on the way to a disk that then failed: the next run must know that it has been
// in ZooKeeper, and does not expire.
TEST_F(SilentDisk, ConfirmationIsKeptWhereTheDeregistrationFailed) {
  connect();
  answers_run_ = false;
  submit({put("a", "1", expires(20'000))});
  disk_runs_ = false;
  submit({DeregisterRequest{{"web", "a"}}});
  answer_late();
  pass(1'000);
  store_.fail_next_append(Errc::io, false);
  write();
  EXPECT_EQ(storage(), StorageState::failed);
  disk_runs_ = true;
  reopen();
  EXPECT_EQ(state("a"), State::registered);
  pass(1'000);
  store_.process_crash();
  start();
  pass(60'000);
  EXPECT_TRUE(there("a"));
}

}  // namespace
}  // namespace limpet::core
