// Rows A1 to A10, A26 and A27: servers die, freeze, come and go; the network is slow, cut or half open. The session
// goes on wherever it can, and a reconnect changes nothing.
#include <algorithm>
#include <chrono>

#include "tests/faults/fixture.h"

namespace limpet::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

class Connection : public Faults {
 protected:
  // What must be the same before and after: session, znodes with their czxids and versions, no write in the log.
  struct Picture {
    std::uint64_t session = 0;
    Tree tree;
    std::size_t transactions = 0;
  };
  Picture picture(AgentProcess& agent) { return {session(agent), registered(), transactions().size()}; }
  void expect_same(AgentProcess& agent, const Picture& before) {
    const Picture after = picture(agent);
    EXPECT_EQ(after.session, before.session);
    EXPECT_EQ(after.tree, before.tree);
    EXPECT_EQ(after.transactions, before.transactions) << "a reconnect wrote something";
  }

  // Connected no more to that server; perhaps to another already.
  bool left(AgentProcess& agent, int server) {
    return agent.wait_status([&](const auto& s) { return s["zookeeper"]["server"] != proxy(server).address(); });
  }
  static bool back(AgentProcess& agent, seconds limit = seconds(30)) { return agent.wait_settled(limit); }
};

TEST_F(Connection, A1_LeaderKilled) {
  auto agent = start_agent("10s");
  put(*agent, 0, 100);
  ASSERT_TRUE(agent->wait_settled());
  const Tree first = registered();
  const auto id = session(*agent);
  int next = 100;
  for (int round = 0; round < rounds(1); ++round) {
    ensemble().kill(ensemble().leader().value());
    for (int i = 0; i < 50; ++i, ++next) {
      const auto before = steady_clock::now();
      put(*agent, next, next + 1);
      EXPECT_LT(steady_clock::now() - before, seconds(2));
    }
    ASSERT_TRUE(agent->wait_settled()) << agent->status().dump();
    ASSERT_TRUE(ensemble().restore());
  }
  EXPECT_EQ(session(*agent), id);
  expect_exactly(*agent, 0, next);
  const Tree last = registered();
  for (const auto& [path, znode] : first) {
    EXPECT_EQ(last.at(path), znode);
  }
  EXPECT_EQ(count(transactions(), "delete"), 0U);
  EXPECT_EQ(count(transactions(), "set"), 0U);
}

