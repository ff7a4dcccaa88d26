// Chaos: clients with known histories against the real agent on real servers, while servers and the agent are killed,
// frozen, cut off and restarted at random. At the end everything agrees, or the test fails and says with which seed.
//
// LIMPET_CHAOS_SECONDS (30) is how long faults are made, LIMPET_CHAOS_SEED (of the clock) what the choices hang on. The
// processes' own timing is not in our hands: a seed repeats the faults, not every interleaving. A run in which too
// little was accepted, or too few faults of a kind happened, does not pass.
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "tests/crash/log_judge.h"
#include "tests/support/agent_process.h"
#include "tests/support/real_ensemble.h"
#include "tests/support/rng.h"
#include "tests/support/txn_log.h"
#include "tests/support/zk_observer.h"
#include "tests/support/zk_proxy.h"

namespace limpet::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr std::size_t kKinds = 11;  // of faults
constexpr int kClients = 3;
constexpr int kNames = 25;  // of each client
constexpr const char* kRoot = "/chaos";

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

// What one client knows of one name: what stands for certain, and what may have happened since, with an unknown
// outcome.
struct Known {
  std::optional<std::string> data;  // nullopt: deregistered
  std::uint64_t seq = 0;
  bool certain = true;
  std::optional<std::string> maybe;
};

// Registers, updates and deregisters its own names, one call after another.
class Client {
 public:
  Client(int number, std::uint64_t seed, std::string socket) : number_(number), rng_(seed), http_(std::move(socket)) {}

  void run(const std::atomic<bool>& stop) {
    while (!stop) {
      step();
      std::this_thread::sleep_for(milliseconds(rng_.between(5, 30)));
    }
  }

  std::string path(int name) const { return std::string(kRoot) + "/" + service() + "/" + std::to_string(name); }
  std::string target(int name) const { return "/v1/registrations/" + service() + "/" + std::to_string(name); }
  const Known& known(int name) const { return known_[static_cast<std::size_t>(name)]; }
  int removals_asked(int name) const { return removals_[static_cast<std::size_t>(name)]; }
  int acknowledged() const { return acknowledged_; }
  int unknown() const { return unknown_; }
  std::int64_t slowest_ms() const { return slowest_ms_; }
  const std::vector<std::string>& complaints() const { return complaints_; }
  // All that may have reached ZooKeeper, in the order in which it was asked for.
  const std::vector<Accepted>& accepted() const { return accepted_; }

  // Whatever is uncertain becomes certain: asks again for what was asked for last.
  void settle_unknown() {
    for (int name = 0; name < kNames; ++name) {
      for (int tries = 0; !known(name).certain && tries < 100; ++tries) {
        known_[static_cast<std::size_t>(name)].maybe ? put(name, *known(name).maybe) : remove(name);
      }
    }
  }

 private:
  std::string service() const { return "c" + std::to_string(number_); }

  void step() {
    const int name = static_cast<int>(rng_.below(kNames));
    const Known& one = known(name);
    if (!one.certain) {
      // Repeating what is unknown is safe, whatever became of it.
      one.maybe ? put(name, *one.maybe) : remove(name);
    } else if (one.data && rng_.chance(0.35)) {
      remove(name);
    } else {
      put(name, "v" + std::to_string(++version_));
    }
  }

  void put(int name, std::string data) {
    const auto answer = timed([&] { return http_.put(target(name), "{\"data\":\"" + data + "\"}"); });
    take(name, answer, std::move(data));
  }
  void remove(int name) {
    ++removals_[static_cast<std::size_t>(name)];
    const auto answer = timed([&] { return http_.del(target(name)); });
    take(name, answer, std::nullopt);
  }

  template <typename Call>
  HttpAnswer timed(Call call) {
    const auto before = steady_clock::now();
    HttpAnswer answer = call();
    if (answer.status != 0) {
      const auto took = std::chrono::duration_cast<milliseconds>(steady_clock::now() - before).count();
      slowest_ms_ = std::max<std::int64_t>(slowest_ms_, took);
    }
    return answer;
  }

