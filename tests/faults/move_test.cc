// Registrations that move to another path across an outage and a restart: watchers never find the service empty.
#include "tests/faults/fixture.h"

namespace limpet::test {
namespace {

class Move : public Faults {
 protected:
  std::string moved() const { return root() + "/web/moved"; }
  static HttpAnswer move(AgentProcess& agent, const std::string& to) {
    UnixHttp http(agent.socket());
    return http.put(target(0), nlohmann::json{{"data", "data 0"}, {"path", to}}.dump());
  }
  // The transactions that removed web/i-0, and that created `path`.
  void expect_one_transaction(const std::string& to) {
    std::vector<std::int64_t> removed;
    std::vector<std::int64_t> created;
    for (const Txn& txn : transactions()) {
      if (txn.what == "delete" && txn.path == path(0)) {
        removed.push_back(txn.zxid);
      } else if (txn.what == "create" && txn.path == to) {
        created.push_back(txn.zxid);
      }
    }
    ASSERT_EQ(removed.size(), 1U);
    ASSERT_FALSE(created.empty());
    EXPECT_EQ(removed[0], created.back()) << "one zxid";
  }
};

TEST_F(Move, AcceptedInAnOutageAndReplayedAfterARestartIsOneTransaction) {
  auto agent = start_agent();
  put(*agent, 0, 1);
  ASSERT_TRUE(agent->wait_settled()) << agent->log();
  const auto id = session(*agent);
  ensemble().kill_quorum();
  ASSERT_EQ(move(*agent, moved()).status, 202);
  agent->kill();
  ASSERT_TRUE(agent->start()) << agent->log();
  ASSERT_TRUE(ensemble().restore()) << ensemble().console();
  ASSERT_TRUE(agent->wait_settled(std::chrono::seconds(60))) << agent->log();
  EXPECT_EQ(session(*agent), id);
  observer_->sync();
  EXPECT_EQ(observer_->children(root() + "/web"), std::vector<std::string>{"moved"});
  expect_one_transaction(moved());
}

TEST_F(Move, TheOldZnodeStaysUntilTheNewOneStands) {
  auto agent = start_agent();
  put(*agent, 0, 1);
  ASSERT_TRUE(agent->wait_settled()) << agent->log();
  ASSERT_EQ(observer_->create(moved(), "theirs"), 0);
  ASSERT_EQ(move(*agent, moved()).status, 202);
  EXPECT_TRUE(eventually([&] { return state(*agent, 0) == "conflict"; })) << show(*agent, 0).dump();
  agent->kill();
  ASSERT_TRUE(agent->start()) << agent->log();
  EXPECT_TRUE(eventually([&] { return state(*agent, 0) == "conflict"; })) << show(*agent, 0).dump();
  observer_->sync();
  EXPECT_TRUE(observer_->get(path(0)).has_value());
  ASSERT_EQ(observer_->remove(moved()), 0);
  ASSERT_TRUE(agent->wait_settled(std::chrono::seconds(60))) << agent->log();
  observer_->sync();
  EXPECT_EQ(observer_->children(root() + "/web"), std::vector<std::string>{"moved"});
  expect_one_transaction(moved());
}

}  // namespace
}  // namespace limpet::test
