// Rows A11, A12, A20, A35, and what befalls sessions and whole ensembles: expiry at bad moments, a session that another
// process holds, servers wiped or set back, a data directory that was copied.
#include <signal.h>

#include <algorithm>
#include <filesystem>
#include <thread>

#include "storage/rocks_store.h"
#include "tests/faults/fixture.h"

namespace limpet::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

class Sessions : public Faults {
 protected:
  // What the agent keeps on disk about its session, read from a copy: the store of a running agent is locked.
  static Session stored_session(const AgentProcess& agent) {
    const std::string copy = agent.directory() + "/copy";
    fs::remove_all(copy);
    fs::copy(agent.data_dir(), copy, fs::copy_options::recursive);
    auto store = RocksStore::open(copy);
    EXPECT_TRUE(store.ok()) << store.status().message();
    auto loaded = (*store)->load();
    EXPECT_TRUE(loaded.ok() && loaded->session);
    return loaded->session.value_or(Session{});
  }
  static bool new_session(AgentProcess& agent, std::uint64_t old) {
    return agent.wait_status([&](const auto& s) {
      return s["zookeeper"]["state"] == "connected" && s["queue"]["depth"] == 0 && session(agent) != old;
    });
  }
  std::vector<std::string> paths(int from, int to) const {
    std::vector<std::string> all;
    for (int i = from; i < to; ++i) {
      all.push_back(path(i));
    }
    return all;
  }
};

TEST_F(Sessions, A11_A12_ExpiryAgainAndAgainAlsoDuringTheReplay) {
  auto agent = start_agent("10s");
  put(*agent, 0, 150);
  ASSERT_TRUE(agent->wait_settled());
  for (int round = 0; round < rounds(6); ++round) {
    const auto old = session(*agent);
    const Session stored = stored_session(*agent);
    ASSERT_EQ(static_cast<std::uint64_t>(stored.id.value), old);
    ZkObserver::end_session(ensemble().connect_string(), stored);
    if (round % 2 == 1) {
      // Once more, as soon as there is a new session: in the midst of the replay.
      ASSERT_TRUE(agent->wait_status(
          [&](const auto& s) { return s["zookeeper"]["state"] == "connected" && session(*agent) != old; }));
      ZkObserver::end_session(ensemble().connect_string(), stored_session(*agent));
      pause(static_cast<int>(round % 5) * 20);
    }
    ASSERT_TRUE(new_session(*agent, old)) << agent->status().dump();
    ASSERT_TRUE(eventually([&] { return registered().size() == 150 && agent->wait_settled(); }, seconds(10)));
    expect_exactly(*agent, 0, 150);
    expect_created_in_order(registered(), paths(0, 150));
    if (HasFailure()) {
      break;
    }
  }
}

