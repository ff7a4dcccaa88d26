// When checks run, how many at a time, and what is told of them.
#include "agent/liveness/check_schedule.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>

#include "tests/unit/liveness/checks.h"
#include "tests/unit/liveness/child.h"
#include "tests/unit/liveness/server.h"

namespace limpet::liveness {
namespace {

using boost::asio::ip::tcp;

const RegistrationId kScheduled = {"web", "1"};
const RegistrationId kDb = {"db", "1"};

Check quick(Check check) {
  check.interval_ms = 100;
  check.timeout_ms = 10'000;
  check.fall = 1;
  return check;
}

class CheckScheduleTest : public ::testing::Test {
 protected:
  CheckScheduleTest() {
    char folder[] = "/tmp/limpet-checks-XXXXXX";
    folder_ = ::mkdtemp(folder);
  }
  ~CheckScheduleTest() override { std::filesystem::remove_all(folder_); }

  static tcp::endpoint any_port() { return {boost::asio::ip::address_v4::loopback(), 0}; }
  static std::string at(const test::TcpServer& server) {
    return "127.0.0.1:" + std::to_string(server.endpoint().port());
  }
  bool run_until(const std::function<bool()>& holds) {
    for (int i = 0; i < 3000 && !holds(); ++i) {
      run_for(20);
    }
    return holds();
  }
  void run_for(int ms) {
    io_.restart();
    io_.run_for(std::chrono::milliseconds(ms));
  }
  void watch(const RegistrationId& id, const std::vector<Check>& checks, bool failing = false) {
    schedule_.watch(id, ::getuid(), checks, failing);
  }
  // What was told last.
  std::string last(const RegistrationId& id) { return told_[id].empty() ? "nothing" : told_[id].back(); }
  // A command that fails while this file is not there, and counts its runs.
  std::string file(const std::string& name) const { return folder_ + "/" + name; }
  std::size_t runs() const { return test::read_file(file("runs")).size(); }
  Check counting(const std::string& script) const {
    return quick(test::command_check({"/bin/sh", "-c", "printf x >>" + file("runs") + "; " + script}));
  }

