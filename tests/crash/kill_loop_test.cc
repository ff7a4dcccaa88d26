// kill -9 (and now and then SIGTERM) at random moments under load, with three real servers: nothing acknowledged is
// lost, what stands in ZooKeeper does not blink, all converges, in order, and the disk stays bounded. The servers'
// transaction log is the judge of all that was written.
// LIMPET_CRASH_ROUNDS and LIMPET_CRASH_SEED choose how many kills and which moments.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <thread>
#include <utility>

#include "tests/crash/daemon.h"
#include "tests/crash/history.h"
#include "tests/crash/log_judge.h"
#include "tests/crash/servers.h"
#include "tests/crash/strace.h"
#include "tests/support/zk_observer.h"

namespace limpet::test {

namespace {

constexpr int kClients = 3;
constexpr std::chrono::milliseconds kSessionTimeout(10'000);
constexpr int kSteady = 20;
constexpr char kLoopRoot[] = "/kill_loop";
constexpr std::uint64_t kDiskBound = 128u << 20;  // half of it is the history's, which long runs fill

// Changes things until `stop`; goes on after each kill, with a name of its own for the moment in which it came.
void work_in_loop(History& history, const std::atomic<bool>& stop) {
  while (!stop && history.change() != History::Outcome::unknown) {
  }
}

// Asks again and again for a name that is somebody else's, and gives it up again.
void covet(History& history, const std::atomic<bool>& stop) {
  while (!stop && history.change() != History::Outcome::unknown) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

// Registers names that are never touched again: their czxids must rise with their seq. Stays under the limit of 10,000.
constexpr int kMostOnce = 8'000;
void add_once(History& history, const std::atomic<bool>& stop, int& next) {
  while (!stop && next < kMostOnce && history.put("n-" + std::to_string(next++)) != History::Outcome::unknown) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

bool settled(const Daemon& daemon) {
  return poll_until([&] {
    const nlohmann::json status = daemon.status();
    return status.is_object() && status["zookeeper"]["state"] == "connected" && status["queue"]["depth"] == 0;
  });
}

// Notices when the whole machine stands still, as a virtual one does while its host is busy or copies it: the servers
// end every session then, and rightly.
class Standstill {
 public:
  Standstill() : thread_([this](const std::stop_token& stop) { watch(stop); }) {}
  std::chrono::milliseconds longest() const { return std::chrono::milliseconds(longest_ms_.load()); }

 private:
  void watch(const std::stop_token& stop) {
    auto before = std::chrono::steady_clock::now();
    while (!stop.stop_requested()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      const auto now = std::chrono::steady_clock::now();
      const auto gap = std::chrono::duration_cast<std::chrono::milliseconds>(now - std::exchange(before, now));
      longest_ms_ = std::max<std::int64_t>(longest_ms_, gap.count());
    }
  }

  std::atomic<std::int64_t> longest_ms_ = 0;
  std::jthread thread_;
};

class KillLoop : public ::testing::Test {
 protected:
  KillLoop()
      : daemon_(servers().connect_string(),
                {"--root", kLoopRoot, "--session-timeout", std::to_string(kSessionTimeout.count()) + "ms"}) {
    for (int i = 0; i < kClients; ++i) {
      clients_.push_back(std::make_unique<History>(daemon_.socket(), "c" + std::to_string(i), rng_.next()));
    }
  }

  std::vector<History*> everyone() {
    std::vector<History*> all = {&steady_, &once_, &covetous_};
    for (auto& client : clients_) {
      all.push_back(client.get());
    }
    return all;
  }

  void check_all();
  void one_round();
  void expect_znodes(ZkObserver& observer);
  void note_session();
  void judge_log();

  Rng rng_{static_cast<std::uint64_t>(number_from_environment("LIMPET_CRASH_SEED", 1))};
  Daemon daemon_;
  History steady_{daemon_.socket(), "steady", 1, 0};
  History once_{daemon_.socket(), "once", 2, 0};
  History covetous_{daemon_.socket(), "theirs", 3, 2};
  LogJudge judge_{kLoopRoot};
  std::vector<std::unique_ptr<History>> clients_;
  int next_once_ = 0;
  std::uint64_t most_bytes_ = 0;
  long stops_ = 0;  // by SIGTERM
  // From SIGKILL until it and the callers are gone: nothing of that is the agent's doing. A process that waits for the
  // disk does not die before it has answered, and on a machine that has just written or deleted a lot, that may take
  // longer than a session lasts.
  std::chrono::milliseconds longest_dying_{0};
};

void KillLoop::check_all() {
  UnixHttp http(daemon_.socket());
  const auto listing = list_all(http);
  ASSERT_TRUE(listing.has_value());
  for (History* history : everyone()) {
    history->check(*listing);
    for (const std::string& violation : history->violations()) {
      ADD_FAILURE() << violation;
    }
  }
}

void KillLoop::one_round() {
  std::atomic<bool> stop = false;
  std::vector<std::thread> threads;
  for (auto& client : clients_) {
    threads.emplace_back([&] { work_in_loop(*client, stop); });
  }
  threads.emplace_back([&] { add_once(once_, stop, next_once_); });
  threads.emplace_back([&] { covet(covetous_, stop); });
  std::this_thread::sleep_for(std::chrono::milliseconds(rng_.between(20, 400)));
  const auto before = std::chrono::steady_clock::now();
  bool killed = false;
  if (rng_.chance(0.2)) {
    daemon_.signal(SIGTERM);
    EXPECT_TRUE(daemon_.wait_ended(std::chrono::seconds(10)));
    EXPECT_EQ(daemon_.exit_code(), 0) << daemon_.log();
    ++stops_;
  } else {
    daemon_.kill();
    killed = true;
  }
  stop = true;
  for (std::thread& thread : threads) {
    thread.join();
  }
  if (killed) {
    const auto took = std::chrono::steady_clock::now() - before;
    longest_dying_ = std::max(longest_dying_, std::chrono::duration_cast<std::chrono::milliseconds>(took));
  }
  most_bytes_ = std::max(most_bytes_, bytes_below(daemon_.data_dir()));
}

void KillLoop::expect_znodes(ZkObserver& observer) {
  Listing wanted;
  for (History* history : everyone()) {
    wanted.merge(history->expected());
  }
  observer.sync();
  std::map<std::string, Znode> found = observer.tree(kLoopRoot);
  std::erase_if(found, [&](const auto& entry) {
    return entry.second.ephemeral_owner == 0 || entry.second.ephemeral_owner == observer.session();
  });
  EXPECT_EQ(found.size(), wanted.size());
  std::map<std::uint64_t, std::int64_t> czxid_by_seq;
  for (const auto& [id, shown] : wanted) {
    const auto it = found.find(std::string(kLoopRoot) + "/" + id);
    ASSERT_NE(it, found.end()) << id;
    EXPECT_EQ(it->second.data, shown.data) << id;
    if (id.starts_with("once/")) {
      czxid_by_seq[shown.seq] = it->second.czxid;
    }
  }
  std::int64_t before = 0;
  for (const auto& [seq, czxid] : czxid_by_seq) {
    EXPECT_GE(czxid, before) << "seq " << seq << " was created before one that was accepted earlier";
    before = czxid;
  }
}

void KillLoop::note_session() {
  const nlohmann::json status = daemon_.status();
  if (status["zookeeper"]["session"].is_string()) {
    judge_.add_session(
        static_cast<std::int64_t>(std::stoull(status["zookeeper"]["session"].get<std::string>(), nullptr, 16)));
  }
}

void KillLoop::judge_log() {
  for (const History* history : everyone()) {
    judge_.add(history->accepted());
  }
  for (const std::string& violation : judge_.judge(transactions_of(servers()))) {
    ADD_FAILURE() << violation;
  }
  EXPECT_GT(judge_.ordered(), 100U) << "too little was judged";
}

TEST_F(KillLoop, NothingIsLostNothingBlinks) {
  const long rounds = number_from_environment("LIMPET_CRASH_ROUNDS", 20);
  ASSERT_TRUE(daemon_.start()) << daemon_.log();
  std::vector<std::string> paths;
  for (int i = 0; i < kSteady; ++i) {
    const std::string name = "s-" + std::to_string(i);
    ASSERT_EQ(steady_.put(name), History::Outcome::acknowledged);
    paths.push_back(std::string(kLoopRoot) + "/steady/" + name);
  }
  ASSERT_TRUE(settled(daemon_)) << daemon_.log();
  ZkObserver observer(servers().connect_string());
  observer.record(paths);
  const Standstill standstill;
  for (const std::string name : {"i-0", "i-1"}) {
    const std::string path = std::string(kLoopRoot) + "/theirs/" + name;
    ASSERT_EQ(observer.create_with_parents(path, "theirs", name == "i-0"), 0);
    judge_.add_foreign(path);
  }
  note_session();
  std::int64_t slowest_start_ms = 0;
  for (long round = 0; round < rounds && !HasFatalFailure(); ++round) {
    one_round();
    const auto before = std::chrono::steady_clock::now();
    ASSERT_TRUE(daemon_.start()) << daemon_.log();
    const auto took = std::chrono::steady_clock::now() - before;
    slowest_start_ms =
        std::max<std::int64_t>(slowest_start_ms, std::chrono::duration_cast<std::chrono::milliseconds>(took).count());
    check_all();
    note_session();
    if (HasFailure()) {
      break;
    }
  }
  covetous_.remove("i-0");
  covetous_.remove("i-1");
  ASSERT_TRUE(settled(daemon_)) << daemon_.status().dump(2);
  expect_znodes(observer);
  note_session();
  judge_log();
  const std::chrono::milliseconds kept = std::max(standstill.longest(), longest_dying_);
  if (kept < kSessionTimeout / 2) {
    EXPECT_TRUE(observer.recorded().empty())
        << observer.recorded().size() << " events on znodes that nobody changed, first "
        << observer.recorded().front().what << "; the agent was kept from running for " << kept.count()
        << " ms at most\n"
        << daemon_.log();
  } else {
    std::printf("the agent was kept from running for %lld ms: its session may have ended, and a blink is not judged\n",
                static_cast<long long>(kept.count()));
  }
  std::uint64_t acknowledged = 0;
  for (History* history : everyone()) {
    acknowledged += history->acknowledged();
  }
  EXPECT_GT(acknowledged, static_cast<std::uint64_t>(rounds) * 10) << "too little happened for the run to count";
  EXPECT_LT(most_bytes_, kDiskBound);
  EXPECT_FALSE(std::filesystem::exists(daemon_.data_dir() + "/db/LOG"));
  std::printf(
      "kill loop: %ld kills, %ld stops, %llu changes acknowledged, %llu judged in order by the servers' log, slowest "
      "start %lld ms, most on disk %llu KiB\n",
      rounds - stops_, stops_, static_cast<unsigned long long>(acknowledged),
      static_cast<unsigned long long>(judge_.ordered()), static_cast<long long>(slowest_start_ms),
      static_cast<unsigned long long>(most_bytes_ / 1024));
}

// With the disk broken for longer than the session lasts, what is in ZooKeeper stays there.
TEST(BrokenDisk, WhatIsInZooKeeperStays) {
  if (const std::string why = why_no_strace(); !why.empty()) {
    GTEST_SKIP() << why;
  }
  const std::string root = "/broken_disk";
  Daemon daemon(servers().connect_string(), {"--root", root, "--session-timeout", "2s"});
  ASSERT_TRUE(daemon.start(inject(daemon, "fdatasync", "error=EIO:when=40+"))) << daemon.log();
  History history(daemon.socket(), "web", 1, 0);
  std::vector<std::string> paths;
  for (int i = 0; i < kSteady; ++i) {
    ASSERT_EQ(history.put("s-" + std::to_string(i)), History::Outcome::acknowledged);
    paths.push_back(root + "/web/s-" + std::to_string(i));
  }
  ASSERT_TRUE(settled(daemon)) << daemon.log();
  ZkObserver observer(servers().connect_string());
  observer.record(paths);
  const Standstill standstill;
  const nlohmann::json session = daemon.status()["zookeeper"]["session"];
  for (int i = 0; i < 60 && history.put("more") == History::Outcome::acknowledged; ++i) {
  }
  EXPECT_EQ(history.last_status(), 503);
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(6);
  while (std::chrono::steady_clock::now() < until) {
    EXPECT_EQ(history.put("more"), History::Outcome::unknown);
    EXPECT_EQ(daemon.status()["zookeeper"]["state"], "connected");
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
  }
  EXPECT_TRUE(observer.recorded().empty());
  daemon.kill();
  ASSERT_TRUE(daemon.start()) << daemon.log();
  ASSERT_TRUE(settled(daemon)) << daemon.log();
  EXPECT_EQ(daemon.status()["zookeeper"]["session"], session);
  EXPECT_TRUE(observer.recorded().empty());
  UnixHttp http(daemon.socket());
  history.check(list_all(http).value());
  EXPECT_TRUE(history.violations().empty());
}

}  // namespace

}  // namespace limpet::test