TEST_F(Sessions, A20_A35_ZnodesOfOurOwnEarlierSessionAreReplacedInOrder) {
  auto agent = start_agent("10s");
  put(*agent, 0, 60);
  ASSERT_TRUE(agent->wait_settled());
  const auto old = session(*agent);
  const Tree before = registered();
  // It is told that its session has expired; in truth it lives, and all znodes stand.
  for (const auto& one : proxies_) {
    one->deny_session();
  }
  proxy(proxy_of(*agent)).cut();
  ASSERT_TRUE(new_session(*agent, old)) << agent->status().dump() << UnixHttp(agent->socket()).get("/v1/queue").body
                                        << agent->log();
  ASSERT_TRUE(eventually([&] { return agent->status()["registrations"]["registered"] == 60; }));
  expect_exactly(*agent, 0, 60);
  expect_created_in_order(registered(), paths(0, 60));
  // And when the old session really ends, nothing goes.
  pause(1'000);
  ASSERT_TRUE(eventually([&] {
    const auto txns = read_txn_logs({ensemble().data_directory(0)});
    return std::any_of(txns.begin(), txns.end(), [&](const Txn& txn) {
      return txn.what == "close_session" && static_cast<std::uint64_t>(txn.session) == old;
    });
  }));
  expect_exactly(*agent, 0, 60);
  EXPECT_EQ(count(transactions(), "delete"), 60U) << "each znode of the old session is removed once";
  // Readers miss none for long: the new one follows its removal within half a second.
  const auto txns = transactions();
  for (const auto& [path, znode] : before) {
    const auto gone = std::find_if(txns.begin(), txns.end(),
                                   [&](const Txn& txn) { return txn.what == "delete" && txn.path == path; });
    const auto there =
        std::find_if(gone, txns.end(), [&](const Txn& txn) { return txn.what == "create" && txn.path == path; });
    ASSERT_TRUE(there != txns.end());
    EXPECT_LT(there->milliseconds - gone->milliseconds, 500);
  }
}

// A server may say that the session has ended in answer to a request, and keep the connection, and answer pings.
TEST_F(Sessions, A11_TheEndOfASessionMayBeToldByAnAnswerAlone) {
  auto agent = start_agent("6s");
  put(*agent, 0, 40);
  ASSERT_TRUE(agent->wait_settled());
  const auto old = session(*agent);
  constexpr std::int32_t kSessionExpired = -112;
  for (const auto& one : proxies_) {
    one->answer({ZkOpcode::sync, ZkOpcode::create2, ZkOpcode::multi}, 1'000'000, kSessionExpired);
  }
  const auto asked = sums().fired;
  put(*agent, 40, 41);
  ASSERT_TRUE(eventually([&] { return sums().fired > asked; }));
  for (const auto& one : proxies_) {
    one->forget();
  }
  ASSERT_TRUE(new_session(*agent, old)) << agent->status().dump() << agent->log();
  ASSERT_TRUE(eventually([&] { return agent->status()["registrations"]["registered"] == 41; }));
  expect_exactly(*agent, 0, 41);
}

TEST_F(Sessions, ASessionThatAnotherProcessHoldsIsTakenBack) {
  auto agent = start_agent("6s");
  put(*agent, 0, 20);
  ASSERT_TRUE(agent->wait_settled());
  const auto old = session(*agent);
  const Tree before = registered();
  const Session stored = stored_session(*agent);
  {
    // While it holds on, the servers move the session between the two; its destructor ends it.
    const ZkObserver thief(ensemble().connect_string(), stored.timeout_ms, stored);
    pause(1'500);
    put(*agent, 20, 30);
    EXPECT_EQ(registered().size() >= 20, true);
  }
  ASSERT_TRUE(eventually([&] { return registered().size() == 30 && agent->wait_settled() && session(*agent) != old; }));
  expect_exactly(*agent, 0, 30);
}

TEST_F(Sessions, AFrozenAgentWhoseSessionExpiresRegistersAllAgain) {
  auto agent = start_agent("2s");
  put(*agent, 0, 50);
  ASSERT_TRUE(agent->wait_settled());
  const auto old = session(*agent);
  agent->signal(SIGSTOP);
  ASSERT_TRUE(eventually([&] { return registered().empty(); }));
  agent->signal(SIGCONT);
  ASSERT_TRUE(new_session(*agent, old));
  ASSERT_TRUE(eventually([&] { return registered().size() == 50; }));
  expect_exactly(*agent, 0, 50);
  expect_created_in_order(registered(), paths(0, 50));
}

TEST_F(Sessions, WipedServersUnderARunningAndARestartingAgent) {
  auto agent = start_agent("4s");
  put(*agent, 0, 40);
  ASSERT_TRUE(agent->wait_settled());
  for (const bool restart : {false, true}) {
    const auto old = session(*agent);
    observer_.reset();
    ensemble().wipe();
    if (restart) {
      agent->kill();
      ASSERT_TRUE(agent->start());
    }
    ASSERT_TRUE(ensemble().restore());
    const auto served = std::chrono::steady_clock::now();
    ASSERT_TRUE(new_session(*agent, old)) << agent->status().dump() << agent->log();
    EXPECT_LT(std::chrono::steady_clock::now() - served, seconds(8));
    observer_ = std::make_unique<ZkObserver>(ensemble().connect_string());
    ASSERT_TRUE(eventually([&] { return registered().size() == 40; }));
    expect_exactly(*agent, 0, 40);
    expect_created_in_order(registered(), paths(0, 40));
  }
}

TEST_F(Sessions, ServersThatWereSetBackToAnOlderState) {
  auto agent = start_agent("4s");
  put(*agent, 0, 20, "old");
  ASSERT_TRUE(agent->wait_settled());
  // Copies of what stands now; then things go on; then the copies are put back.
  ensemble().kill_all();
  const fs::path copies = fs::path(agent->directory()) / "servers";
  for (int i = 0; i < 3; ++i) {
    fs::create_directories(copies / std::to_string(i));
    fs::copy(ensemble().data_directory(i), copies / std::to_string(i), fs::copy_options::recursive);
  }
  ASSERT_TRUE(ensemble().restore());
  ASSERT_TRUE(agent->wait_settled());
  put(*agent, 0, 20, "new");
  put(*agent, 20, 40, "new");
  ASSERT_TRUE(agent->wait_settled());
  observer_.reset();
  ensemble().kill_all();
  for (int i = 0; i < 3; ++i) {
    fs::remove_all(ensemble().data_directory(i));
    fs::copy(copies / std::to_string(i), ensemble().data_directory(i), fs::copy_options::recursive);
  }
  ASSERT_TRUE(ensemble().restore());
  observer_ = std::make_unique<ZkObserver>(ensemble().connect_string());
  ASSERT_TRUE(eventually([&] {
    const Tree tree = registered();
    return tree.size() == 40 && std::all_of(tree.begin(), tree.end(),
                                            [](const auto& entry) { return entry.second.data.starts_with("new"); });
  })) << agent->status().dump()
      << agent->log();
  ASSERT_TRUE(agent->wait_settled());
  expect_exactly(*agent, 0, 40, "new");
}

TEST_F(Sessions, ACopiedDataDirectoryDoesNotDisturbTheOriginal) {
  auto agent = start_agent("6s");
  put(*agent, 0, 20);
  ASSERT_TRUE(agent->wait_settled());
  const Tree before = registered();
  const auto id = session(*agent);
  auto copy = make_agent("6s");
  fs::create_directories(copy->data_dir());
  fs::permissions(copy->data_dir(), fs::perms::owner_all);
  fs::copy(agent->data_dir(), copy->data_dir(), fs::copy_options::recursive | fs::copy_options::overwrite_existing);
  ASSERT_TRUE(copy->start()) << copy->log();
  // On the same machine nothing tells a copy from the original moved. Both hold the session in turns, and each that is
  // accepted by either is registered; nothing of it goes while both live.
  pause(2'000);
  copy->kill();
  ASSERT_TRUE(agent->wait_settled()) << agent->status().dump();
  EXPECT_EQ(session(*agent), id);
  const Tree after = registered();
  for (const auto& [path, znode] : before) {
    ASSERT_TRUE(after.contains(path)) << path;
    EXPECT_EQ(after.at(path).czxid, znode.czxid);
  }
}

}  // namespace
}  // namespace limpet::test