  boost::asio::io_context io_{1};
  std::map<RegistrationId, std::vector<std::string>> told_;
  CheckSchedule schedule_{io_, CheckSchedule::Bounds{{2, 2, 1, 2}, {2, 2, 1, 2}, 50},
                          [this](const RegistrationId& id, const Health::Report& report) {
                            told_[id].push_back(report.passing ? "passing" : report.message);
                          }};
  std::string folder_;
};

TEST_F(CheckScheduleTest, TellsAFailureAndItsEnd) {
  test::TcpServer server(io_, any_port(), "HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n");
  const std::string url = "http://" + at(server) + "/";
  watch(kScheduled, {quick(test::http_check(url))});
  ASSERT_TRUE(run_until([&] { return last(kScheduled) == url + ": status 503 Service Unavailable"; }))
      << last(kScheduled);
  server.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  ASSERT_TRUE(run_until([&] { return last(kScheduled) == "passing"; })) << last(kScheduled);
  const int connections = server.connections();
  ASSERT_TRUE(run_until([&] { return server.connections() > connections + 3; }));
  EXPECT_EQ(told_[kScheduled].size(), 2u) << "each of them once";
}

TEST_F(CheckScheduleTest, ARunThatTakesTooLongHasFailed) {
  test::TcpServer silent(io_, any_port(), "", true);
  Check check = quick(test::http_check("http://" + at(silent) + "/"));
  check.timeout_ms = 50;
  watch(kScheduled, {check});
  Check hanging = counting("sleep 1000");
  hanging.timeout_ms = 500;
  watch(kDb, {hanging});
  EXPECT_TRUE(run_until([&] { return last(kScheduled) == check.target + ": no answer within 50ms"; }))
      << last(kScheduled);
  EXPECT_TRUE(run_until([&] { return last(kDb) == "command /bin/sh: killed, as it did not end within 500ms"; }))
      << last(kDb);
  EXPECT_TRUE(run_until([&] { return runs() >= 2; })) << "it runs again";
}

TEST_F(CheckScheduleTest, NoMoreThanSoManyRunAtOnce) {
  test::TcpServer silent(io_, any_port(), "", true);
  Check check = quick(test::http_check("http://" + at(silent) + "/"));
  for (int i = 0; i < 20; ++i) {
    watch({"web", std::to_string(i)}, {check});
    watch({"cmd", std::to_string(i)}, {counting("sleep 1000")});
  }
  ASSERT_TRUE(run_until([&] { return schedule_.running() == 4 && runs() == 2; }));
  run_for(300);
  EXPECT_EQ(schedule_.running(), 4u);
  EXPECT_EQ(silent.connections(), 2);
  EXPECT_EQ(runs(), 2u);
  for (int i = 0; i < 20; ++i) {
    schedule_.unwatch({"web", std::to_string(i)});
  }
  EXPECT_EQ(schedule_.running(), 2u) << "one kind does not take the place of the other";
}

TEST_F(CheckScheduleTest, AUserWithoutARunGetsASlotBeyondThoseThatOthersHold) {
  test::TcpServer silent(io_, any_port(), "", true);
  test::TcpServer server(io_, any_port(), "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
  constexpr std::uint32_t kAlice = 4711;
  constexpr std::uint32_t kBob = 4712;
  CheckSchedule schedule(io_, {{4, 3, 1, 8}, {4, 3, 1, 8}, 50},
                         [this](const RegistrationId& id, const Health::Report&) { told_[id].emplace_back("told"); });
  Check hanging = quick(test::http_check("http://" + at(silent) + "/"));
  hanging.timeout_ms = 600'000;
  for (int i = 0; i < 20; ++i) {
    schedule.watch({"a", std::to_string(i)}, kAlice, {hanging}, false);
  }
  ASSERT_TRUE(run_until([&] { return schedule.running() == 3; })) << "one user leaves one of four";
  run_for(300);
  EXPECT_EQ(schedule.running(), 3u);
  for (int i = 0; i < 5; ++i) {
    schedule.watch({"b", std::to_string(i)}, kBob, {quick(test::http_check("http://" + at(server) + "/"))}, false);
  }
  EXPECT_TRUE(run_until([&] { return told_.size() == 5; }));
  EXPECT_TRUE(run_until([&] { return schedule.stats().late >= 17; })) << "overdue for longer than their interval";
  EXPECT_EQ(schedule.stats().running[0], schedule.running());
  EXPECT_GE(schedule.stats().runs[0], 8u);
}

TEST_F(CheckScheduleTest, WhoHasToWaitGetsItsTurn) {
  test::TcpServer server(io_, any_port(), "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n");
  for (int i = 0; i < 50; ++i) {
    watch({"web", std::to_string(i)}, {quick(test::http_check("http://" + at(server) + "/"))});
  }
  EXPECT_TRUE(run_until([&] { return told_.size() == 50; }));
}

TEST_F(CheckScheduleTest, WhatIsAskedForInTheSameWordsGoesOn) {
  Check slow = counting("while [ ! -e " + file("go") + " ]; do sleep 0.05; done; exit 1");
  watch(kScheduled, {slow});
  ASSERT_TRUE(run_until([&] { return runs() == 1; }));
  watch(kScheduled, {counting("true"), slow});
  EXPECT_EQ(schedule_.running(), 1u) << "the run that is under way counts";
  std::ofstream(file("go")).flush();
  EXPECT_TRUE(run_until([&] { return last(kScheduled) == "command /bin/sh: exit status 1"; })) << last(kScheduled);
}

TEST_F(CheckScheduleTest, AFailureThatIsNotTheCoresIsToldAgainAndNotFromWithinTheCall) {
  watch(kScheduled, {counting("exit 1")});
  ASSERT_TRUE(run_until([&] { return told_[kScheduled].size() == 1; }));
  watch(kScheduled, {counting("exit 1")}, false);
  EXPECT_EQ(told_[kScheduled].size(), 1u);
  EXPECT_TRUE(run_until([&] { return told_[kScheduled].size() == 2; }));
  watch(kScheduled, {}, true);
  EXPECT_TRUE(run_until([&] { return last(kScheduled) == "passing"; }));
}

TEST_F(CheckScheduleTest, AnotherUserMeansOtherRuns) {
  watch(kScheduled, {counting("sleep 1000")});
  ASSERT_TRUE(run_until([&] { return runs() == 1; }));
  schedule_.watch(kScheduled, ::getuid() == 0 ? 54321 : ::getuid() + 1, {counting("sleep 1000")}, false);
  EXPECT_EQ(schedule_.running(), 0u);
}

TEST_F(CheckScheduleTest, NothingIsToldAfterUnwatchOrStop) {
  watch(kScheduled, {counting("sleep 1000")});
  watch(kDb, {counting("exit 1")});
  ASSERT_TRUE(run_until([&] { return runs() >= 2; }));
  schedule_.unwatch(kScheduled);
  schedule_.unwatch(kDb);
  told_.clear();
  EXPECT_EQ(schedule_.running(), 0u);
  watch(kScheduled, {counting("exit 1")}, true);
  watch(kDb, {}, true);
  schedule_.stop();
  run_for(300);
  EXPECT_TRUE(told_.empty());
}

TEST_F(CheckScheduleTest, WhoIsToldMayWatchUnwatchAndStop) {
  int told = 0;
  std::unique_ptr<CheckSchedule> schedule;
  const std::vector<Check> failing = {quick(test::tcp_check("unix:" + file("none")))};
  schedule = std::make_unique<CheckSchedule>(io_, CheckSchedule::Bounds{{2, 2, 1, 2}, {2, 2, 1, 2}, 1},
                                             [&](const RegistrationId& id, const Health::Report&) {
                                               if (++told == 3) {
                                                 schedule = nullptr;
                                               } else {
                                                 schedule->unwatch(id);
                                                 schedule->watch(id, ::getuid(), failing, false);
                                               }
                                             });
  schedule->watch(kScheduled, ::getuid(), failing, false);
  EXPECT_TRUE(run_until([&] { return schedule == nullptr; }));
}

TEST_F(CheckScheduleTest, AnAgentThatStoodStillBlamesNobody) {
  test::TcpServer server(io_, any_port(), "", true);
  Check check = quick(test::http_check("http://" + at(server) + "/"));
  check.timeout_ms = 1000;
  watch(kScheduled, {check});
  ASSERT_TRUE(run_until([&] { return !server.asked().empty(); })) << "a run is under way";
  std::this_thread::sleep_for(std::chrono::milliseconds(1500));  // as by SIGSTOP: the time-out comes far too late
  server.say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
  ASSERT_TRUE(run_until([&] { return server.connections() > 3; }));
  EXPECT_EQ(last(kScheduled), "nothing");
}

}  // namespace
}  // namespace limpet::liveness
