// Rows A31 to A34 and A38: lists of servers of which most are dead, silent, unknown or not what they seem.
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <chrono>
#include <thread>

#include "tests/faults/fixture.h"
#include "tests/support/zk_bench.h"

namespace limpet::test {
namespace {

using boost::asio::ip::tcp;
using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

class Reach : public Faults {
 protected:
  // How long an agent with this list takes to be connected; it holds a registration then.
  milliseconds time_to_connect(const std::string& servers, const std::string& timeout = "10s") {
    auto agent = make_agent(timeout, servers);
    EXPECT_TRUE(agent->start()) << agent->log();
    const auto before = steady_clock::now();
    ++name_;  // the one before is still held by the session of the agent before
    put(*agent, name_, name_ + 1);
    EXPECT_TRUE(agent->wait_settled(seconds(40))) << servers << agent->log();
    return std::chrono::duration_cast<milliseconds>(steady_clock::now() - before);
  }

 private:
  int name_ = 0;
};

// Says the same to whoever connects, whatever is said to it, and hangs up.
class Babbler {
 public:
  explicit Babbler(std::string words)
      : words_(std::move(words)), acceptor_(io_, {boost::asio::ip::make_address_v4("127.0.3.1"), 0}) {
    thread_ = std::thread([this] {
      for (boost::system::error_code error; !stop_;) {
        tcp::socket socket(io_);
        acceptor_.accept(socket, error);
        ++visits_;
        boost::asio::write(socket, boost::asio::buffer(words_), error);
        std::this_thread::sleep_for(milliseconds(20));
      }
    });
  }
  ~Babbler() {
    stop_ = true;
    tcp::socket last(io_);
    boost::system::error_code ignored;
    last.connect(acceptor_.local_endpoint(), ignored);
    thread_.join();
  }
  std::string address() const { return "127.0.3.1:" + std::to_string(acceptor_.local_endpoint().port()); }
  int visits() const { return visits_; }

