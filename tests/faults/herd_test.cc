// P10: the sessions of many agents come back at once, and what just came up can bear it. Also how soon one finds back
// after an election, and that our reader of transaction logs says what ZooKeeper's own says.
#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <cstdio>
#include <regex>
#include <thread>

#include "agent/zk/zk_client.h"
#include "tests/faults/fixture.h"

namespace limpet::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

// Many clients on one event loop, each with a session of its own and a znode that it holds.
class Crowd {
 public:
  Crowd(int size, const std::string& hosts) : states_(static_cast<std::size_t>(size)) {
    for (std::size_t i = 0; i < states_.size(); ++i) {
      zk::ZkClient::Options options;
      options.hosts = hosts;
      options.session_timeout_ms = 10'000;
      options.seed = i + 1;
      clients_.push_back(
          std::make_unique<zk::ZkClient>(io_, options, [this, i](core::Event event) { on_event(i, event); }));
    }
  }
  void start() {
    for (const auto& client : clients_) {
      client->start({core::Epoch{1}, std::nullopt});
    }
  }
  void register_all(const std::string& root) {
    for (std::size_t i = 0; i < clients_.size(); ++i) {
      clients_[i]->send(
          {core::Epoch{1}, core::OpId{1}, {core::ZkVerb::create, root + "/" + std::to_string(i), "x", -1}});
    }
  }
  template <typename Done>
  bool run_until(Done done, milliseconds limit) {
    const auto until = steady_clock::now() + limit;
    while (!done() && steady_clock::now() < until) {
      io_.run_one_for(milliseconds(20));
    }
    return done();
  }
  std::size_t connected() const {
    return static_cast<std::size_t>(
        std::count_if(states_.begin(), states_.end(), [](const State& state) { return state.connected; }));
  }
  std::size_t replies() const { return replies_; }
  std::size_t expired() const { return expired_; }
  // When the i-th of them came back, in order of time.
  std::vector<steady_clock::time_point> times() const {
    std::vector<steady_clock::time_point> all;
    for (const State& state : states_) {
      all.push_back(state.at);
    }
    std::sort(all.begin(), all.end());
    return all;
  }

 private:
  struct State {
    bool connected = false;
    steady_clock::time_point at;
  };

  void on_event(std::size_t i, const core::Event& event) {
    if (std::holds_alternative<core::ZkConnected>(event)) {
      states_[i] = {true, steady_clock::now()};
    } else if (std::holds_alternative<core::ZkDisconnected>(event)) {
      states_[i].connected = false;
    } else if (std::holds_alternative<core::ZkExpired>(event)) {
      states_[i].connected = false;
      ++expired_;
    } else if (const auto* replied = std::get_if<core::ZkReplied>(&event)) {
      replies_ += replied->reply.code == core::ZkCode::ok ? 1 : 0;
    }
  }

  std::vector<State> states_;
  std::size_t replies_ = 0;
  std::size_t expired_ = 0;
  boost::asio::io_context io_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{io_.get_executor()};
  std::vector<std::unique_ptr<zk::ZkClient>> clients_;
};

class Herd : public Faults {};

