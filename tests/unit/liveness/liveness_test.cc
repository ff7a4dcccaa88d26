// The facade: what the core asks for, and the events that it gets.
#include "agent/liveness/liveness.h"

#include <gtest/gtest.h>

#include <vector>

#include "agent/liveness/process_id.h"
#include "tests/unit/liveness/checks.h"
#include "tests/unit/liveness/child.h"

namespace limpet::liveness {
namespace {

const RegistrationId kWeb = {"web", "1"};

class LivenessTest : public ::testing::Test {
 protected:
  core::Watch watch(std::uint64_t seq) {
    core::Watch result;
    result.id = kWeb;
    result.seq = Seq{seq};
    result.uid = ::getuid();
    return result;
  }
  static Check failing_check() {
    Check check = test::tcp_check("unix:/no/such/socket");
    check.interval_ms = 100;
    check.fall = 1;
    return check;
  }
  bool run_until(const std::function<bool()>& holds) {
    for (int i = 0; i < 3000 && !holds(); ++i) {
      io_.restart();
      io_.run_for(std::chrono::milliseconds(20));
    }
    return holds();
  }

  boost::asio::io_context io_{1};
  std::vector<core::Event> events_;
  Liveness liveness_{io_, [this](core::Event event) { events_.push_back(std::move(event)); }};
};

TEST_F(LivenessTest, TellsOfTheNewestWatch) {
  test::Child child = test::sleeper();
  core::Watch asked = watch(7);
  asked.process = *find_process(child.pid(), ::getuid(), true);
  liveness_.watch(asked);
  asked.seq = Seq{8};
  liveness_.watch(asked);
  child.kill();
  ASSERT_TRUE(run_until([&] { return !events_.empty(); }));
  const auto& ended = std::get<core::ProcessEnded>(events_.front());
  EXPECT_EQ(ended.id, kWeb);
  EXPECT_EQ(ended.seq, Seq{8});
  EXPECT_EQ(ended.how, "pid " + std::to_string(child.pid()) + " has ended");
}

TEST_F(LivenessTest, TellsOfHealthToo) {
  core::Watch asked = watch(3);
  asked.checks = {failing_check()};
  liveness_.watch(asked);
  ASSERT_TRUE(run_until([&] { return !events_.empty(); }));
  const auto failing = std::get<core::HealthChanged>(events_.front());
  EXPECT_EQ(failing.id, kWeb);
  EXPECT_EQ(failing.seq, Seq{3});
  EXPECT_FALSE(failing.passing);
  EXPECT_EQ(failing.message, "tcp unix:/no/such/socket: No such file or directory");
  events_.clear();
  asked = watch(4);
  asked.failing = true;
  liveness_.watch(asked);
  EXPECT_TRUE(events_.empty()) << "not from within the call";
  ASSERT_TRUE(run_until([&] { return !events_.empty(); }));
  EXPECT_TRUE(std::get<core::HealthChanged>(events_.front()).passing);
  EXPECT_EQ(std::get<core::HealthChanged>(events_.front()).seq, Seq{4});
}

TEST_F(LivenessTest, IsSilentAfterUnwatchAndStop) {
  test::Child child = test::sleeper();
  core::Watch asked = watch(3);
  asked.process = *find_process(child.pid(), ::getuid(), true);
  asked.checks = {failing_check()};
  liveness_.watch(asked);
  liveness_.unwatch({kWeb});
  liveness_.unwatch({kWeb});
  asked.id = {"db", "1"};
  liveness_.watch(asked);
  liveness_.stop();
  child.kill();
  child.reap();
  io_.run_for(std::chrono::milliseconds(1200));
  EXPECT_TRUE(events_.empty());
}

}  // namespace
}  // namespace limpet::liveness
