// Rows B21 and B22: the agent is told to stop, at any moment and more than once. It ends soon, and its session does
// not.
#include <signal.h>

#include <thread>

#include "tests/faults/fixture.h"

namespace limpet::test {
namespace {

using std::chrono::seconds;
using std::chrono::steady_clock;

class Stop : public Faults {
 protected:
  static void expect_stops(AgentProcess& agent, const char* when, int signals = 1) {
    const auto before = steady_clock::now();
    for (int i = 0; i < signals; ++i) {
      agent.signal(SIGTERM);
    }
    EXPECT_EQ(agent.wait_exit(), 0) << when << agent.log();
    EXPECT_LT(steady_clock::now() - before, seconds(5)) << when;
  }
};

TEST_F(Stop, B21_B22_WhenIdleUnderLoadInReplayAndWithoutAQuorum) {
  auto agent = start_agent("10s");
  put(*agent, 0, 200);
  ASSERT_TRUE(agent->wait_settled());
  const auto id = session(*agent);
  const Tree before = registered();

  expect_stops(*agent, "idle");
  ASSERT_TRUE(agent->start());
  ASSERT_TRUE(agent->wait_settled());
  expect_stops(*agent, "twice", 3);
  ASSERT_TRUE(agent->start());

  std::thread load([&] {
    UnixHttp http(agent->socket());
    for (int i = 200; http.put(target(i), R"({"data":"x"})").status == 202; ++i) {
    }
  });
  pause(300);
  expect_stops(*agent, "load");
  load.join();

  for (const auto& one : proxies_) {
    one->set_latency(100, 50);
  }
  ASSERT_TRUE(agent->start());
  put(*agent, 500, 600, "late");
  expect_stops(*agent, "replay");
  for (const auto& one : proxies_) {
    one->set_latency(0, 0);
  }

  ASSERT_TRUE(agent->start());
  ASSERT_TRUE(agent->wait_settled());
  ensemble().kill_quorum();
  put(*agent, 600, 650, "later");
  expect_stops(*agent, "no quorum");
  ASSERT_TRUE(agent->start());
  ASSERT_TRUE(ensemble().restore());
  ASSERT_TRUE(agent->wait_settled()) << agent->status().dump();

  EXPECT_EQ(session(*agent), id);
  const Tree after = registered();
  for (const auto& [path, znode] : before) {
    ASSERT_TRUE(after.contains(path)) << path;
    EXPECT_EQ(after.at(path), znode);
  }
  for (int i = 500; i < 650; ++i) {
    EXPECT_TRUE(after.contains(path(i))) << path(i);
  }
  EXPECT_EQ(count(transactions(), "delete"), 0U);
}

}  // namespace
}  // namespace limpet::test
