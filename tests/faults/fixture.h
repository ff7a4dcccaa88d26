// What the tests of ZooKeeper's faults share: one real ensemble for the whole program, a proxy in front of each server,
// the agent behind them, and the eyes to judge it by from outside.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/agent_process.h"
#include "tests/support/real_ensemble.h"
#include "tests/support/txn_log.h"
#include "tests/support/zk_observer.h"
#include "tests/support/zk_proxy.h"

namespace limpet::test {

using Tree = std::map<std::string, Znode>;

class Faults : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;

  // Three servers that take no packet over 64,000 bytes, enforce quotas, and would serve readers without a quorum.
  static RealEnsemble& ensemble();

  // Each test has a root of its own.
  std::string root() const;
  std::string path(int i) const { return root() + "/web/" + name(i); }
  static std::string name(int i) { return "i-" + std::to_string(i); }

  std::string through_proxies() const;
  std::unique_ptr<AgentProcess> make_agent(const std::string& session_timeout, const std::string& servers = "") const;
  // Started, and connected through the proxies.
  std::unique_ptr<AgentProcess> start_agent(const std::string& session_timeout = "6s");
  // The proxy that the agent is connected through. Precondition: connected.
  int proxy_of(AgentProcess& agent) const;
  ZkProxy& proxy(int index) { return *proxies_.at(static_cast<std::size_t>(index)); }

  // Registers web/i-<from> … web/i-<to - 1> with the data "<data> <i>"; all must be accepted.
  static void put(AgentProcess& agent, int from, int to, const std::string& data = "data");
  static HttpAnswer put_one(AgentProcess& agent, const std::string& target, const std::string& data);
  static std::string target(int i) { return "/v1/registrations/web/" + name(i); }
  static nlohmann::json show(AgentProcess& agent, int i);
  static std::string state(AgentProcess& agent, int i);
  static std::uint64_t session(AgentProcess& agent);

  // The registrations below our root, as an observer without a proxy sees them: path -> znode.
  Tree registered();
  // They are web/i-<from> … web/i-<to - 1>, with that data, owned by the agent's present session.
  void expect_exactly(AgentProcess& agent, int from, int to, const std::string& data = "data");
  static void expect_created_in_order(const Tree& tree, const std::vector<std::string>& paths);

  // Everything that was agreed upon below our root, in order.
  std::vector<Txn> transactions() const;
  static std::size_t count(const std::vector<Txn>& txns, const std::string& what, const std::string& path = "");

  ZkProxy::Counts sums() const;  // over all proxies

  static bool eventually(const std::function<bool()>& done, std::chrono::milliseconds limit = std::chrono::seconds(30));
  static void pause(int ms);
  static int rounds(int in_ci);  // LIMPET_FAULT_ROUNDS, or this many

  std::vector<std::unique_ptr<ZkProxy>> proxies_;
  std::unique_ptr<ZkObserver> observer_;  // straight to the servers
};

}  // namespace limpet::test
