// The main job: what was accepted while the leader or the quorum was away is in ZooKeeper afterwards, in order.
#include <signal.h>

#include <chrono>
#include <thread>

#include "tests/end_to_end/fixture.h"

namespace limpet::test {

namespace {

class Outage : public EndToEnd {};

TEST_F(Outage, RegistrationsAreAcceptedWhileTheLeaderDies) {
  AgentProcess agent(ensemble().connect_string(), flags());
  ASSERT_TRUE(agent.start()) << agent.log();
  ASSERT_TRUE(agent.wait_connected());
  UnixHttp http(agent.socket());
  std::int64_t slowest_ms = 0;
  for (int i = 0; i < 200; ++i) {
    if (i == 50) {
      ensemble().kill(ensemble().leader().value());
    }
    const auto before = std::chrono::steady_clock::now();
    const int status = http.put(target("web", "i-" + std::to_string(i)), body("data " + std::to_string(i))).status;
    const auto took = std::chrono::steady_clock::now() - before;
    slowest_ms =
        std::max<std::int64_t>(slowest_ms, std::chrono::duration_cast<std::chrono::milliseconds>(took).count());
    ASSERT_EQ(status, 202) << i;
  }
  RecordProperty("slowest_ms", std::to_string(slowest_ms));
  // Whoever waited for ZooKeeper would have waited for an election, or for a session time-out of 10 s.
  EXPECT_LT(slowest_ms, 2'000);
  ASSERT_TRUE(agent.wait_settled()) << agent.status().dump(2);
  ASSERT_TRUE(ensemble().restore());
  ZkObserver observer(ensemble().connect_string());
  const auto found = registered(observer);
  ASSERT_EQ(found.size(), 200u);
  for (int i = 0; i < 200; ++i) {
    EXPECT_EQ(found.at(root() + "/web/i-" + std::to_string(i)).data, "data " + std::to_string(i));
  }
}

TEST_F(Outage, WhatWasAcceptedWithoutQuorumIsThereAfterwardsInOrderDespiteKills) {
  AgentProcess agent(ensemble().connect_string(), flags());
  ASSERT_TRUE(agent.start()) << agent.log();
  ASSERT_TRUE(agent.wait_connected());
  UnixHttp http(agent.socket());
  std::map<std::string, std::string> wanted;
  // 60 that stand before: 50 of them are deregistered and 10 updated during the outage.
  for (int i = 0; i < 60; ++i) {
    const std::string name = "before-" + std::to_string(i);
    ASSERT_EQ(http.put(target("web", name), body("old")).status, 202);
    wanted[root() + "/web/" + name] = "old";
  }
  ASSERT_TRUE(agent.wait_settled());
  ensemble().kill_quorum();
  std::vector<std::string> order;
  for (int i = 0; i < 500; ++i) {
    const std::string name = "during-" + std::to_string((i * 7919) % 500);
    const HttpAnswer answer = http.put(target("web", name), body("new " + std::to_string(i)));
    ASSERT_EQ(answer.status, 202) << answer.body;
    wanted[root() + "/web/" + name] = "new " + std::to_string(i);
    order.push_back(root() + "/web/" + name);
    if (i % 10 == 0) {
      const std::string gone = "before-" + std::to_string(i / 10);
      ASSERT_EQ(http.del(target("web", gone)).status, 202);
      wanted.erase(root() + "/web/" + gone);
    }
    if (i % 50 == 0) {
      const std::string changed = "before-" + std::to_string(50 + i / 50);
      ASSERT_EQ(http.put(target("web", changed), body("changed")).status, 202);
      wanted[root() + "/web/" + changed] = "changed";
    }
    if (i == 250 || i == 499) {
      agent.kill();
      http.close();
      ASSERT_TRUE(agent.start()) << agent.log();
    }
  }
  ASSERT_TRUE(ensemble().restore());
  ASSERT_TRUE(agent.wait_settled()) << agent.status().dump(2);

  ZkObserver observer(ensemble().connect_string());
  const auto found = registered(observer);
  ASSERT_EQ(found.size(), wanted.size());
  const auto session = std::stoull(agent.status()["zookeeper"]["session"].get<std::string>(), nullptr, 16);
  for (const auto& [path, data] : wanted) {
    ASSERT_TRUE(found.contains(path)) << path;
    EXPECT_EQ(found.at(path).data, data) << path;
    EXPECT_EQ(static_cast<std::uint64_t>(found.at(path).ephemeral_owner), session) << path;
  }
  for (std::size_t i = 1; i < order.size(); ++i) {
    EXPECT_LE(found.at(order[i - 1]).czxid, found.at(order[i]).czxid) << order[i];
  }
  const auto status = agent.status();
  EXPECT_EQ(status["queue"]["depth"], 0);
  EXPECT_EQ(status["queue"]["applied_seq"], status["queue"]["last_seq"]);
  EXPECT_EQ(status["registrations"]["registered"], wanted.size());
}

TEST_F(Outage, KillAndRestartWithinTheSessionTimeOutIsInvisible) {
  AgentProcess agent(ensemble().connect_string(), flags());
  ASSERT_TRUE(agent.start()) << agent.log();
  UnixHttp http(agent.socket());
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(http.put(target("web", "i-" + std::to_string(i)), body("x")).status, 202);
  }
  ASSERT_TRUE(agent.wait_settled());
  ZkObserver observer(ensemble().connect_string());
  const auto before = registered(observer);
  ASSERT_EQ(before.size(), 50u);
  std::vector<std::string> paths;
  for (const auto& [path, znode] : before) {
    paths.push_back(path);
  }
  observer.record(paths);
  const auto session = agent.status()["zookeeper"]["session"];
  for (const int how : {SIGKILL, SIGTERM}) {
    if (how == SIGKILL) {
      agent.kill();
    } else {
      EXPECT_EQ(agent.terminate(), 0) << agent.log();
    }
    ASSERT_TRUE(agent.start()) << agent.log();
    ASSERT_TRUE(agent.wait_settled());
    const auto status = agent.status();
    EXPECT_EQ(status["zookeeper"]["session"], session);
    EXPECT_EQ(status["zookeeper"]["reattached"], true);
    EXPECT_EQ(status["registrations"]["registered"], 50);
    EXPECT_EQ(registered(observer), before);
  }
  EXPECT_TRUE(observer.recorded().empty());
}

TEST_F(Outage, AnOutageCostsNextToNothing) {
  AgentProcess agent(ensemble().connect_string(), flags());
  ASSERT_TRUE(agent.start()) << agent.log();
  ASSERT_TRUE(agent.wait_connected());
  ensemble().kill_all();
  ASSERT_TRUE(agent.wait_status([](const auto& status) { return status["zookeeper"]["state"] != "connected"; }));
  UnixHttp http(agent.socket());
  for (int i = 0; i < 1'000; ++i) {
    ASSERT_EQ(http.put(target("web", "i-" + std::to_string(i)), body(std::string(200, 'x'))).status, 202);
  }
  const auto cpu_before = agent.cpu_time();
  const auto seconds = std::chrono::seconds(
      std::getenv("LIMPET_OUTAGE_SECONDS") != nullptr ? std::atoi(std::getenv("LIMPET_OUTAGE_SECONDS")) : 10);
  const auto before = std::chrono::steady_clock::now();
  std::this_thread::sleep_for(seconds);
  const auto wall = std::chrono::steady_clock::now() - before;
  const auto cpu = agent.cpu_time() - cpu_before;
  const double share = std::chrono::duration<double>(cpu) / std::chrono::duration<double>(wall);
  RecordProperty("cpu_percent", std::to_string(share * 100));
  EXPECT_LT(share, 0.02) << "of a core";
  EXPECT_LT(agent.resident_bytes(), 64u << 20);
  ASSERT_TRUE(ensemble().restore());
  ASSERT_TRUE(agent.wait_settled()) << agent.status().dump(2);
  EXPECT_EQ(agent.status()["registrations"]["registered"], 1'000);
}

TEST_F(Outage, StartsAndServesWithNothingToConnectTo) {
  for (const std::string hosts : {"no-such-host.invalid:2181", "127.0.0.1:1", "127.0.0.1:1,127.0.0.2:1"}) {
    AgentProcess agent(hosts, flags());
    ASSERT_TRUE(agent.start()) << agent.log();
    UnixHttp http(agent.socket());
    EXPECT_EQ(http.put(target("web", "i-1"), "{}").status, 202);
    const auto shown = http.get(target("web", "i-1")).json();
    EXPECT_EQ(shown["state"], "pending");
    EXPECT_EQ(shown["reason"]["code"], "connecting");
    EXPECT_EQ(agent.status()["zookeeper"]["state"], "connecting");
    EXPECT_EQ(http.get("/readyz").status, 200);
    EXPECT_EQ(agent.terminate(), 0);
  }
}

}  // namespace

}  // namespace limpet::test
