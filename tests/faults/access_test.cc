// Row A22: the agent's credentials are wrong, and set right again. And what others may do to its znodes.
#include <signal.h>
#include <sys/stat.h>

#include <fstream>

#include "tests/faults/fixture.h"

namespace limpet::test {
namespace {

class Access : public Faults {
 protected:
  static std::string credentials(const AgentProcess& agent) { return agent.directory() + "/credentials"; }

  // Without another reader at any time, as the agent demands.
  static void write_credentials(const AgentProcess& agent, const std::string& text) {
    std::ofstream(credentials(agent)) << text << "\n";
    ASSERT_EQ(::chmod(credentials(agent).c_str(), 0600), 0);
  }
  static void reload(AgentProcess& agent, const std::string& applied) {
    const auto times = [&] { return occurrences(agent.log(), "event=reloaded applied=\"" + applied + "\""); };
    const auto before = times();
    agent.signal(SIGHUP);
    EXPECT_TRUE(eventually([&] { return times() > before; })) << agent.log();
  }
  static std::size_t occurrences(const std::string& text, const std::string& part) {
    std::size_t count = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) {
      ++count;
    }
    return count;
  }
  static void expect_state(AgentProcess& agent, int i, const std::string& wanted) {
    EXPECT_TRUE(eventually([&] { return state(agent, i) == wanted; })) << show(agent, i).dump() << agent.log();
  }
};

TEST_F(Access, A22_WrongCredentialsBlockAndAreSetRightByAReload) {
  auto agent = make_agent("6s");
  write_credentials(*agent, "limpet:right");
  std::ofstream(agent->directory() + "/limpet.json") << nlohmann::json{
      {"zookeeper_credentials", credentials(*agent)},
      {"acl", "creator"},
      {"parents_acl", "creator"}}.dump();
  ASSERT_TRUE(agent->start()) << agent->log();
  put(*agent, 0, 1);
  ASSERT_TRUE(agent->wait_settled()) << agent->log();
  const auto id = session(*agent);
  for (const std::string& made : {root(), root() + "/web", path(0)}) {
    const auto acl = observer_->acl(made);
    ASSERT_EQ(acl.size(), 2U) << made;
    EXPECT_TRUE(acl[0].starts_with("digest:limpet:") && acl[0].ends_with(":31")) << acl[0];
    EXPECT_EQ(acl[1], "world:anyone:1") << made;
  }
  EXPECT_TRUE(observer_->get(path(0)).has_value());
  EXPECT_EQ(observer_->set(path(0), "theirs"), -102);
  EXPECT_EQ(observer_->remove(path(0)), -102);

  write_credentials(*agent, "limpet:wrong");
  reload(*agent, "zookeeper_credentials");
  put(*agent, 1, 2);
  expect_state(*agent, 1, "blocked");
  EXPECT_EQ(show(*agent, 1)["reason"]["code"], "no_auth");
  EXPECT_NE(show(*agent, 1)["reason"]["message"].get<std::string>().find("ACL"), std::string::npos);
  expect_state(*agent, 0, "registered");
  EXPECT_EQ(agent->status()["registrations"]["blocked"], 1);

  write_credentials(*agent, "limpet:right");
  reload(*agent, "zookeeper_credentials");
  expect_state(*agent, 1, "registered");

  // A new process shows them before its first create, too.
  agent->kill();
  ASSERT_TRUE(agent->start()) << agent->log();
  put(*agent, 2, 3);
  ASSERT_TRUE(agent->wait_settled()) << agent->log();
  expect_exactly(*agent, 0, 3);
  EXPECT_EQ(session(*agent), id);
  EXPECT_EQ(agent->log().find("limpet:right"), std::string::npos) << "a secret in the log";
  ASSERT_TRUE(observer_->authenticate("limpet:right"));
}

TEST_F(Access, OtherClientsRegisterBelowAParentThatTheAgentMade) {
  auto agent = make_agent("6s");
  write_credentials(*agent, "limpet:right");
  const auto configure = [&](nlohmann::json with) {
    with.update({{"zookeeper_credentials", credentials(*agent)}, {"acl", "creator"}});
    std::ofstream(agent->directory() + "/limpet.json") << with.dump();
  };
  configure({});
  ASSERT_TRUE(agent->start()) << agent->log();
  put(*agent, 0, 1);
  ASSERT_TRUE(agent->wait_settled()) << agent->log();
  EXPECT_EQ(observer_->create(path(9), "theirs"), 0);
  EXPECT_EQ(observer_->children(root() + "/web"), (std::vector<std::string>{name(0), name(9)}));
  EXPECT_EQ(observer_->create(root() + "/other", ""), 0) << "a service of their own";
  EXPECT_EQ(observer_->set(root() + "/web", "theirs"), -102);
  EXPECT_EQ(observer_->remove(path(0)), -102);

  // Parents that exist keep their ACL; a new one has that of the key.
  configure({{"parents_acl", "creator"}});
  reload(*agent, "parents_acl");
  ASSERT_EQ(put_one(*agent, "/v1/registrations/closed/i", "x").status, 202);
  ASSERT_TRUE(agent->wait_settled()) << agent->log();
  EXPECT_EQ(observer_->create(root() + "/closed/theirs", "theirs"), -102);
  EXPECT_EQ(observer_->create(path(8), "theirs"), 0);
  ASSERT_TRUE(observer_->authenticate("limpet:right"));
}

TEST_F(Access, AContainerIsMadeForANewParentWhereTheKeySaysSo) {
  auto agent = make_agent("6s");
  std::ofstream(agent->directory() + "/limpet.json") << R"({"parents": "container"})";
  ASSERT_TRUE(agent->start()) << agent->log();
  put(*agent, 0, 3);
  ASSERT_TRUE(agent->wait_settled()) << agent->log();
  expect_exactly(*agent, 0, 3);
  EXPECT_EQ(observer_->get(root() + "/web")->ephemeral_owner, 0) << "the library shows no difference";
  const auto txns = transactions();
  EXPECT_EQ(count(txns, "create_container", root() + "/web"), 1U);
  // The servers have swept it: the agent makes it again.
  UnixHttp http(agent->socket());
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(http.del(target(i)).status, 202);
  }
  ASSERT_TRUE(agent->wait_settled()) << agent->log();
  ASSERT_EQ(observer_->remove(root() + "/web"), 0);
  put(*agent, 0, 3);
  ASSERT_TRUE(agent->wait_settled()) << agent->log();
  expect_exactly(*agent, 0, 3);
}

}  // namespace
}  // namespace limpet::test
