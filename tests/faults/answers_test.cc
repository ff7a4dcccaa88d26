// Servers that answer otherwise than most: they do not know a request, demand authentication, give sessions that cannot
// be, or sessions of no use; and one address before several servers.
#include <signal.h>
#include <sys/stat.h>

#include <fstream>

#include "tests/faults/fixture.h"

namespace limpet::test {
namespace {

class Answers : public Faults {
 protected:
  void reject(const std::vector<ZkOpcode>& opcodes, std::optional<std::int32_t> error) {
    for (const auto& one : proxies_) {
      one->reject(opcodes, error);
    }
  }
  void set_welcome(std::optional<std::int32_t> timeout_ms, std::optional<std::int64_t> session) {
    for (const auto& one : proxies_) {
      one->set_welcome(timeout_ms, session);
    }
  }
  void forget() {
    for (const auto& one : proxies_) {
      one->forget();
    }
  }
  static std::string message(AgentProcess& agent) {
    const auto status = agent.status();
    const auto& shown = status["zookeeper"]["message"];
    return shown.is_string() ? shown.get<std::string>() : "";
  }
  static bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
  // Single creates, in a transaction and not.
  static std::vector<ZkOpcode> creates() { return {ZkOpcode::create2, ZkOpcode::multi}; }
};

class ServersWithoutCreate2 : public Answers, public ::testing::WithParamInterface<bool> {};

// One by one, so that none goes in a transaction with others.
TEST_P(ServersWithoutCreate2, TakeSingleRegistrationsWithoutALostConnection) {
  reject({ZkOpcode::create2}, GetParam() ? std::optional(-6) : std::nullopt);
  auto agent = start_agent("6s");
  const auto handshakes = sums().handshakes;
  const auto id = session(*agent);
  for (int i = 0; i < 10; ++i) {
    put(*agent, i, i + 1);
    ASSERT_TRUE(agent->wait_settled()) << show(*agent, i).dump();
  }
  expect_exactly(*agent, 0, 10);
  EXPECT_EQ(session(*agent), id);
  EXPECT_EQ(sums().handshakes, handshakes);
}

INSTANTIATE_TEST_SUITE_P(, ServersWithoutCreate2, ::testing::Bool(), [](const auto& info) {
  return std::string(info.param ? "ThatAnswerUnimplemented" : "ThatCutTheConnection");
});

TEST_F(Answers, ARefusalRightBeforeACutIsTheReason) {
  auto agent = start_agent("6s");
  put(*agent, 0, 5);
  ASSERT_TRUE(agent->wait_settled());
  const auto id = session(*agent);
  reject(creates(), -6);
  put(*agent, 5, 6);
  ASSERT_TRUE(eventually([&] { return state(*agent, 5) == "blocked"; })) << show(*agent, 5).dump() << agent->log();
  EXPECT_EQ(show(*agent, 5)["reason"]["code"], "refused");
  EXPECT_TRUE(has(show(*agent, 5)["reason"]["message"], "(-6)")) << show(*agent, 5).dump();
  // Each try costs a connection, so the tries become rare.
  ASSERT_TRUE(eventually([&] { return show(*agent, 5)["reason"]["attempts"] >= 2; }));
  const auto before = sums().handshakes;
  pause(2'000);
  EXPECT_LE(sums().handshakes - before, 3U);
  forget();
  ASSERT_TRUE(agent->wait_settled(std::chrono::seconds(60))) << show(*agent, 5).dump();
  EXPECT_EQ(session(*agent), id);
  expect_exactly(*agent, 0, 6);
}

TEST_F(Answers, ASmallRequestThatIsCutIsNotCalledTooLarge) {
  auto agent = start_agent("6s");
  reject(creates(), std::nullopt);
  put(*agent, 0, 1);
  ASSERT_TRUE(eventually([&] { return state(*agent, 0) == "blocked"; })) << show(*agent, 0).dump() << agent->log();
  EXPECT_EQ(show(*agent, 0)["reason"]["code"], "refused");
  EXPECT_TRUE(has(show(*agent, 0)["reason"]["message"], "servers' logs")) << show(*agent, 0).dump();
  forget();
  ASSERT_TRUE(agent->wait_settled(std::chrono::seconds(60))) << show(*agent, 0).dump();
}

TEST_F(Answers, ServersThatDemandAuthenticationAreGivenATimeAndTheAgentSaysWhatIsMissing) {
  RealEnsemble::Options options;
  options.servers = 1;
  options.java_options = {"-Dzookeeper.enforce.auth.enabled=true", "-Dzookeeper.enforce.auth.schemes=digest"};
  RealEnsemble strict(options);
  RealEnsemble::started(strict);
  ZkProxy door(strict.address(0), 4);
  auto agent = make_agent("10s", door.address());
  ASSERT_TRUE(agent->start()) << agent->log();
  put(*agent, 0, 1);
  ASSERT_TRUE(agent->wait_status([](const auto& s) { return s["zookeeper"]["state"] == "auth_failed"; }))
      << agent->log();
  const auto before = door.counts().handshakes;
  EXPECT_TRUE(has(message(*agent), "zookeeper_credentials")) << message(*agent);
  EXPECT_EQ(show(*agent, 0)["reason"]["code"], "no_auth");
  EXPECT_FALSE(has(agent->log(), "another process"));
  pause(3'000);
  EXPECT_LE(door.counts().handshakes - before, 2U) << "it stands back";

  const std::string credentials = agent->directory() + "/credentials";
  std::ofstream(credentials) << "limpet:secret\n";
  ASSERT_EQ(::chmod(credentials.c_str(), 0600), 0);
  std::ofstream(agent->directory() + "/limpet.json") << nlohmann::json{{"zookeeper_credentials", credentials}}.dump();
  agent->signal(SIGHUP);
  ASSERT_TRUE(agent->wait_settled()) << agent->log();
  EXPECT_EQ(state(*agent, 0), "registered");
}

class AbsurdSessions : public Answers, public ::testing::WithParamInterface<std::int32_t> {};

TEST_P(AbsurdSessions, AreAFailedConnectionWithAPause) {
  auto agent = start_agent("10s");
  put(*agent, 0, 10);
  ASSERT_TRUE(agent->wait_settled());
  const auto id = session(*agent);
  const Tree before = registered();
  set_welcome(GetParam(), std::nullopt);
  for (const auto& one : proxies_) {
    one->cut();
  }
  ASSERT_TRUE(eventually([&] { return has(message(*agent), "time-out of " + std::to_string(GetParam()) + " ms"); }))
      << message(*agent) << agent->log();
  const auto handshakes = sums().handshakes;
  const auto cpu = agent->cpu_time();
  pause(2'000);
  EXPECT_LE(sums().handshakes - handshakes, 100U);
  EXPECT_LT(agent->cpu_time() - cpu, std::chrono::milliseconds(500));
  EXPECT_NE(agent->status()["zookeeper"]["state"], "connected");
  forget();
  ASSERT_TRUE(agent->wait_settled()) << agent->log();
  EXPECT_EQ(session(*agent), id);
  EXPECT_EQ(registered(), before);
}

INSTANTIATE_TEST_SUITE_P(, AbsurdSessions, ::testing::Values(0, -1, 1), [](const auto& info) {
  return "WithATimeOutOf" + (info.param < 0 ? "Minus" + std::to_string(-info.param) : std::to_string(info.param));
});

TEST_F(Answers, ASessionWithoutANumberIsAFailedConnection) {
  set_welcome(std::nullopt, 0);
  auto agent = make_agent("10s");
  ASSERT_TRUE(agent->start());
  put(*agent, 0, 1);
  ASSERT_TRUE(eventually([&] { return has(message(*agent), "a session without a number"); })) << message(*agent);
  const auto handshakes = sums().handshakes;
  pause(2'000);
  EXPECT_LE(sums().handshakes - handshakes, 100U);
  EXPECT_NE(agent->status()["zookeeper"]["state"], "connected");
  forget();
  ASSERT_TRUE(agent->wait_settled()) << agent->log();
  expect_exactly(*agent, 0, 1);
}

TEST_F(Answers, OneAbsurdServerAmongThreeIsAvoided) {
  proxy(0).set_welcome(0, std::nullopt);
  auto agent = make_agent("10s");
  ASSERT_TRUE(agent->start());
  put(*agent, 0, 1);
  ASSERT_TRUE(agent->wait_settled()) << message(*agent) << agent->log();
  EXPECT_NE(proxy_of(*agent), 0);
}

TEST_F(Answers, OneAddressBeforeThreeServersKeepsTheSession) {
  ZkProxy balancer(ensemble().address(0), 4);
  balancer.set_servers({ensemble().address(0), ensemble().address(1), ensemble().address(2)});
  auto agent = make_agent("10s", balancer.address());
  ASSERT_TRUE(agent->start());
  put(*agent, 0, 10);
  ASSERT_TRUE(agent->wait_settled()) << agent->log();
  const auto id = session(*agent);
  const Tree before = registered();
  for (int i = 0; i < 3; ++i) {
    ensemble().kill(i);
    balancer.cut();
    ASSERT_TRUE(eventually([&] {
      const auto status = agent->status();
      return status["zookeeper"]["state"] == "connected" && status["registrations"]["registered"] == 10;
    })) << message(*agent);
    ASSERT_TRUE(ensemble().restore());
  }
  EXPECT_EQ(session(*agent), id);
  EXPECT_EQ(registered(), before);
}

TEST_F(Answers, LocalSessionsThatMayNotBeUpgradedAreNamedOnce) {
  RealEnsemble::Options options;
  options.config_lines = {"localSessionsEnabled=true", "localSessionsUpgradingEnabled=false"};
  RealEnsemble local(options);
  RealEnsemble::started(local);
  auto agent = make_agent("10s", local.connect_string());
  ASSERT_TRUE(agent->start());
  put(*agent, 0, 5);
  ASSERT_TRUE(agent->wait_status([](const auto& s) { return s["registrations"]["blocked"] == 5; })) << agent->log();
  EXPECT_TRUE(has(message(*agent), "localSessionsUpgradingEnabled")) << message(*agent);
  EXPECT_EQ(show(*agent, 0)["reason"]["code"], "refused");
  const std::string log = agent->log();
  EXPECT_TRUE(has(log, "event=zookeeper_session_limited"));
  EXPECT_EQ(log.find("event=zookeeper_session_limited"), log.rfind("event=zookeeper_session_limited"));
  EXPECT_FALSE(has(log, "event=blocked")) << "one line for all";
}

}  // namespace
}  // namespace limpet::test
