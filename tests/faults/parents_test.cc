// The znodes above registrations on real servers: bounded, remembered over kill -9, pruned when empty.
#include <fstream>

#include "tests/faults/fixture.h"

namespace limpet::test {
namespace {

class ParentsOnServers : public Faults {
 protected:
  static std::string of(const std::string& service) { return "/v1/registrations/" + service + "/i"; }
  static nlohmann::json prune(AgentProcess& agent, const nlohmann::json& body) {
    UnixHttp http(agent.socket());
    const HttpAnswer answer = http.post("/v1/prune", body.dump());
    EXPECT_EQ(answer.status, 200) << answer.body;
    return answer.json();
  }
  std::string outcome_of(const nlohmann::json& report, const std::string& service) const {
    for (const auto& one : report["parents"]) {
      if (one["path"] == root() + "/" + service) {
        return one["reason"].is_null() ? one["outcome"] : one["reason"];
      }
    }
    return "";
  }
  static std::size_t created(AgentProcess& agent) {
    UnixHttp http(agent.socket());
    const std::string text = http.get("/metrics").body;
    const std::size_t at = text.find("\nlimpet_parents ");
    return at == std::string::npos ? 0 : std::stoul(text.substr(at + 16));
  }
};

TEST_F(ParentsOnServers, EmptyOnesArePrunedAlsoAfterAKillAndOthersAreLeft) {
  auto agent = start_agent();
  for (const char* service : {"used", "empty", "shared"}) {
    ASSERT_EQ(put_one(*agent, of(service), "x").status, 202);
  }
  ASSERT_TRUE(agent->wait_settled()) << agent->log();
  EXPECT_TRUE(eventually([&] { return created(*agent) == 3; }));
  UnixHttp http(agent->socket());
  for (const char* service : {"empty", "shared"}) {
    ASSERT_EQ(http.del(of(service) + "?wait=30s").status, 200);
  }
  ASSERT_EQ(observer_->create(root() + "/shared/theirs", "theirs"), 0);
  EXPECT_EQ(outcome_of(prune(*agent, nlohmann::json::object()), "empty"), "too_recent");
  agent->kill();
  ASSERT_TRUE(agent->start()) << agent->log();
  ASSERT_TRUE(agent->wait_settled()) << agent->log();

  const auto dry = prune(*agent, {{"older_than", "0s"}, {"dry_run", true}});
  EXPECT_EQ(dry["removed"], 1) << dry.dump();
  observer_->sync();
  EXPECT_TRUE(observer_->get(root() + "/empty").has_value());
  const auto report = prune(*agent, {{"older_than", "0s"}});
  EXPECT_EQ(outcome_of(report, "empty"), "removed") << report.dump();
  EXPECT_EQ(outcome_of(report, "shared"), "not_empty") << report.dump();
  EXPECT_EQ(outcome_of(report, "used"), "in_use") << report.dump();
  observer_->sync();
  EXPECT_EQ(observer_->children(root()), (std::vector<std::string>{"shared", "used"}));

  ASSERT_EQ(put_one(*agent, of("empty"), "x").status, 202);
  ASSERT_TRUE(agent->wait_settled()) << agent->log();
  observer_->sync();
  EXPECT_TRUE(observer_->get(root() + "/empty/i").has_value());
}

TEST_F(ParentsOnServers, OneUserAddsOnlySoManyInAnHour) {
  auto agent = make_agent("6s");
  std::ofstream(agent->directory() + "/limpet.json") << R"({"max_new_parents": 2})";
  ASSERT_TRUE(agent->start()) << agent->log();
  ASSERT_EQ(put_one(*agent, of("a"), "x").status, 202);
  ASSERT_EQ(put_one(*agent, of("b"), "x").status, 202);
  const HttpAnswer refused = put_one(*agent, of("c"), "x");
  EXPECT_EQ(refused.status, 429) << refused.body;
  EXPECT_EQ(refused.json()["code"], "quota");
  EXPECT_EQ(put_one(*agent, "/v1/registrations/a/another", "x").status, 202);
}

TEST_F(ParentsOnServers, PruneTakesZooKeeper) {
  auto agent = make_agent("6s", "127.0.0.1:1");
  ASSERT_TRUE(agent->start()) << agent->log();
  UnixHttp http(agent->socket());
  const HttpAnswer answer = http.post("/v1/prune", "{}");
  EXPECT_EQ(answer.status, 409) << answer.body;
  EXPECT_EQ(answer.json()["code"], "not_connected");
}

}  // namespace
}  // namespace limpet::test
