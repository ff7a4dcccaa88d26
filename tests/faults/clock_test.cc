// Rows A14 and B42: wall clocks that are wrong and that jump, the servers' and the agent's. Nothing hangs on them.
#include <algorithm>
#include <fstream>

#include "tests/faults/fixture.h"
#include "tests/support/preload.h"

namespace limpet::test {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kHour = 3'600 * kSecond;

class Clocks : public Faults {
 protected:
  // From now on that clock is so many nanoseconds off.
  static void put_off(const std::string& file, std::int64_t by) {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    if (!stream) {
      stream.open(file, std::ios::out | std::ios::binary);
    }
    stream.write(reinterpret_cast<const char*>(&by), sizeof by);
  }
};

TEST_F(Clocks, A14_TheServersClocksAreHoursApartAndJump) {
  RealEnsemble::Options options;
  options.clock_shim = CLOCK_SHIM;
  RealEnsemble servers(options);
  for (int i = 0; i < 3; ++i) {
    put_off(servers.clock_file(i), 0);
  }
  RealEnsemble::started(servers);
  auto agent = make_agent("6s", servers.connect_string());
  ASSERT_TRUE(agent->start()) << agent->log();
  put(*agent, 0, 20);
  ASSERT_TRUE(agent->wait_settled()) << agent->log();
  const auto id = session(*agent);
  int next = 20;
  for (const int sign : {1, -1, 0}) {
    for (int i = 0; i < 3; ++i) {
      put_off(servers.clock_file(i), sign * (i - 1) * kHour);
    }
    put(*agent, next, next + 10);
    pause(2'000);
    servers.kill(servers.leader().value());
    put(*agent, next + 10, next + 20);
    ASSERT_TRUE(servers.restore()) << servers.console();
    next += 20;
    ASSERT_TRUE(agent->wait_settled()) << agent->status().dump();
  }
  EXPECT_EQ(session(*agent), id);
  ZkObserver observer(servers.connect_string());
  observer.sync();
  EXPECT_EQ(observer.children(root() + "/web").size(), static_cast<std::size_t>(next));
  std::vector<std::string> directories;
  for (int i = 0; i < 3; ++i) {
    directories.push_back(servers.data_directory(i));
  }
  auto txns = read_txn_logs(directories);
  std::erase_if(txns, [&](const Txn& txn) { return !txn.path.starts_with(root() + "/"); });
  EXPECT_EQ(count(txns, "delete"), 0U);
  EXPECT_EQ(count(txns, "create"), static_cast<std::size_t>(next) + 1) << "each once, and their parent";
  const auto by_time = [](const Txn& a, const Txn& b) { return a.milliseconds < b.milliseconds; };
  const auto [first, last] = std::minmax_element(txns.begin(), txns.end(), by_time);
  RecordProperty("minutes_apart", std::to_string((last->milliseconds - first->milliseconds) / 60'000));
  if (last->milliseconds - first->milliseconds < 60'000) {
    GTEST_SKIP() << "no leader's clock was off, or the machine's Java does not ask for the time in this way";
  }
}

TEST_F(Clocks, B42_TheAgentsOwnClockJumps) {
  auto agent = make_agent("4s");
  const std::string clock = agent->directory() + "/clock";
  agent->environment = {preload(CLOCK_SHIM), "LIMPET_CLOCK=" + clock};
  put_off(clock, 0);
  ASSERT_TRUE(agent->start()) << agent->log();
  put(*agent, 0, 20);
  // Lives by a heartbeat that does not come; its minute is no minute of that clock.
  const std::string held = "/v1/registrations/held/by-ttl";
  ASSERT_EQ(UnixHttp(agent->socket()).put(held, R"({"data":"x","ttl":"60s"})").status, 202);
  ASSERT_TRUE(agent->wait_settled()) << agent->log();
  const auto id = session(*agent);
  const Tree before = registered();
  const auto connects = sums().handshakes;
  const std::string today = show(*agent, 0)["accepted_at"];
  int next = 20;
  for (const std::int64_t by : {24 * kHour, -24 * kHour, kSecond, -kSecond, std::int64_t{0}}) {
    put_off(clock, by);
    put(*agent, next, next + 1);
    ASSERT_TRUE(agent->wait_settled());
    const std::string day = show(*agent, next)["accepted_at"];
    if (by == 24 * kHour) {
      EXPECT_NE(day.substr(0, 10), today.substr(0, 10)) << "the clock did not jump";
    }
    ++next;
  }
  for (int i = 0; i < 40; ++i) {  // forth and back for longer than half of the time-out
    put_off(clock, i % 2 == 0 ? kSecond : -kSecond);
    pause(60);
  }
  EXPECT_EQ(session(*agent), id);
  EXPECT_EQ(sums().handshakes, connects) << "the connection was given up";
  const Tree after = registered();
  EXPECT_EQ(after.size(), static_cast<std::size_t>(next) + 1);
  for (const auto& [path, znode] : before) {
    ASSERT_TRUE(after.contains(path)) << path;
    EXPECT_EQ(after.at(path), znode);
  }
}

// A host without a clock of its own is in 1970 until NTP has set it.
TEST_F(Clocks, AgentThatBegan1970KeepsItsRegistrationsAndHistoryWhenTheClockIsSet) {
  auto agent = make_agent("6s", "127.0.0.1:1");
  const std::string clock = agent->directory() + "/clock";
  agent->environment = {preload(CLOCK_SHIM), "LIMPET_CLOCK=" + clock};
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  put_off(clock, -std::chrono::duration_cast<std::chrono::nanoseconds>(now).count() + 60 * kSecond);
  ASSERT_TRUE(agent->start()) << agent->log();
  const auto answer = UnixHttp(agent->socket()).put(target(0), R"({"data":"x","expires":"24h"})");
  ASSERT_EQ(answer.status, 202) << answer.body;
  EXPECT_EQ(answer.json()["accepted_at"].get<std::string>().substr(0, 4), "1970");
  for (int i = 0; i < 6; ++i) {  // a table of the history each
    agent->kill();
    if (i == 3) {
      put_off(clock, 0);
    }
    ASSERT_TRUE(agent->start()) << agent->log();
  }
  EXPECT_EQ(state(*agent, 0), "pending") << "nobody knows how long it has been there";
  const auto history = UnixHttp(agent->socket()).get("/v1/history?service=web").json();
  ASSERT_EQ(history["entries"].size(), 1U) << history.dump();
  EXPECT_EQ(history["entries"][0]["what"], "accepted");
}

}  // namespace
}  // namespace limpet::test