  void take(int name, const HttpAnswer& answer, std::optional<std::string> data) {
    Known& one = known_[static_cast<std::size_t>(name)];
    const std::string id = service() + "/" + std::to_string(name);
    const bool gone = !data && answer.status == 404;  // a removal that had happened already
    if (answer.status == 200 || answer.status == 202 || gone) {
      if (!gone) {
        const auto body = answer.json();
        const std::uint64_t seq = body.is_object() ? body.value("seq", std::uint64_t{0}) : 0;
        if (seq != 0 && seq < newest_) {
          // Only a repetition of what stood may answer with an old number.
          if (one.certain) {
            complaints_.push_back(target(name) + ": seq " + std::to_string(seq) + " after " + std::to_string(newest_));
          }
        }
        newest_ = std::max(newest_, seq);
        one.seq = seq;
        accepted_.push_back({id, data, seq});
      }
      one.data = std::move(data);
      one.certain = true;
      ++acknowledged_;
      return;
    }
    if (answer.status != 0 && answer.status != 503) {
      complaints_.push_back(target(name) + ": " + std::to_string(answer.status) + " " + answer.body);
      return;
    }
    accepted_.push_back({id, data, std::nullopt});
    one.certain = false;
    one.maybe = std::move(data);
    ++unknown_;
  }

  const int number_;
  Rng rng_;
  UnixHttp http_;
  Known known_[kNames];
  int removals_[kNames] = {};
  int version_ = 0;
  int acknowledged_ = 0;
  int unknown_ = 0;
  std::uint64_t newest_ = 0;
  std::int64_t slowest_ms_ = 0;
  std::vector<std::string> complaints_;
  std::vector<Accepted> accepted_;
};

// The faults, and how often each was really made.
class Troublemaker {
 public:
  Troublemaker(RealEnsemble& servers, std::vector<std::unique_ptr<ZkProxy>>& proxies, AgentProcess& agent, Rng rng)
      : servers_(servers), proxies_(proxies), agent_(agent), rng_(rng) {}

  // One fault and its end; a few seconds at most. In turns, in an order that the seed decides.
  void once() {
    if (order_.empty()) {
      order_ = {"agent_kill",  "agent_kill",    "agent_restart", "agent_freeze", "leader_kill", "follower_kill",
                "quorum_kill", "server_freeze", "cut",           "half_open",    "lost_reply",  "session_denied"};
      for (std::size_t i = order_.size(); i > 1; --i) {
        std::swap(order_[i - 1], order_[rng_.below(i)]);
      }
    }
    const std::string kind = order_.back();
    order_.pop_back();
    if (make(kind)) {
      ++made_[kind];
    }
    heal();
  }

  const std::map<std::string, int>& made() const { return made_; }
  bool agent_failed() const { return agent_failed_; }

  void heal() {
    for (const auto& proxy : proxies_) {
      proxy->forget();
      proxy->set_mode(ZkProxy::Mode::pass);
    }
    servers_.restore();
  }

