// Row A7: a long outage with ten thousand changes queued. LIMPET_OUTAGE_SECONDS says how long, 5 in a short run.
#include <cstdio>
#include <filesystem>

#include "tests/faults/fixture.h"

namespace limpet::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr int kNames = 9'000;
constexpr int kUpdates = 1'000;

class Queue : public Faults {
 protected:
  // Registers web/i-<from> … in batches of 500.
  static void put_many(AgentProcess& agent, int from, int to, const std::string& data) {
    UnixHttp http(agent.socket());
    while (from < to) {
      auto operations = nlohmann::json::array();
      for (; from < to && operations.size() < 500; ++from) {
        operations.push_back({{"op", "register"}, {"service", "web"}, {"instance", name(from)}, {"data", data}});
      }
      const auto answer = http.post("/v1/batch", nlohmann::json{{"operations", operations}}.dump());
      ASSERT_EQ(answer.status, 202) << answer.body;
    }
  }
  static std::uint64_t bytes_below(const std::string& directory) {
    std::uint64_t sum = 0;
    std::error_code error;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(directory, error)) {
      sum += entry.is_regular_file(error) ? entry.file_size(error) : 0;
    }
    return sum;
  }
  // seq -> path, of all registrations.
  std::map<std::uint64_t, std::string> by_seq(AgentProcess& agent) const {
    std::map<std::uint64_t, std::string> all;
    UnixHttp http(agent.socket());
    const auto answer = http.get("/v1/registrations?limit=10000").json();
    for (const auto& one : answer["registrations"]) {
      all[one["seq"]] = one["path"];
    }
    return all;
  }
};

TEST_F(Queue, A7_TenThousand) {
  const char* text = std::getenv("LIMPET_OUTAGE_SECONDS");
  const seconds length(text != nullptr ? std::atoi(text) : 5);
  // Of their own: those of the fixture take no packet that could end so large a session.
  RealEnsemble servers;
  RealEnsemble::started(servers);
  auto agent = make_agent("10s", servers.connect_string());
  ASSERT_TRUE(agent->start()) << agent->log();
  ASSERT_TRUE(agent->wait_connected()) << agent->log();
  servers.kill_quorum();
  ASSERT_TRUE(agent->wait_status([](const auto& s) { return s["zookeeper"]["state"] != "connected"; }));
  put_many(*agent, 0, kNames, "first");
  put_many(*agent, 0, kUpdates, "second");  // each supersedes what waits
  EXPECT_EQ(agent->status()["queue"]["last_seq"], kNames + kUpdates);
  EXPECT_EQ(agent->status()["queue"]["depth"], kNames);
  const auto cpu_before = agent->cpu_time();
  std::size_t most_resident = 0;
  std::uint64_t most_on_disk = 0;
  const auto before = steady_clock::now();
  while (steady_clock::now() - before < length) {
    most_resident = std::max(most_resident, agent->resident_bytes());
    most_on_disk = std::max(most_on_disk, bytes_below(agent->data_dir()));
    pause(500);
  }
  const double cpu = std::chrono::duration<double>(agent->cpu_time() - cpu_before) / (steady_clock::now() - before);
  EXPECT_LT(most_resident, (64u << 20) + 2'048u * kNames);
  EXPECT_LT(most_on_disk, 64u << 20);
  EXPECT_LT(cpu, 0.05) << "of a core";
  ASSERT_TRUE(servers.restore()) << servers.console();
  const auto served = steady_clock::now();
  ASSERT_TRUE(agent->wait_settled(seconds(180))) << agent->status().dump();
  const auto took = std::chrono::duration_cast<milliseconds>(steady_clock::now() - served);
  std::printf(
      "queue: %d changes, %lld s: CPU %.2f %% of a core, %zu MiB resident, %llu KiB on disk, drained in %lld ms\n",
      kNames + kUpdates, static_cast<long long>(length.count()), cpu * 100, most_resident >> 20,
      static_cast<unsigned long long>(most_on_disk >> 10), static_cast<long long>(took.count()));
  ZkObserver observer(servers.connect_string());
  observer.sync();
  const Tree tree = observer.tree(root());
  EXPECT_EQ(tree.size(), kNames + 1U) << "with their parent";
  std::int64_t newest = 0;
  const auto seqs = by_seq(*agent);
  EXPECT_EQ(seqs.size(), static_cast<std::size_t>(kNames));
  for (const auto& [seq, path] : seqs) {
    ASSERT_TRUE(tree.contains(path)) << path;
    const Znode& znode = tree.at(path);
    EXPECT_EQ(znode.version, 0) << "what was superseded is never sent";
    EXPECT_EQ(znode.data, seq > kNames ? "second" : "first");
    EXPECT_GE(znode.czxid, newest) << "seq " << seq << " came before one that was accepted earlier";
    newest = znode.czxid;
  }
}

}  // namespace
}  // namespace limpet::test
