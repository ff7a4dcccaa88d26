// Power cuts at random moments: every acknowledged change is there afterwards, and the store opens without help.
// LIMPET_POWERLOSS_ROUNDS and LIMPET_CRASH_SEED choose how many and which. With a log that is shown to RocksDB whole
// instead of up to its LogEnd, it does not start any more after some ten cuts.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>

#include "tests/crash/daemon.h"
#include "tests/crash/history.h"
#include "tests/crash/powerloss.h"
#include "tests/crash/servers.h"
#include "tests/support/zk_observer.h"

namespace limpet::test {

namespace {

constexpr char kPowerRoot[] = "/power_loss";

// What is changed, and for how long between two cuts: little and briefly, or so much that logs are written to their
// end, let go of, and used again (storage/rocks_log.h).
enum class Load { small, large };

// Changes things until `stop` or the agent's end.
void work_under_load(History& history, Load load, const std::atomic<bool>& stop) {
  auto large = [&, n = 0]() mutable { return history.put("large-" + std::to_string(n++ % 4), 60'000); };
  while (!stop && (load == Load::small || large() != History::Outcome::unknown) &&
         history.change() != History::Outcome::unknown) {
  }
}

struct Result {
  long rounds = 0;
  long refused_starts = 0;  // the store did not open without help
  std::uint64_t acknowledged = 0;
  std::uint64_t syncs = 0;
  std::uint64_t torn = 0;
  std::vector<std::string> violations;
};

// The znodes are, at the end, what is shown.
void compare_znodes(const Daemon& daemon, const Listing& listing, Result& result) {
  const bool settled = poll_until([&] {
    const nlohmann::json status = daemon.status();
    return status.is_object() && status["zookeeper"]["state"] == "connected" && status["queue"]["depth"] == 0;
  });
  ZkObserver observer(servers().connect_string());
  std::map<std::string, Znode> found = observer.tree(kPowerRoot);
  std::erase_if(found, [](const auto& entry) { return entry.second.ephemeral_owner == 0; });
  bool equal = settled && found.size() == listing.size();
  for (const auto& [id, shown] : listing) {
    const auto it = found.find(std::string(kPowerRoot) + "/" + id);
    equal = equal && it != found.end() && it->second.data == shown.data;
  }
  if (!equal) {
    result.violations.push_back("the znodes are not what was accepted: " + daemon.status().dump());
  }
}

enum class Fault { none, lying_disk };

// `zookeeper`: servers(), or nobody.
Result run(long rounds, std::uint64_t seed, const std::string& zookeeper, Load load, Fault fault = Fault::none) {
  const bool lying_disk = fault == Fault::lying_disk;
  Result result;
  Rng rng(seed);
  Daemon daemon(zookeeper, {"--root", kPowerRoot});
  PowerCut power(daemon, lying_disk);
  std::vector<std::unique_ptr<History>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_unique<History>(daemon.socket(), "c" + std::to_string(i), rng.next()));
  }
  for (result.rounds = 0; result.rounds < rounds; ++result.rounds) {
    if (!daemon.start(power.prepare())) {
      ++result.refused_starts;
      result.violations.push_back("round " + std::to_string(result.rounds) + ": it does not start: " + daemon.log());
      break;
    }
    UnixHttp http(daemon.socket());
    const auto listing = list_all(http);
    for (auto& client : clients) {
      client->check(listing.value());
    }
    std::atomic<bool> stop = false;
    std::vector<std::thread> threads;
    for (auto& client : clients) {
      threads.emplace_back([&] { work_under_load(*client, load, stop); });
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(rng.between(1, load == Load::small ? 150 : 3'000)));
    daemon.kill();
    stop = true;
    for (std::thread& thread : threads) {
      thread.join();
    }
    power.cut(rng);
  }
  if (result.refused_starts == 0 && daemon.start()) {
    UnixHttp http(daemon.socket());
    const auto listing = list_all(http);
    for (auto& client : clients) {
      client->check(listing.value());
    }
    if (zookeeper != Daemon::kUnreachable && listing) {
      compare_znodes(daemon, *listing, result);
    }
  } else if (result.refused_starts == 0) {
    ++result.refused_starts;
    result.violations.push_back("it does not start at the end: " + daemon.log());
  }
  for (auto& client : clients) {
    result.acknowledged += client->acknowledged();
    result.violations.insert(result.violations.end(), client->violations().begin(), client->violations().end());
  }
  result.syncs = power.syncs();
  result.torn = power.torn();
  return result;
}

std::uint64_t seed_of_run() {
  return static_cast<std::uint64_t>(number_from_environment("LIMPET_CRASH_SEED", 1));
}

void expect_nothing_lost(const char* what, const std::string& zookeeper, Load load = Load::small) {
  constexpr long kLessOfLarge = 3;
  const long rounds = number_from_environment("LIMPET_POWERLOSS_ROUNDS", 15) / (load == Load::small ? 1 : kLessOfLarge);
  const Result result = run(rounds, seed_of_run(), zookeeper, load);
  std::printf(
      "power loss, %s: %ld rounds, %llu changes acknowledged, %llu syncs, %llu files torn, %zu violations, seed %llu\n",
      what, result.rounds, static_cast<unsigned long long>(result.acknowledged),
      static_cast<unsigned long long>(result.syncs), static_cast<unsigned long long>(result.torn),
      result.violations.size(), static_cast<unsigned long long>(seed_of_run()));
  for (const std::string& violation : result.violations) {
    ADD_FAILURE() << violation;
  }
  EXPECT_GT(result.acknowledged, static_cast<std::uint64_t>(rounds) * 10) << "too little happened for the run to count";
}

TEST(PowerLoss, NothingAcknowledgedIsLost) {
  expect_nothing_lost("ZooKeeper away", Daemon::kUnreachable);
}

TEST(PowerLoss, NothingAcknowledgedIsLostInLogsThatAreUsedAgain) {
  expect_nothing_lost("large data", Daemon::kUnreachable, Load::large);
}

TEST(PowerLoss, NothingAcknowledgedIsLostWithZooKeeper) {
  expect_nothing_lost("ZooKeeper there", servers().connect_string());
}

// The first start, cut off anywhere: there is nothing yet that could be lost, but the next one must work_under_load.
TEST(PowerLoss, FirstStartCanBeCutOff) {
  Rng rng(seed_of_run());
  const long rounds = number_from_environment("LIMPET_POWERLOSS_ROUNDS", 15);
  for (long round = 0; round < rounds; ++round) {
    Daemon daemon;
    PowerCut power(daemon);
    Injection injection = power.prepare();
    std::thread killer([&, delay = rng.between(2, 60)] {
      std::this_thread::sleep_for(std::chrono::milliseconds(delay));
      daemon.signal(SIGKILL);
    });
    daemon.start(injection);
    killer.join();
    daemon.kill();
    power.cut(rng);
    ASSERT_TRUE(daemon.start()) << "round " << round << "\n" << daemon.log();
    History history(daemon.socket(), "web", 1);
    EXPECT_EQ(history.put("i-0"), History::Outcome::acknowledged);
  }
}

// The test itself is on trial: with a disk that does not keep what it says it keeps, it must find a loss.
TEST(PowerLoss, LyingDiskIsNoticed) {
  const Result result = run(10, seed_of_run(), Daemon::kUnreachable, Load::small, Fault::lying_disk);
  EXPECT_FALSE(result.violations.empty());
}

}  // namespace

}  // namespace limpet::test