 private:
  bool make(const std::string& kind) {
    const auto leader = servers_.leader();
    const int server = static_cast<int>(rng_.below(3));
    ZkProxy& proxy = *proxies_[static_cast<std::size_t>(server)];
    const std::uint64_t before = fired();
    if (kind == "agent_kill") {
      agent_.kill();
      start_agent();
    } else if (kind == "agent_restart") {
      agent_failed_ = agent_failed_ || agent_.terminate() != 0;
      start_agent();
    } else if (kind == "agent_freeze") {
      agent_.signal(SIGSTOP);
      sleep(500, 2'500);
      agent_.signal(SIGCONT);
    } else if (kind == "leader_kill" && leader) {
      servers_.kill(*leader);
      sleep(100, 1'500);
    } else if (kind == "follower_kill" && leader) {
      servers_.kill((*leader + 1) % 3);
      sleep(100, 1'500);
    } else if (kind == "quorum_kill" && leader) {
      servers_.kill_quorum();
      sleep(500, 3'000);
      if (rng_.chance(0.5)) {
        agent_.kill();
        start_agent();
      }
    } else if (kind == "server_freeze") {
      servers_.stop(server);
      sleep(500, 3'000);
    } else if (kind == "cut") {
      for (const auto& one : proxies_) {
        one->cut();
      }
      sleep(50, 300);
    } else if (kind == "half_open") {
      proxy.set_mode(ZkProxy::Mode::stall);
      sleep(500, 4'000);
    } else if (kind == "session_denied") {
      // It is told that its session has expired, which lives on, with all its znodes, for a time-out.
      for (const auto& one : proxies_) {
        one->deny_session();
        one->cut();
      }
      return fires(before);
    } else if (kind == "lost_reply") {
      for (const auto& one : proxies_) {
        one->lose_reply({ZkOpcode::create2, ZkOpcode::set_data, ZkOpcode::remove, ZkOpcode::multi}, 1,
                        rng_.chance(0.3));
      }
      return fires(before);
    } else {
      return false;
    }
    return true;
  }

  std::uint64_t fired() const {
    std::uint64_t sum = 0;
    for (const auto& one : proxies_) {
      sum += one->counts().fired;
    }
    return sum;
  }
  // Waits until a proxy did what it was told to, however long the servers' election takes, and then until the agent has
  // had time to act on it. False if no proxy did.
  bool fires(std::uint64_t before) {
    const auto until = steady_clock::now() + seconds(20);
    while (fired() == before && steady_clock::now() < until) {
      std::this_thread::sleep_for(milliseconds(10));
    }
    sleep(200, 1'000);
    return fired() > before;
  }
  void start_agent() { agent_failed_ = agent_failed_ || !agent_.start(); }
  void sleep(int from_ms, int to_ms) { std::this_thread::sleep_for(milliseconds(rng_.between(from_ms, to_ms))); }

  RealEnsemble& servers_;
  std::vector<std::unique_ptr<ZkProxy>>& proxies_;
  AgentProcess& agent_;
  Rng rng_;
  std::vector<std::string> order_;
  std::map<std::string, int> made_;
  bool agent_failed_ = false;
};

// The sessions that the agent says it has held.
std::set<std::int64_t> sessions_of(const AgentProcess& agent) {
  std::set<std::int64_t> sessions;
  const std::string log = agent.log();
  const std::string mark = "session=0x";
  for (std::size_t at = log.find(mark); at != std::string::npos; at = log.find(mark, at + 1)) {
    sessions.insert(static_cast<std::int64_t>(std::strtoull(log.c_str() + at + mark.size(), nullptr, 16)));
  }
  return sessions;
}

std::string line_of(const Txn& txn) {
  char line[200];
  std::snprintf(line, sizeof line, "\n  zxid 0x%llx session 0x%llx %s, %lld ms",
                static_cast<unsigned long long>(txn.zxid), static_cast<unsigned long long>(txn.session),
                txn.what.c_str(), static_cast<long long>(txn.milliseconds));
  return line;
}

// In the servers' log: nothing of ours was touched by strangers or the other way round, nothing was deleted that nobody
// had deregistered, and nothing was created anew for no reason. A session that ended explains one of each. All in the
// order in which it was accepted; how many changes could be held to that is returned.
std::uint64_t judge_log(const std::vector<Txn>& txns, const std::set<std::int64_t>& ours,
                        const std::vector<std::unique_ptr<Client>>& clients) {
  std::map<std::string, int> created;
  std::map<std::string, int> deleted;
  std::map<std::string, std::string> story;
  for (const Txn& txn : txns) {
    if (txn.path.starts_with(kRoot)) {
      story[txn.path] += line_of(txn);
      EXPECT_TRUE(ours.contains(txn.session)) << txn.what << " " << txn.path << " by a stranger";
      created[txn.path] += txn.what == "create" ? 1 : 0;
      deleted[txn.path] += txn.what == "delete" ? 1 : 0;
    }
  }
  const int ended = static_cast<int>(ours.size()) - 1;
  for (const auto& client : clients) {
    for (int name = 0; name < kNames; ++name) {
      const std::string path = client->path(name);
      EXPECT_LE(deleted[path], client->removals_asked(name) + ended) << path << story[path];
      EXPECT_LE(created[path], deleted[path] + 1 + ended) << path << story[path];
    }
  }
  LogJudge judge(kRoot);
  for (const std::int64_t session : ours) {
    judge.add_session(session);
  }
  for (const auto& client : clients) {
    judge.add(client->accepted());
  }
  for (const std::string& violation : judge.judge(txns)) {
    ADD_FAILURE() << violation;
  }
  return judge.ordered();
}

// Accepted without a quorum, with a kill -9 in the middle: afterwards created in the order in which it was accepted.
void expect_order_after_outage(RealEnsemble& servers, AgentProcess& agent, Rng rng) {
  constexpr int kCount = 100;
  servers.kill_quorum();
  std::vector<std::string> names;
  for (int i = 0; i < kCount; ++i) {
    names.push_back(std::to_string(i));
  }
  for (std::size_t i = names.size(); i > 1; --i) {
    std::swap(names[i - 1], names[rng.below(i)]);
  }
  for (int i = 0; i < kCount; ++i) {
    if (i == kCount / 2) {
      agent.kill();
      ASSERT_TRUE(agent.start());
    }
    const auto answer =
        UnixHttp(agent.socket()).put("/v1/registrations/order/" + names[static_cast<std::size_t>(i)], "{}");
    ASSERT_EQ(answer.status, 202) << answer.body;
  }
  ASSERT_TRUE(servers.restore());
  ASSERT_TRUE(agent.wait_settled(seconds(60))) << agent.status().dump();
  ZkObserver observer(servers.connect_string());
  observer.sync();
  const auto tree = observer.tree(std::string(kRoot) + "/order");
  ASSERT_EQ(tree.size(), static_cast<std::size_t>(kCount));
  for (std::size_t i = 1; i < names.size(); ++i) {
    const std::string path = std::string(kRoot) + "/order/";
    EXPECT_LE(tree.at(path + names[i - 1]).czxid, tree.at(path + names[i]).czxid) << names[i];
  }
}

TEST(Chaos, EverythingAgreesInTheEnd) {
  const std::uint64_t seed =
      number_from("LIMPET_CHAOS_SEED",
                  static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch() / milliseconds(1)));
  const seconds length(static_cast<std::int64_t>(number_from("LIMPET_CHAOS_SECONDS", 30)));
  std::printf("chaos: seed %llu, %lld s\n", static_cast<unsigned long long>(seed),
              static_cast<long long>(length.count()));
  std::fflush(stdout);
  Rng rng(seed);

  RealEnsemble servers;
  RealEnsemble::started(servers);
  std::vector<std::unique_ptr<ZkProxy>> proxies;
  std::string list;
  for (int i = 0; i < servers.size(); ++i) {
    proxies.push_back(std::make_unique<ZkProxy>(servers.address(i), 10 + i));
    list += (i == 0 ? "" : ",") + proxies.back()->address();
  }
  AgentProcess agent(list, {"--root", kRoot, "--session-timeout", "6s"});
  ASSERT_TRUE(agent.start()) << agent.log();

  std::vector<std::unique_ptr<Client>> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(std::make_unique<Client>(i, rng.next(), agent.socket()));
  }
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (const auto& client : clients) {
    threads.emplace_back([&stop, &client] { client->run(stop); });
  }
  Troublemaker trouble(servers, proxies, agent, rng.fork());
  const auto until = steady_clock::now() + length;
  // A slow machine gets the time it takes to make each fault once.
  while (steady_clock::now() < until || (trouble.made().size() < kKinds && steady_clock::now() < until + seconds(60))) {
    trouble.once();
    std::this_thread::sleep_for(milliseconds(rng.between(100, 700)));
  }
  stop = true;
  for (std::thread& thread : threads) {
    thread.join();
  }
  trouble.heal();
  ASSERT_FALSE(trouble.agent_failed()) << agent.log();
  for (const auto& client : clients) {
    client->settle_unknown();
  }
  ASSERT_TRUE(agent.wait_settled(seconds(60))) << agent.status().dump() << agent.log();

  // Accepted == shown == in ZooKeeper, by path, data and session.
  ZkObserver observer(servers.connect_string());
  const auto session = std::stoull(agent.status()["zookeeper"]["session"].get<std::string>(), nullptr, 16);
  std::map<std::string, std::string> wanted;
  int acknowledged = 0;
  int unknown = 0;
  std::int64_t slowest_ms = 0;
  UnixHttp http(agent.socket());
  for (const auto& client : clients) {
    acknowledged += client->acknowledged();
    unknown += client->unknown();
    slowest_ms = std::max(slowest_ms, client->slowest_ms());
    for (const std::string& complaint : client->complaints()) {
      ADD_FAILURE() << complaint;
    }
    for (int name = 0; name < kNames; ++name) {
      const Known& known = client->known(name);
      ASSERT_TRUE(known.certain) << client->target(name);
      const auto shown = http.get(client->target(name));
      EXPECT_EQ(shown.status, known.data ? 200 : 404) << shown.body;
      if (known.data) {
        wanted[client->path(name)] = *known.data;
        EXPECT_EQ(shown.json()["data"], *known.data) << shown.body;
        EXPECT_EQ(shown.json()["state"], "registered") << shown.body;
      }
    }
  }
  observer.sync();
  std::map<std::string, std::string> found;
  for (const auto& [path, znode] : observer.tree(kRoot)) {
    if (znode.ephemeral_owner != 0) {
      found[path] = znode.data;
      EXPECT_EQ(static_cast<std::uint64_t>(znode.ephemeral_owner), session) << path;
    }
  }
  EXPECT_EQ(found, wanted);

  const auto ours = sessions_of(agent);
  const std::uint64_t ordered = judge_log(transactions_of(servers), ours, clients);
  EXPECT_GT(ordered, 0U);
  expect_order_after_outage(servers, agent, rng.fork());
  std::printf(
      "chaos: %d changes acknowledged, %d unknown and repeated, %llu judged in order by the servers' log, "
      "slowest answer %lld ms, %zu sessions;",
      acknowledged, unknown, static_cast<unsigned long long>(ordered), static_cast<long long>(slowest_ms), ours.size());
  for (const auto& [kind, times] : trouble.made()) {
    std::printf(" %s %d", kind.c_str(), times);
  }
  std::printf("\n");
  // The gate: a run in which nothing happened proves nothing. A round of all faults takes some 25 s.
  const int rounds = static_cast<int>(length.count() / 60);
  EXPECT_GE(acknowledged, 10 * length.count()) << "too little was accepted for this run to count";
  for (const char* kind : {"agent_kill", "agent_restart", "agent_freeze", "leader_kill", "follower_kill", "quorum_kill",
                           "server_freeze", "cut", "half_open", "lost_reply", "session_denied"}) {
    const auto times = trouble.made().find(kind);
    EXPECT_GE(times == trouble.made().end() ? 0 : times->second, std::max(rounds, 1)) << kind;
  }
  if (::testing::Test::HasFailure()) {
    std::printf("chaos: repeat it with LIMPET_CHAOS_SEED=%llu LIMPET_CHAOS_SECONDS=%lld\n%s\n",
                static_cast<unsigned long long>(seed), static_cast<long long>(length.count()), agent.log().c_str());
  }
}

}  // namespace
}  // namespace limpet::test