TEST_F(Herd, FortySessionsComeBackAtOnce) {
  constexpr int kCrowd = 40;
  ASSERT_EQ(observer_->create(root(), ""), 0);
  Crowd crowd(kCrowd, through_proxies());
  crowd.start();
  ASSERT_TRUE(crowd.run_until([&] { return crowd.connected() == kCrowd; }, seconds(30)));
  crowd.register_all(root());
  ASSERT_TRUE(crowd.run_until([&] { return crowd.replies() == kCrowd; }, seconds(30)));
  const Tree before = registered();
  ASSERT_EQ(before.size(), static_cast<std::size_t>(kCrowd));
  ensemble().kill_quorum();
  ASSERT_TRUE(crowd.run_until([&] { return crowd.connected() == 0; }, seconds(30)));
  crowd.run_until([] { return false; }, seconds(4));  // the library's own attempts are over by now
  const auto quiet = sums();
  crowd.run_until([] { return false; }, seconds(5));
  const auto outage = sums();
  // Nobody asks for a session where there is none to be had; they look, once in T/10 at each server.
  EXPECT_EQ(outage.handshakes, quiet.handshakes);
  EXPECT_LE(outage.connections - quiet.connections, 3U * kCrowd * 7U);

  ensemble().start_all();
  ASSERT_TRUE(ensemble().wait_serving());
  const auto served = steady_clock::now();
  ASSERT_TRUE(crowd.run_until([&] { return crowd.connected() == kCrowd; }, seconds(20)));
  const auto times = crowd.times();
  const auto last_ms = std::chrono::duration_cast<milliseconds>(times.back() - served).count();
  const auto spread_ms = std::chrono::duration_cast<milliseconds>(times.back() - times.front()).count();
  const auto healed = sums();
  std::printf(
      "herd: %d sessions; connects while away %.1f a second; handshakes to heal %llu; last back after %lld ms, "
      "spread over %lld ms\n",
      kCrowd, static_cast<double>(outage.connections - quiet.connections) / 5.0,
      static_cast<unsigned long long>(healed.handshakes - outage.handshakes), static_cast<long long>(last_ms),
      static_cast<long long>(spread_ms));
  EXPECT_LT(last_ms, 5'000) << "half of the time-out";
  // They look at different times, some hundred milliseconds apart at most: all within so short a while is no chance.
  EXPECT_GT(spread_ms, 10) << "all at once";
  EXPECT_LE(healed.handshakes - outage.handshakes, 3U * kCrowd);
  EXPECT_EQ(healed.writes(), outage.writes());
  EXPECT_EQ(crowd.expired(), 0U);
  EXPECT_EQ(registered(), before) << "all kept their sessions and znodes";
}

TEST_F(Herd, AnElectionIsNotWaitedForLongerThanItTakes) {
  for (int round = 0; round < rounds(2); ++round) {
    Crowd one(1, through_proxies());
    one.start();
    ASSERT_TRUE(one.run_until([&] { return one.connected() == 1; }, seconds(10)));
    const auto before = steady_clock::now();
    ensemble().kill(ensemble().leader().value());
    ASSERT_TRUE(one.run_until([&] { return one.connected() == 0; }, seconds(5)));
    std::thread poll;
    std::atomic<std::int64_t> served_ms{0};
    poll = std::thread([&] {
      ensemble().wait_serving();
      served_ms = std::chrono::duration_cast<milliseconds>(steady_clock::now() - before).count();
    });
    const bool back = one.run_until([&] { return one.connected() == 1; }, seconds(20));
    const auto back_ms = std::chrono::duration_cast<milliseconds>(steady_clock::now() - before).count();
    poll.join();
    std::printf("election: served again after %lld ms, session taken up after %lld ms\n",
                static_cast<long long>(served_ms), static_cast<long long>(back_ms));
    EXPECT_TRUE(back);
    EXPECT_LT(back_ms, served_ms + 1'500);
    ASSERT_TRUE(ensemble().restore());
  }
}

TEST_F(Herd, OurReaderOfTransactionLogsAgreesWithZooKeepers) {
  ASSERT_EQ(observer_->create_with_parents(root() + "/a/b", "data", true), 0);
  ASSERT_EQ(observer_->set(root() + "/a/b", "more"), 0);
  ASSERT_EQ(observer_->remove(root() + "/a/b"), 0);
  const auto files = txn_log_files(ensemble().data_directory(0));
  ASSERT_FALSE(files.empty());
  const std::string command =
      "java -cp /usr/share/java/zookeeper.jar org.apache.zookeeper.server.persistence.TxnLogToolkit -d " +
      files.back() + " 2>/dev/null";
  std::FILE* pipe = ::popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  std::string text;
  char buffer[4096];
  for (std::size_t n = 0; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) {
    text.append(buffer, n);
  }
  ::pclose(pipe);
  std::vector<Txn> ours = read_txn_log(files.back());
  std::size_t at = 0;
  std::size_t theirs = 0;
  const std::regex line("session (0x[0-9a-f]+) cxid (0x[0-9a-f]+) zxid (0x[0-9a-f]+) (\\w+)([^\n]*)");
  for (std::sregex_iterator it(text.begin(), text.end(), line); it != std::sregex_iterator(); ++it, ++theirs) {
    const std::uint64_t zxid = std::stoull((*it)[3], nullptr, 16);
    if ((*it)[4] == "multi") {  // one line of theirs; ours are its parts, none where it failed
      while (at < ours.size() && static_cast<std::uint64_t>(ours[at].zxid) == zxid) {
        ++at;
      }
      continue;
    }
    ASSERT_LT(at, ours.size());
    EXPECT_EQ(static_cast<std::uint64_t>(ours[at].session), std::stoull((*it)[1], nullptr, 16));
    EXPECT_EQ(static_cast<std::uint64_t>(ours[at].zxid), zxid);
    if (!ours[at].path.empty()) {
      EXPECT_NE((*it)[5].str().find(ours[at].path), std::string::npos) << (*it)[0];
      EXPECT_EQ((*it)[4].str().substr(0, 3), ours[at].what.substr(0, 3)) << (*it)[0];
    }
    ++at;
  }
  EXPECT_GT(theirs, 5U);
  EXPECT_GE(ours.size(), at);
  EXPECT_LE(ours.size(), at + 3) << "more may have come meanwhile";
}

}  // namespace
}  // namespace limpet::test
