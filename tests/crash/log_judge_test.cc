// The judge of the log is shown good logs and bad ones: it must tell them apart.
#include "tests/crash/log_judge.h"

#include <gtest/gtest.h>

namespace limpet::test {
namespace {

constexpr std::int64_t kFirst = 0x10;
constexpr std::int64_t kSecond = 0x20;
constexpr std::int64_t kStranger = 0x99;

class LogJudgeTest : public ::testing::Test {
 protected:
  LogJudgeTest() {
    judge_.add_session(kFirst);
    judge_.add_session(kSecond);
    judge_.add_foreign("/r/s/theirs");
    judge_.add({{"s/a", "a1", 1},
                {"s/b", "b2", 2},
                {"s/a", "a3", 3},
                {"s/b", std::nullopt, 4},
                {"s/c", "c?", std::nullopt},
                {"s/b", "b6", 6},
                {"s/d", "d7", 7}});
  }
  void create(const std::string& name, const std::string& data, std::int64_t session = kFirst) {
    add("create", name, data, session);
  }
  void set(const std::string& name, const std::string& data, std::int64_t session = kFirst) {
    add("set", name, data, session);
  }
  void remove(const std::string& name, std::int64_t session = kFirst) { add("delete", name, "", session); }
  void end(std::int64_t session) { txns_.push_back({++zxid_, session, "close_session", "", "", 0}); }
  std::size_t violations() { return judge_.judge(txns_).size(); }
  std::uint64_t ordered() const { return judge_.ordered(); }

 private:
  void add(const std::string& what, const std::string& name, const std::string& data, std::int64_t session) {
    txns_.push_back({++zxid_, session, what, "/r/s" + (name.empty() ? "" : "/" + name), data, 0});
  }
  LogJudge judge_{"/r"};
  std::vector<Txn> txns_;
  std::int64_t zxid_ = 0;
};

TEST_F(LogJudgeTest, AllInOrderIsWell) {
  create("", "");
  create("a", "a1");
  create("b", "b2");
  set("a", "a3");
  remove("b");
  create("c", "c?");
  create("b", "b6");
  create("d", "d7");
  EXPECT_EQ(violations(), 0U);
  EXPECT_EQ(ordered(), 6U);
}

TEST_F(LogJudgeTest, WhatWasSupersededMayBeMissing) {
  create("a", "a3");
  create("b", "b6");
  create("d", "d7");
  EXPECT_EQ(violations(), 0U);
}

TEST_F(LogJudgeTest, ANewSessionBringsAllAgainAndReplacesWhatTheFormerLeft) {
  create("a", "a3");
  create("b", "b6");
  create("d", "d7");
  remove("a", kSecond);
  create("a", "a3", kSecond);
  end(kFirst);
  create("b", "b6", kSecond);
  create("d", "d7", kSecond);
  EXPECT_EQ(violations(), 0U);
}

TEST_F(LogJudgeTest, StrangersMayDoWhatTheyLike) {
  create("theirs", "x", kStranger);
  set("theirs", "y", kStranger);
  create("a", "a1");
  remove("a", kStranger);
  create("a", "a1");
  EXPECT_EQ(violations(), 0U);
}

TEST_F(LogJudgeTest, AnInversionIsFound) {
  create("b", "b2");
  create("a", "a1");
  EXPECT_EQ(violations(), 1U);
}

TEST_F(LogJudgeTest, AnInversionInANewSessionIsFound) {
  create("a", "a3");
  create("b", "b6");
  end(kFirst);
  create("b", "b6", kSecond);
  create("a", "a3", kSecond);
  EXPECT_EQ(violations(), 1U);
}

TEST_F(LogJudgeTest, ARemovalOutOfOrderIsFound) {
  create("b", "b2");
  create("d", "d7");
  remove("b");
  EXPECT_EQ(violations(), 1U);
}

TEST_F(LogJudgeTest, ABlinkIsFound) {
  create("a", "a1");
  remove("a");
  create("a", "a1");
  EXPECT_EQ(violations(), 1U);
}

TEST_F(LogJudgeTest, AGhostIsFound) {
  create("b", "b2");
  remove("b");
  create("b", "b2");
  EXPECT_EQ(violations(), 1U);
}

TEST_F(LogJudgeTest, AnOlderContentIsFound) {
  create("a", "a1");
  set("a", "a3");
  set("a", "a1");
  EXPECT_EQ(violations(), 1U);
}

TEST_F(LogJudgeTest, TrespassIsFound) {
  create("theirs", "x", kStranger);
  set("theirs", "mine");
  remove("theirs");
  EXPECT_EQ(violations(), 2U);
}

TEST_F(LogJudgeTest, AnotherOwnersZnodeUnderANameOfOursIsFound) {
  create("a", "theirs", kStranger);
  set("a", "a3");
  EXPECT_EQ(violations(), 1U);
}

TEST_F(LogJudgeTest, WhatNobodyAskedForIsFound) {
  create("a", "made up");
  create("elsewhere", "x");
  remove("");
  EXPECT_EQ(violations(), 3U);
}

}  // namespace
}  // namespace limpet::test
