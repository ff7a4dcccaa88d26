// Names of servers that do not exist yet, fail later, take long, or come to mean another address.
#include <chrono>
#include <cstdlib>
#include <fstream>

#include "tests/faults/fixture.h"
#include "tests/support/preload.h"
#include "tests/support/zk_bench.h"

namespace limpet::test {
namespace {

using std::chrono::seconds;
using std::chrono::steady_clock;

class Names : public Faults {
 protected:
  void SetUp() override {
    Faults::SetUp();
    char name[] = "/tmp/limpet-names-XXXXXX";
    ::close(::mkstemp(name));
    file_ = name;
  }
  void TearDown() override {
    ::unsetenv("LIMPET_NAMES");
    ::unlink(file_.c_str());
    Faults::TearDown();
  }

  // What the name server says from now on: lines of names_shim.c.
  void say(const std::string& lines) {
    const std::string next = file_ + ".next";
    std::ofstream(next) << lines;
    ASSERT_EQ(std::rename(next.c_str(), file_.c_str()), 0);
  }
  // "zk1.test:<port>", and the address that it stands for.
  std::string named(int index) const { return "zk" + std::to_string(index + 1) + ".test:" + port(index); }
  std::string ip(int index) const { return proxies_[static_cast<std::size_t>(index)]->address().substr(0, 9); }
  std::string port(int index) const { return proxies_[static_cast<std::size_t>(index)]->address().substr(10); }
  std::unique_ptr<AgentProcess> make_named_agent(const std::string& timeout = "6s") const {
    auto agent = make_agent(timeout, named(0) + "," + named(1));
    agent->environment = names_environment();
    return agent;
  }
  std::vector<std::string> names_environment() const { return {preload(NAMES_SHIM), "LIMPET_NAMES=" + file_}; }
  // Takes changes at once, whatever the name server does.
  static void expect_served(AgentProcess& agent, int i) {
    const auto before = steady_clock::now();
    put(agent, i, i + 1);
    EXPECT_EQ(agent.status()["registrations"]["total"], i + 1);
    EXPECT_LT(steady_clock::now() - before, seconds(3));
  }
  std::string good() const { return "zk1.test 0 " + ip(0) + "\nzk2.test 0 " + ip(1) + "\n"; }