TEST_F(Connection, A2_ConnectedServerKilled) {
  auto agent = start_agent();
  put(*agent, 0, 100);
  ASSERT_TRUE(agent->wait_settled());
  const Picture before = picture(*agent);
  const int server = proxy_of(*agent);
  ensemble().kill(server);
  ASSERT_TRUE(left(*agent, server));
  ASSERT_TRUE(back(*agent));
  pause(1'000);  // for whatever would be written now
  expect_same(*agent, before);
}

TEST_F(Connection, A2_AReconnectChangesNothing) {
  auto agent = start_agent();
  put(*agent, 0, 200);
  ASSERT_TRUE(agent->wait_settled());
  const Picture before = picture(*agent);
  const auto asked = sums();
  for (int round = 0; round < rounds(5); ++round) {
    if (round % 8 == 7) {
      pause(1'200);  // ten that break within a second of being made are taken for a rival, to whom the agent gives way
    }
    const auto since = agent->status()["zookeeper"]["since"];
    proxy(proxy_of(*agent)).cut();
    ASSERT_TRUE(agent->wait_status([&](const auto& s) {
      return s["zookeeper"]["state"] == "connected" && s["zookeeper"]["since"] != since && s["queue"]["depth"] == 0;
    }));
  }
  pause(1'000);
  expect_same(*agent, before);
  EXPECT_EQ(sums().writes(), asked.writes());
}

TEST_F(Connection, A3_ConnectedServerFrozenForHalfTheTimeOut) {
  auto agent = start_agent("10s");
  put(*agent, 0, 20);
  ASSERT_TRUE(agent->wait_settled());
  const Picture before = picture(*agent);
  const int server = proxy_of(*agent);
  ensemble().stop(server);
  pause(5'000);
  put(*agent, 20, 40);
  ensemble().cont(server);
  ASSERT_TRUE(back(*agent));
  EXPECT_EQ(session(*agent), before.session);
  expect_exactly(*agent, 0, 40);
  const auto txns = transactions();
  EXPECT_EQ(count(txns, "delete"), 0U);
  for (int i = 20; i < 40; ++i) {
    EXPECT_EQ(count(txns, "create", path(i)), 1U);
  }
}

TEST_F(Connection, A4_ConnectedServerFrozenAndTheNextSilent) {
  auto agent = start_agent("6s");
  put(*agent, 0, 50);
  ASSERT_TRUE(agent->wait_settled());
  const int server = proxy_of(*agent);
  ensemble().stop(server);
  proxy((server + 1) % 3).set_mode(ZkProxy::Mode::stall);
  // Kept, or expired and made anew: what is accepted stands in the end.
  ASSERT_TRUE(left(*agent, server));
  put(*agent, 50, 60);
  ASSERT_TRUE(back(*agent)) << agent->status().dump();
  expect_exactly(*agent, 0, 60);
}

TEST_F(Connection, A5_QuorumLostForLessThanTheTimeOut) {
  auto agent = start_agent("10s");
  put(*agent, 0, 50);
  ASSERT_TRUE(agent->wait_settled());
  const Tree before = registered();
  const auto id = session(*agent);
  ensemble().kill_quorum();
  put(*agent, 50, 100);
  pause(4'000);
  ASSERT_TRUE(ensemble().restore());
  ASSERT_TRUE(back(*agent));
  EXPECT_EQ(session(*agent), id);
  expect_exactly(*agent, 0, 100);
  EXPECT_EQ(count(transactions(), "delete"), 0U);
}

TEST_F(Connection, A6_QuorumLostForThreeTimesTheTimeOut) {
  auto agent = start_agent("2s");
  put(*agent, 0, 50);
  ASSERT_TRUE(agent->wait_settled());
  const auto id = session(*agent);
  ensemble().kill_quorum();
  put(*agent, 50, 100);
  pause(6'000);
  EXPECT_EQ(agent->status()["zookeeper"]["state"], "expired");
  ASSERT_TRUE(ensemble().restore());
  ASSERT_TRUE(back(*agent));
  expect_exactly(*agent, 0, 100);
  // With two seconds, a machine that is busy starting servers may come too late; the session is then new, and said so.
  if (session(*agent) == id) {
    EXPECT_EQ(count(transactions(), "delete"), 0U);
    EXPECT_EQ(count(transactions(), "create", path(0)), 1U);
  }
}

TEST_F(Connection, A8_RollingRestartOfAllServers) {
  auto agent = start_agent("10s");
  put(*agent, 0, 50);
  ASSERT_TRUE(agent->wait_settled());
  const Picture before = picture(*agent);
  for (int i = 0; i < 3; ++i) {
    ensemble().kill(i);
    ASSERT_TRUE(ensemble().restore());
    ASSERT_TRUE(back(*agent));
  }
  pause(500);
  expect_same(*agent, before);
}

TEST_F(Connection, A9_A10_OnlyTheMinoritySideIsReached) {
  auto agent = start_agent("4s");
  put(*agent, 0, 10);
  ASSERT_TRUE(agent->wait_settled());
  // The servers would offer read-only sessions to whoever asks for one.
  const int leader = ensemble().leader().value();
  ensemble().kill(leader);
  ensemble().kill((leader + 1) % 3);
  ASSERT_TRUE(agent->wait_status([](const auto& s) { return s["zookeeper"]["state"] == "expired"; }));
  put(*agent, 10, 20);
  pause(2'000);
  EXPECT_EQ(agent->status()["zookeeper"]["state"], "expired");
  EXPECT_EQ(state(*agent, 15), "pending");
  EXPECT_EQ(show(*agent, 15)["reason"]["code"], "no_quorum") << show(*agent, 15);
  ASSERT_TRUE(ensemble().restore());
  ASSERT_TRUE(back(*agent));
  expect_exactly(*agent, 0, 20);
}

TEST_F(Connection, A26_LatencyThenLittleBandwidth) {
  for (const auto& proxy : proxies_) {
    proxy->set_latency(200, 150);
  }
  auto agent = start_agent("10s");
  const auto id = session(*agent);
  put(*agent, 0, 50);
  ASSERT_TRUE(agent->wait_settled()) << agent->status().dump();
  for (const auto& proxy : proxies_) {
    proxy->set_latency(0, 0);
    proxy->set_bytes_per_second(8'000);
  }
  put(*agent, 50, 60);
  ASSERT_TRUE(agent->wait_settled()) << agent->status().dump();
  EXPECT_EQ(session(*agent), id);
  expect_exactly(*agent, 0, 60);
  EXPECT_EQ(count(transactions(), "delete"), 0U);
}

TEST_F(Connection, A27_HalfOpenWhenIdleAndInTheMiddleOfRequests) {
  auto agent = start_agent("6s");
  put(*agent, 0, 50);
  ASSERT_TRUE(agent->wait_settled());
  const auto id = session(*agent);
  for (const bool idle : {true, false}) {
    const int stalled = proxy_of(*agent);
    const auto before = steady_clock::now();
    proxy(stalled).set_mode(ZkProxy::Mode::stall);
    if (!idle) {
      put(*agent, 50, 100);
    }
    ASSERT_TRUE(left(*agent, stalled)) << agent->log();
    EXPECT_LT(steady_clock::now() - before, milliseconds(4'000 + 1'500)) << "2/3 of the time-out, and some slack";
    ASSERT_TRUE(back(*agent));
    proxy(stalled).set_mode(ZkProxy::Mode::pass);
  }
  EXPECT_EQ(session(*agent), id);
  expect_exactly(*agent, 0, 100);
  EXPECT_EQ(count(transactions(), "delete"), 0U);
}

}  // namespace
}  // namespace limpet::test
