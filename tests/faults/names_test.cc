// Row A33: names of servers that do not exist yet, fail later, take long, or come to mean another address.
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
    agent->environment = {preload(NAMES_SHIM), "LIMPET_NAMES=" + file_};
    return agent;
  }
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

TEST_F(Names, A33_ThatDoNotExistYet) {
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

TEST_F(Names, A33_WhoseServerFailsLater) {
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

TEST_F(Names, A33_ThatTakeTwentySeconds) {
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

// The client alone, which is told to look twice as often as an agent does.
TEST_F(Names, A33_ThatComeToMeanAnotherServer) {
  say(good());
  ::setenv("LIMPET_NAMES", file_.c_str(), 1);
  auto options = ZkBench::options(named(0) + "," + named(1));
  options.look_up_again_ms = 500;
  ZkBench bench(options);
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
  ASSERT_TRUE(bench.wait<core::ZkDisconnected>());
  bench.run_for(std::chrono::milliseconds(1'500));
  EXPECT_TRUE(bench.all<core::ServersChanged>().empty()) << "one name fails: what was known is not forgotten";
  say("zk1.test 0 127.0.1.9\nzk2.test 0 127.0.1.9\n");
  ASSERT_TRUE(bench.wait<core::ServersChanged>());
  bench.stop();
  const auto again = bench.connect(session);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->id, session->id);
}

}  // namespace
}  // namespace limpet::test