  std::string file_;
};

TEST_F(Names, NamesThatDoNotExistYetAreWaitedFor) {
  auto agent = make_named_agent();
  ASSERT_TRUE(agent->start()) << agent->log();
  expect_served(*agent, 0);
  pause(1'000);
  const auto cpu = agent->cpu_time();
  pause(1'000);
  EXPECT_LT(agent->cpu_time() - cpu, std::chrono::milliseconds(100));
  EXPECT_NE(agent->status()["zookeeper"]["state"], "connected");
  say(good());
  ASSERT_TRUE(agent->wait_settled()) << agent->log();
  expect_exactly(*agent, 0, 1);
}

TEST_F(Names, AFailingNameServerCostsNoReconnect) {
  say(good());
  auto agent = make_named_agent("10s");
  ASSERT_TRUE(agent->start()) << agent->log();
  put(*agent, 0, 10);
  ASSERT_TRUE(agent->wait_settled()) << agent->log();
  const auto id = session(*agent);
  const Tree before = registered();
  // EAI_AGAIN, and slowly: where the servers were is not forgotten, and nobody waits for the name server.
  say("zk1.test 20000 !-3\nzk2.test 20000 !-3\n");
  for (int round = 0; round < 3; ++round) {
    const auto since = agent->status()["zookeeper"]["since"];
    proxy(proxy_of(*agent)).cut();
    ASSERT_TRUE(agent->wait_status([&](const auto& s) {
      return s["zookeeper"]["state"] == "connected" && s["zookeeper"]["since"] != since;
    })) << agent->log();
  }
  expect_served(*agent, 10);
  EXPECT_EQ(session(*agent), id);
  ASSERT_TRUE(agent->wait_settled());
  for (const auto& [path, znode] : before) {
    EXPECT_EQ(registered().at(path), znode);
  }
}

TEST_F(Names, ASlowNameServerHoldsUpNeitherCallersNorAStop) {
  say("zk1.test 20000 " + ip(0) + "\nzk2.test 20000 !-3\n");
  auto agent = make_named_agent();
  ASSERT_TRUE(agent->start()) << agent->log();
  expect_served(*agent, 0);
  const auto before = steady_clock::now();
  EXPECT_EQ(agent->terminate(), 0) << agent->log();
  EXPECT_LT(steady_clock::now() - before, seconds(5)) << "a stop waits for nobody";
  say(good());
  ASSERT_TRUE(agent->start());
  ASSERT_TRUE(agent->wait_settled()) << agent->log();
  expect_exactly(*agent, 0, 1);
}

TEST_F(Names, AnAgentStartsWithOneNameGoneAndAnotherSlow) {
  // The first leads to an address where nobody listens yet, the second does not exist, the third hangs.
  say("zk1.test 0 127.0.1.9\nzk2.test 0 !-2\nzk3.test 60000 !-3\n");
  auto agent = make_agent("6s", named(0) + "," + named(1) + ",zk3.test:2181");
  agent->environment = names_environment();
  ASSERT_TRUE(agent->start()) << agent->log();
  expect_served(*agent, 0);
  ASSERT_TRUE(agent->wait_status([](const auto& s) {
    const auto servers = s["zookeeper"].value("servers", nlohmann::json::array());
    return servers.size() == 3 && servers[0]["addresses"].size() == 1 && servers[1]["error"].is_string() &&
           s["zookeeper"]["message"].template get<std::string>().find("refuses connections") != std::string::npos;
  })) << agent->status().dump();
  say("zk1.test 0 " + ip(0) + "\nzk2.test 0 !-2\nzk3.test 60000 !-3\n");
  ASSERT_TRUE(agent->wait_settled()) << agent->log();
  expect_exactly(*agent, 0, 1);
  const auto servers = agent->status()["zookeeper"]["servers"];
  ASSERT_EQ(servers.size(), 3U);
  EXPECT_EQ(servers[0],
            (nlohmann::json{{"name", named(0)}, {"addresses", {ip(0) + ":" + port(0)}}, {"error", nullptr}}));
  EXPECT_EQ(servers[1]["addresses"].size(), 0U);
  EXPECT_NE(servers[1]["error"].get<std::string>().find("cannot resolve zk2.test"), std::string::npos);
}

// The client alone, which is told to look more often than an agent does.
TEST_F(Names, ANewAddressIsKnownBeforeTheConnectionIsLost) {
  say(good());
  ::setenv("LIMPET_NAMES", file_.c_str(), 1);
  auto options = ZkBench::options(named(0) + "," + named(1));
  options.look_up_again_ms = 100;
  ZkBench bench(options);
  ASSERT_TRUE(bench.connect());
  const auto addresses_of = [&](std::size_t i) { return bench.client().servers().at(i).addresses; };
  say("zk1.test 0 127.0.1.9\nzk2.test 0 !-2\n");
  EXPECT_TRUE(bench.run_until([&] {
    return addresses_of(0) == std::vector<std::string>{"127.0.1.9:" + port(0)} &&
           !bench.client().servers().at(1).error.empty();
  }));
  EXPECT_EQ(addresses_of(1), std::vector<std::string>{ip(1) + ":" + port(1)}) << "the last address is kept";
  bench.run_for(std::chrono::milliseconds(500));
  EXPECT_TRUE(bench.all<core::ZkDisconnected>().empty()) << "a connection that stands is left alone";
}

TEST_F(Names, ANameWithANewAddressIsFollowedWhileTheOtherFails) {
  say(good());
  ::setenv("LIMPET_NAMES", file_.c_str(), 1);
  ZkBench bench(ZkBench::options(named(0) + "," + named(1)));
  const auto session = bench.connect();
  ASSERT_TRUE(session);
  // The servers move: the same ports, another host. Who stays with the old addresses never comes back.
  ZkProxy moved(ensemble().address(0), 9, static_cast<std::uint16_t>(std::stoi(port(0))));
  say("zk1.test 0 127.0.1.9\nzk2.test 0 !-2\n");
  bench.forget();
  for (const auto& one : proxies_) {
    one->set_mode(ZkProxy::Mode::refuse);
    one->cut();
  }
  ASSERT_TRUE(bench.wait<core::ZkConnected>());
  EXPECT_EQ(bench.all<core::ZkConnected>().back().session.id, session->id);
}

// Three servers of their own, which move to other addresses under an agent with a session time-out of ten seconds.
class MovingServers : public Names {
 protected:
  void SetUp() override {
    Names::SetUp();
    RealEnsemble::started(servers_);
    say_where();
    std::string list;
    for (int i = 0; i < 3; ++i) {
      const std::string address = servers_.address(i);
      list += (i == 0 ? "" : ",") + server_name(i) + address.substr(address.find(':'));
    }
    agent_ = make_agent("10s", list);
    agent_->environment = names_environment();
    ASSERT_TRUE(agent_->start()) << agent_->log();
    put(*agent_, 0, 20);
    ASSERT_TRUE(agent_->wait_settled()) << agent_->log();
    session_ = session(*agent_);
    before_ = tree();
    ASSERT_EQ(before_.size(), 20U);
  }

  static std::string server_name(int i) { return "zk" + std::to_string(i + 1) + ".test"; }
  // The name server learns where all are, but for one that has no name any more.
  void say_where(int gone = -1) {
    std::string lines;
    for (int i = 0; i < 3; ++i) {
      const std::string address = servers_.address(i);
      lines += server_name(i) + " 0 " + (i == gone ? "!-2" : address.substr(0, address.find(':'))) + "\n";
    }
    say(lines);
  }
  Tree tree() {
    ZkObserver observer(servers_.connect_string());
    observer.sync();
    Tree found = observer.tree(root());
    std::erase_if(found, [](const auto& entry) { return entry.second.ephemeral_owner == 0; });
    return found;
  }
  void expect_nothing_blinked() {
    ASSERT_TRUE(eventually([&] { return agent_->status()["zookeeper"]["state"] == "connected"; })) << agent_->log();
    ASSERT_TRUE(agent_->wait_settled()) << agent_->log();
    EXPECT_EQ(session(*agent_), session_);
    EXPECT_EQ(tree(), before_);
  }

  RealEnsemble servers_;
  std::unique_ptr<AgentProcess> agent_;
  std::uint64_t session_ = 0;
  Tree before_;
};

TEST_F(MovingServers, OneAfterTheOtherKeepsTheSession) {
  for (int i = 0; i < 3; ++i) {
    servers_.move(i);
    servers_.start(i);
    say_where();
    ASSERT_TRUE(servers_.wait_serving()) << servers_.console();
  }
  expect_nothing_blinked();
}

TEST_F(MovingServers, AllAtOnceKeepsTheSession) {
  for (int i = 0; i < 3; ++i) {
    servers_.move(i);
  }
  say_where();
  servers_.start_all();
  ASSERT_TRUE(servers_.wait_serving()) << servers_.console();
  expect_nothing_blinked();
}

TEST_F(MovingServers, TwoAtOnceWhileTheThirdIsGoneKeepsTheSession) {
  servers_.kill(2);
  for (int i = 0; i < 2; ++i) {
    servers_.move(i);
    servers_.start(i);
  }
  say_where(2);
  ASSERT_TRUE(servers_.wait_serving()) << servers_.console();
  expect_nothing_blinked();
}

}  // namespace
}  // namespace limpet::test