 private:
  const std::string words_;
  boost::asio::io_context io_;
  tcp::acceptor acceptor_;
  std::atomic<bool> stop_{false};
  std::atomic<int> visits_{0};
  std::thread thread_;
};

TEST_F(Reach, A31_OneOfUpToSixServersIsAlive) {
  for (int n = 1; n <= 6; ++n) {
    for (const int alive : {0, n - 1}) {
      std::string list;
      for (int i = 0; i < n; ++i) {
        list += (i == 0 ? "" : ",") + (i == alive ? proxy(0).address() : "127.0.4." + std::to_string(i + 1) + ":1");
      }
      EXPECT_LT(time_to_connect(list), seconds(4)) << list;
    }
  }
}

// Each list has its own client; all that have the same length search at once.
TEST_F(Reach, A31_EverySubsetOfUpToSixServersIsDead) {
  std::vector<std::unique_ptr<ZkProxy>> more;
  for (int i = 0; i < 3; ++i) {
    more.push_back(std::make_unique<ZkProxy>(ensemble().address(i), 4 + i));
  }
  for (unsigned n = 1; n <= 6; ++n) {
    std::vector<std::unique_ptr<ZkBench>> benches;
    for (unsigned alive = 0; alive < 1U << n; ++alive) {
      std::string list;
      for (unsigned i = 0; i < n; ++i) {
        const std::string living = i < 3 ? proxy(static_cast<int>(i)).address() : more[i - 3]->address();
        list += (i == 0 ? "" : ",") + ((alive >> i & 1) != 0 ? living : "127.0.4." + std::to_string(i + 1) + ":1");
      }
      auto options = ZkBench::options(list);
      options.seed = alive;
      benches.push_back(std::make_unique<ZkBench>(options));
      benches.back()->start();
    }
    for (unsigned alive = 1; alive < 1U << n; ++alive) {
      EXPECT_TRUE(benches[alive]->wait<core::ZkConnected>(1, seconds(30))) << n << " servers, alive " << alive;
    }
    EXPECT_TRUE(benches[0]->all<core::ZkConnected>().empty());
  }
}

TEST_F(Reach, A31_WhereNoneIsAliveNobodySpins) {
  std::vector<std::unique_ptr<AgentProcess>> agents;
  std::string list;
  for (int n = 1; n <= 6; ++n) {
    list += (n == 1 ? "" : ",") + ("127.0.4." + std::to_string(n)) + ":1";
    agents.push_back(make_agent("10s", list));
    ASSERT_TRUE(agents.back()->start()) << agents.back()->log();
  }
  pause(2'000);
  std::vector<milliseconds> before;
  for (const auto& agent : agents) {
    before.push_back(agent->cpu_time());
  }
  pause(3'000);
  for (std::size_t i = 0; i < agents.size(); ++i) {
    EXPECT_LT(agents[i]->cpu_time() - before[i], milliseconds(150)) << i + 1 << " servers";
  }
}

TEST_F(Reach, A32_FourOfFiveServersAreSilent) {
  proxy(1).set_mode(ZkProxy::Mode::stall);
  proxy(2).set_mode(ZkProxy::Mode::stall);
  ZkProxy third(ensemble().address(1), 4);
  ZkProxy fourth(ensemble().address(2), 5);
  third.set_mode(ZkProxy::Mode::stall);
  fourth.set_mode(ZkProxy::Mode::stall);
  // By itself the library stays with each for 2/3 of the time-out, 6.7 s. Our own look at them takes a second or two.
  const auto took = time_to_connect(through_proxies() + "," + third.address() + "," + fourth.address());
  RecordProperty("ms", std::to_string(took.count()));
  EXPECT_LT(took, milliseconds(6'500));
}

TEST_F(Reach, A33_ANameThatDoesNotResolveIsNoObstacle) {
  EXPECT_LT(time_to_connect("no-such-host.invalid:2181," + proxy(0).address()), seconds(15));
}

TEST_F(Reach, A34_AServerTalksNonsense) {
  std::string noise;
  for (int i = 0; i < 5'000; ++i) {
    noise.push_back(static_cast<char>(i * 7919 >> 3));
  }
  const std::string empty_answer(41, '\0');
  for (const std::string& words : {noise, std::string("\x7f\xff\xff\xff long"), std::string("\xff\xff\xff\xff less"),
                                   std::string("HTTP/1.1 400 Bad Request\r\n\r\n"), empty_answer}) {
    Babbler babbler(words);
    auto alone = make_agent("4s", babbler.address());
    ASSERT_TRUE(alone->start());
    pause(500);
    put(*alone, 0, 1);
    EXPECT_NE(alone->status()["zookeeper"]["state"], "connected");
    EXPECT_EQ(alone->terminate(), 0) << "it did not survive nonsense";
    EXPECT_GT(babbler.visits(), 0);
    EXPECT_LT(time_to_connect(babbler.address() + "," + proxy(0).address(), "4s"), seconds(10));
  }
}

TEST_F(Reach, A38_AllConnectionsThatAServerAllowsAreTaken) {
  RealEnsemble::Options options;
  options.servers = 1;
  options.config_lines = {"maxClientCnxns=1"};
  RealEnsemble small(options);
  RealEnsemble::started(small);
  auto holder = std::make_unique<ZkObserver>(small.connect_string());
  auto agent = make_agent("4s", small.connect_string());
  ASSERT_TRUE(agent->start());
  put(*agent, 0, 1);
  const auto cpu = agent->cpu_time();
  pause(3'000);
  EXPECT_LT(agent->cpu_time() - cpu, milliseconds(150));
  EXPECT_NE(agent->status()["zookeeper"]["state"], "connected");
  EXPECT_EQ(state(*agent, 0), "pending");
  holder.reset();
  EXPECT_TRUE(agent->wait_settled()) << agent->status().dump();
}

}  // namespace
}  // namespace limpet::test
