// The ZooKeeper client against three real servers: verbs, sessions, loss, and what it says while it has no connection.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <map>
#include <memory>
#include <thread>

#include "tests/support/real_ensemble.h"
#include "tests/support/zk_bench.h"
#include "tests/support/zk_observer.h"

namespace limpet::test {
namespace {

using core::ZkCode;
using core::ZkVerb;
using std::chrono::milliseconds;
using std::chrono::seconds;

class ZkClientTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    ensemble_ = std::make_unique<RealEnsemble>();
    RealEnsemble::started(*ensemble_);
  }
  static void TearDownTestSuite() { ensemble_.reset(); }

  void SetUp() override {
    ASSERT_TRUE(servers().restore()) << servers().console();
    ZkObserver(servers().connect_string()).remove_tree("/");
  }

  static RealEnsemble& servers() { return *ensemble_; }
  static zk::ZkClient::Options options() { return ZkBench::options(ensemble_->connect_string()); }

  // The index of the server that the bench is connected to.
  static int server_of(const ZkBench& bench) {
    const std::string address = bench.all<core::ZkConnected>().back().server;
    for (int i = 0; i < servers().size(); ++i) {
      if (servers().address(i) == address) {
        return i;
      }
    }
    ADD_FAILURE() << "no such server: " << address;
    return 0;
  }

  static core::ZkRequest create(const std::string& path, const std::string& data) {
    return {ZkVerb::create, path, data, -1};
  }

 private:
  static std::unique_ptr<RealEnsemble> ensemble_;
};

std::unique_ptr<RealEnsemble> ZkClientTest::ensemble_;

TEST_F(ZkClientTest, EveryVerbDoesWhatItSays) {
  ZkBench bench(options());
  const auto session = bench.connect();
  ASSERT_TRUE(session);
  EXPECT_NE(session->id.value, 0);
  EXPECT_EQ(session->timeout_ms, 6000);
  EXPECT_EQ(bench.all<core::ZkConnected>().size(), 1U);
  server_of(bench);
  ZkObserver observer(servers().connect_string());

  EXPECT_EQ(bench.call(create("/a/b", "x")).code, ZkCode::no_node);
  EXPECT_EQ(bench.call({ZkVerb::create_parent, "/a", "", -1}).code, ZkCode::ok);
  EXPECT_EQ(bench.call({ZkVerb::create_parent, "/a", "", -1}).code, ZkCode::node_exists);
  const auto created = bench.call(create("/a/b", "x"));
  ASSERT_EQ(created.code, ZkCode::ok);
  EXPECT_EQ(created.stat.ephemeral_owner, session->id);
  EXPECT_EQ(created.stat.version, 0);
  EXPECT_NE(created.stat.czxid.value, 0);
  EXPECT_EQ(bench.call(create("/a/b", "y")).code, ZkCode::node_exists);
  EXPECT_EQ(bench.call(create("/a/b/c", "y")).code, ZkCode::parent_ephemeral);
  EXPECT_EQ(bench.call(create("a", "")).code, ZkCode::invalid_path);
  EXPECT_EQ(bench.call(create("", "")).code, ZkCode::invalid_path);
  EXPECT_EQ(bench.call(create("/a//b", "")).code, ZkCode::invalid_path);

  const auto set = bench.call({ZkVerb::set, "/a/b", std::string("\0z", 2), 0});
  ASSERT_EQ(set.code, ZkCode::ok);
  EXPECT_EQ(set.stat.version, 1);
  EXPECT_EQ(bench.call({ZkVerb::set, "/a/b", "z", 0}).code, ZkCode::bad_version);
  EXPECT_EQ(bench.call({ZkVerb::set, "/a/none", "z", 0}).code, ZkCode::no_node);

  EXPECT_EQ(bench.call({ZkVerb::sync, "/", "", -1}).code, ZkCode::ok);
  const auto read = bench.call({ZkVerb::read, "/a/b", "", -1});
  ASSERT_EQ(read.code, ZkCode::ok);
  EXPECT_EQ(read.data, std::string("\0z", 2));
  EXPECT_EQ(read.stat.mzxid, set.stat.mzxid);
  const auto parent = bench.call({ZkVerb::read, "/a", "", -1});
  EXPECT_EQ(parent.data, "");
  EXPECT_EQ(parent.stat.ephemeral_owner.value, 0);
  const auto watched = bench.call({ZkVerb::watch, "/a/none", "", -1});
  EXPECT_EQ(watched.code, ZkCode::no_node);

  EXPECT_EQ(bench.call({ZkVerb::remove, "/a", "", -1}).code, ZkCode::not_empty);
  EXPECT_EQ(bench.call({ZkVerb::remove, "/a/b", "", 0}).code, ZkCode::bad_version);
  ASSERT_TRUE(observer.sync());
  EXPECT_EQ(observer.get("/a/b")->data, std::string("\0z", 2));
  EXPECT_EQ(bench.call({ZkVerb::remove, "/a/b", "", 1}).code, ZkCode::ok);
  EXPECT_EQ(bench.call({ZkVerb::remove, "/a/b", "", 1}).code, ZkCode::no_node);
}

TEST_F(ZkClientTest, WatchesFireOnceEach) {
  ZkBench bench(options());
  ASSERT_TRUE(bench.connect());
  ASSERT_EQ(bench.call({ZkVerb::watch, "/w", "", -1}).code, ZkCode::no_node);
  ZkObserver observer(servers().connect_string());
  observer.create("/w", "1");
  ASSERT_TRUE(bench.wait<core::ZkWatchFired>());
  EXPECT_EQ(bench.all<core::ZkWatchFired>()[0].path, "/w");

  // Both kinds on one znode, and a loss of the connection, which the library tells to every watcher.
  bench.forget();
  ASSERT_EQ(bench.call({ZkVerb::read, "/w", "", -1}).data, "1");
  ASSERT_EQ(bench.call({ZkVerb::watch, "/w", "", -1}).code, ZkCode::ok);
  bench.forget();
  observer.set("/w", "2");
  ASSERT_TRUE(bench.wait<core::ZkWatchFired>());
  observer.set("/w", "3");
  ASSERT_EQ(bench.call({ZkVerb::sync, "/", "", -1}).code, ZkCode::ok);
  EXPECT_EQ(bench.all<core::ZkWatchFired>().size(), 1U);
}

TEST_F(ZkClientTest, PipelinedRequestsKeepTheirOrder) {
  ZkBench bench(options());
  ASSERT_TRUE(bench.connect());
  std::vector<core::OpId> ops;
  for (int i = 0; i < 256; ++i) {
    ops.push_back(bench.send(create("/p" + std::to_string(i), "x")));
  }
  ASSERT_TRUE(bench.wait<core::ZkReplied>(256));
  std::int64_t last = 0;
  const auto replies = bench.all<core::ZkReplied>();
  for (std::size_t i = 0; i < ops.size(); ++i) {
    EXPECT_EQ(replies[i].op, ops[i]);
    EXPECT_EQ(replies[i].reply.code, ZkCode::ok);
    EXPECT_GT(replies[i].reply.stat.czxid.value, last);
    last = replies[i].reply.stat.czxid.value;
  }
}

TEST_F(ZkClientTest, LettingGoKeepsTheSession) {
  ZkObserver observer(servers().connect_string());
  std::optional<Session> session;
  std::optional<Znode> before;
  const auto descriptors = [] {
    const std::filesystem::directory_iterator all("/proc/self/fd");
    return std::distance(begin(all), end(all));
  };
  const auto descriptors_before = descriptors();
  auto bench = std::make_unique<ZkBench>(options());
  for (int round = 0; round < 50; ++round) {
    const auto now = bench->connect(session);
    ASSERT_TRUE(now) << "round " << round;
    if (session) {
      ASSERT_EQ(now->id, session->id) << "round " << round;
    } else {
      session = now;
      ASSERT_EQ(bench->call(create("/mine", "x")).code, ZkCode::ok);
      ASSERT_TRUE(observer.sync());
      before = observer.get("/mine");
      observer.record({"/mine"});
    }
    // Idle, with requests in flight, and by the end of the client.
    if (round % 3 == 1) {
      for (int i = 0; i < 20; ++i) {
        bench->send({ZkVerb::read, "/mine", "", -1});
      }
    }
    if (round % 3 == 2) {
      bench = std::make_unique<ZkBench>(options());
    } else {
      bench->stop();
    }
  }
  // What would have ended the session would be known by now to the next who attaches.
  ASSERT_TRUE(bench->connect(session));
  EXPECT_EQ(bench->all<core::ZkExpired>().size(), 0U);
  EXPECT_EQ(bench->call({ZkVerb::sync, "/", "", -1}).code, ZkCode::ok);
  ASSERT_TRUE(observer.sync());
  EXPECT_EQ(observer.get("/mine"), before);
  EXPECT_TRUE(observer.recorded().empty());
  bench.reset();
  EXPECT_EQ(descriptors(), descriptors_before);
}

TEST_F(ZkClientTest, AHandleCanBeLetGoOfAtAnyMoment) {
  // While it connects, before it does, right after: none of it may end the session, crash or hang.
  ZkBench bench(options());
  const auto session = bench.connect();
  ASSERT_TRUE(session);
  ASSERT_EQ(bench.call(create("/mine", "x")).code, ZkCode::ok);
  for (int round = 0; round < 60; ++round) {
    bench.stop();
    bench.start(session);
    bench.run_for(milliseconds(round % 6));
  }
  bench.stop();
  const auto now = bench.connect(session);
  ASSERT_TRUE(now);
  EXPECT_EQ(now->id, session->id);
  EXPECT_EQ(bench.call({ZkVerb::read, "/mine", "", -1}).stat.ephemeral_owner, session->id);
}

TEST_F(ZkClientTest, ASessionEndedByOthersIsReportedAsExpired) {
  ZkBench bench(options());
  const auto session = bench.connect();
  ASSERT_TRUE(session);
  ASSERT_EQ(bench.call(create("/mine", "x")).code, ZkCode::ok);
  bench.forget();
  ASSERT_TRUE(ZkObserver::end_session(servers().connect_string(), *session));
  ASSERT_TRUE(bench.wait<core::ZkExpired>());
  EXPECT_EQ(bench.call(create("/other", "x")).code, ZkCode::not_sent);
  EXPECT_EQ(bench.all<core::ZkExpired>().size(), 1U);
  // Also for who attaches to it later.
  bench.stop();
  bench.start(session);
  ASSERT_TRUE(bench.wait<core::ZkExpired>());
  EXPECT_TRUE(bench.all<core::ZkConnected>().empty());
  bench.stop();
  const auto fresh = bench.connect();
  ASSERT_TRUE(fresh);
  EXPECT_NE(fresh->id, session->id);
}

TEST_F(ZkClientTest, BeforeItIsConnectedNothingIsSent) {
  ZkBench bench(options());
  bench.start();
  EXPECT_EQ(bench.call(create("/early", "x")).code, ZkCode::not_sent);
}

TEST_F(ZkClientTest, NothingIsReportedFromWithinACall) {
  ZkBench bench(options());
  bench.start();
  bench.send(create("/early", "x"));
  EXPECT_TRUE(bench.events().empty());
  ASSERT_TRUE(bench.wait<core::ZkReplied>());
}

TEST_F(ZkClientTest, TheNextServerTakesTheSameSession) {
  ZkBench bench(options());
  const auto session = bench.connect();
  ASSERT_TRUE(session);
  ASSERT_EQ(bench.call(create("/mine", "x")).code, ZkCode::ok);
  ASSERT_EQ(bench.call({ZkVerb::read, "/mine", "", -1}).code, ZkCode::ok);
  const int lost = server_of(bench);
  bench.forget();
  servers().kill(lost);
  ASSERT_TRUE(bench.wait<core::ZkConnected>());
  EXPECT_EQ(bench.all<core::ZkDisconnected>().size(), 1U);
  EXPECT_TRUE(std::holds_alternative<core::ZkDisconnected>(bench.events().front()));
  EXPECT_EQ(bench.all<core::ZkConnected>()[0].session, *session);
  EXPECT_NE(server_of(bench), lost);
  EXPECT_TRUE(bench.all<core::ZkWatchFired>().empty());
  // The library has set the watch again.
  ZkObserver observer(servers().connect_string());
  observer.set("/mine", "y");
  ASSERT_TRUE(bench.wait<core::ZkWatchFired>());
}

TEST_F(ZkClientTest, WhatWasInFlightIsAnsweredOnceAndNothingOvertakes) {
  ZkBench bench(options());
  ASSERT_TRUE(bench.connect());
  ASSERT_EQ(bench.call({ZkVerb::create_parent, "/f", "", -1}).code, ZkCode::ok);
  const int lost = server_of(bench);
  bench.forget();
  // Sends on as the core does, which has not heard of the loss yet, until nothing is taken any more.
  std::vector<core::OpId> ops;
  const auto refused = [&] {
    const auto replies = bench.all<core::ZkReplied>();
    return std::any_of(replies.begin(), replies.end(), [](const auto& r) { return r.reply.code == ZkCode::not_sent; });
  };
  while (!refused() && ops.size() < 20'000) {
    if (ops.size() == 600) {
      servers().kill(lost);
    }
    ops.push_back(bench.send(create("/f/" + std::to_string(ops.size()), "x")));
    bench.run_until([&] { return bench.all<core::ZkReplied>().size() + 200 > ops.size() || refused(); }, seconds(20));
  }
  ASSERT_TRUE(bench.wait<core::ZkConnected>());
  ASSERT_TRUE(bench.wait<core::ZkReplied>(ops.size()));
  EXPECT_EQ(bench.call({ZkVerb::sync, "/", "", -1}).code, ZkCode::ok);

  bool lost_yet = false;
  std::map<core::OpId, ZkCode> codes;
  for (const auto& event : bench.events()) {
    lost_yet = lost_yet || std::holds_alternative<core::ZkDisconnected>(event);
    const auto* replied = std::get_if<core::ZkReplied>(&event);
    if (replied != nullptr && replied->op <= ops.back()) {
      EXPECT_TRUE(codes.emplace(replied->op, replied->reply.code).second) << "answered once";
      EXPECT_TRUE(lost_yet || replied->reply.code != ZkCode::unknown_outcome)
          << "the loss is told before what it ended";
    }
  }
  EXPECT_EQ(codes.size(), ops.size());
  // Done, then unknown, then not sent: never done again after the first that was lost.
  const auto rank = [](ZkCode code) { return code == ZkCode::ok ? 0 : code == ZkCode::unknown_outcome ? 1 : 2; };
  EXPECT_TRUE(std::is_sorted(codes.begin(), codes.end(),
                             [&](const auto& a, const auto& b) { return rank(a.second) < rank(b.second); }));
}

TEST_F(ZkClientTest, ACoreThreadThatStoodStillOvertakesNothing) {
  ZkBench bench(options());
  const auto session = bench.connect();
  ASSERT_TRUE(session);
  const int lost = server_of(bench);
  bench.forget();
  servers().stop(lost);
  const core::OpId first = bench.send(create("/first", "x"));
  servers().kill(lost);
  // The library reconnects while this thread hears nothing of it. A server lists its clients: the one who asks, and
  // ours.
  ASSERT_TRUE(poll_until([&] {
    for (int i = 0; i < servers().size(); ++i) {
      const std::string stat = i == lost ? "" : servers().ask(i, "stat");
      const auto ours = stat.find("(queued=");
      if (ours != std::string::npos && stat.find("(queued=", ours + 1) != std::string::npos) {
        return true;
      }
    }
    return false;
  }));
  std::this_thread::sleep_for(milliseconds(200));  // a connection is there; the session comes a moment later
  const core::OpId second = bench.send(create("/second", "x"));
  ASSERT_TRUE(bench.wait<core::ZkConnected>());
  ASSERT_TRUE(bench.wait<core::ZkReplied>(2));
  EXPECT_EQ(bench.reply_to(first)->code, ZkCode::unknown_outcome);
  EXPECT_EQ(bench.reply_to(second)->code, ZkCode::not_sent);
  EXPECT_EQ(bench.call({ZkVerb::read, "/second", "", -1}).code, ZkCode::no_node);
  EXPECT_EQ(bench.call(create("/second", "x")).code, ZkCode::ok) << "and all is well after the news";
}

TEST_F(ZkClientTest, TroubleSaysThatThereIsNoQuorum) {
  ZkBench bench(options());
  const auto session = bench.connect();
  ASSERT_TRUE(session);
  bench.forget();
  servers().kill_quorum();
  const auto said = [&] {
    const auto troubles = bench.all<core::ZkTrouble>();
    return !troubles.empty() && troubles.back().no_quorum;
  };
  ASSERT_TRUE(bench.run_until(said)) << bench.last_trouble();
  const std::string text = bench.last_trouble();
  EXPECT_NE(text.find("2 of 3 servers refuse connections"), std::string::npos) << text;
  EXPECT_NE(text.find("1 of 3 servers answers but has no quorum"), std::string::npos) << text;
  bench.forget();
  ASSERT_TRUE(servers().restore());
  ASSERT_TRUE(bench.wait<core::ZkConnected>());
  EXPECT_EQ(bench.all<core::ZkConnected>()[0].session.id, session->id);
}

TEST_F(ZkClientTest, ItStartsWithEveryServerDown) {
  servers().kill_all();
  ZkBench bench(options());
  bench.start();
  ASSERT_TRUE(bench.run_until([&] { return bench.last_trouble().find("all 3 servers refuse") == 0; }))
      << bench.last_trouble();
  EXPECT_FALSE(bench.all<core::ZkTrouble>().back().no_quorum);
  EXPECT_EQ(bench.call(create("/early", "x")).code, ZkCode::not_sent);
  bench.run_for(milliseconds(1500));
  EXPECT_EQ(bench.all<core::ZkTrouble>().size(), 1U) << "told once for as long as it holds";
  ASSERT_TRUE(servers().restore());
  ASSERT_TRUE(bench.wait<core::ZkConnected>());
}

TEST_F(ZkClientTest, ItStartsWithNamesThatDoNotResolve) {
  auto with_names = options();
  with_names.hosts = "zk1.invalid:2181,zk2.invalid:2181";
  ZkBench bench(with_names);
  bench.start();
  ASSERT_TRUE(bench.wait<core::ZkTrouble>(3));
  const std::string text = bench.last_trouble();
  EXPECT_EQ(text.find("cannot resolve zk1.invalid: "), 0U) << text;
  EXPECT_NE(text.find("cannot resolve zk2.invalid: "), std::string::npos) << text;
  EXPECT_NE(text.find("; trying again in "), std::string::npos) << text;
  EXPECT_FALSE(bench.client().set_servers("a:b").ok());
  ASSERT_TRUE(bench.client().set_servers(servers().connect_string()).ok());
  bench.stop();
  EXPECT_TRUE(bench.connect());
}

TEST_F(ZkClientTest, OneNameThatDoesNotResolveIsNoObstacle) {
  auto some = options();
  some.hosts = "zk1.invalid:2181," + servers().connect_string();
  ZkBench bench(some);
  EXPECT_TRUE(bench.connect());
}

TEST_F(ZkClientTest, EveryPositionInEveryListIsReached) {
  for (int length = 1; length <= 6; ++length) {
    for (int alive = 0; alive < length; ++alive) {
      auto mostly_dead = options();
      mostly_dead.hosts = "";
      for (int i = 0; i < length; ++i) {
        mostly_dead.hosts += i == 0 ? "" : ",";
        // Nobody is at home at port 1 of these.
        mostly_dead.hosts += i == alive ? servers().address(alive % 3) : "127.0.1." + std::to_string(i + 1) + ":1";
      }
      mostly_dead.seed = static_cast<std::uint64_t>(length * 10 + alive);
      ZkBench bench(mostly_dead);
      EXPECT_TRUE(bench.connect()) << mostly_dead.hosts;
    }
  }
}

TEST_F(ZkClientTest, AServerThatComesBackIsReachedInListsOfEvenLength) {
  servers().kill(0);
  const std::string lists[] = {servers().address(0) + ",127.0.1.1:1",
                               "127.0.1.1:1,127.0.1.2:1," + servers().address(0) + ",127.0.1.3:1"};
  // Several orders each: it stands at places that a cursor in steps of two comes to, and at others.
  std::vector<std::unique_ptr<ZkBench>> benches;
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    for (const auto& list : lists) {
      auto even = options();
      even.hosts = list;
      even.seed = seed;
      benches.push_back(std::make_unique<ZkBench>(even));
      benches.back()->start();
    }
  }
  for (auto& bench : benches) {
    bench->run_for(milliseconds(100));
  }
  servers().start(0);
  for (auto& bench : benches) {
    EXPECT_TRUE(bench->wait<core::ZkConnected>(1, seconds(20)));
  }
}

TEST_F(ZkClientTest, AFrozenServerIsLeft) {
  // One that is not the leader: the others are to go on.
  const auto leader = servers().leader();
  ASSERT_TRUE(leader);
  auto followers = options();
  followers.hosts = servers().address((*leader + 1) % 3) + "," + servers().address((*leader + 2) % 3);
  ZkBench bench(followers);
  const auto session = bench.connect();
  ASSERT_TRUE(session);
  const int frozen = server_of(bench);
  bench.forget();
  servers().stop(frozen);
  bench.send(create("/into-the-void", "x"));
  ASSERT_TRUE(bench.wait<core::ZkConnected>());
  EXPECT_EQ(bench.all<core::ZkReplied>()[0].reply.code, ZkCode::unknown_outcome);
  EXPECT_EQ(bench.all<core::ZkConnected>()[0].session.id, session->id);
  servers().cont(frozen);
}

TEST_F(ZkClientTest, PathsLieUnderTheChroot) {
  auto rooted = options();
  rooted.hosts += "/org/limpet";
  ZkBench bench(rooted);
  ASSERT_TRUE(bench.connect());
  ASSERT_EQ(bench.call(create("/a", "x")).code, ZkCode::ok);
  ASSERT_EQ(bench.call({ZkVerb::sync, "/", "", -1}).code, ZkCode::ok);
  ASSERT_EQ(bench.call({ZkVerb::read, "/", "", -1}).stat.ephemeral_owner.value, 0);
  ASSERT_EQ(bench.call({ZkVerb::read, "/a", "", -1}).data, "x");
  ZkObserver observer(servers().connect_string());
  ASSERT_TRUE(observer.sync());
  EXPECT_EQ(observer.get("/org/limpet/a")->data, "x");
  EXPECT_EQ(observer.get("/org")->ephemeral_owner, 0);
  bench.forget();
  observer.set("/org/limpet/a", "y");
  ASSERT_TRUE(bench.wait<core::ZkWatchFired>());
  EXPECT_EQ(bench.all<core::ZkWatchFired>()[0].path, "/a");
  // Somebody cleans up too much: the first try finds no parent, the second one does.
  observer.remove_tree("/org");
  EXPECT_EQ(bench.call(create("/b", "x")).code, ZkCode::no_node);
  EXPECT_EQ(bench.call(create("/b", "x")).code, ZkCode::ok);
}

TEST_F(ZkClientTest, AllServersDownCostNextToNothing) {
  servers().kill_all();
  // Four of them: in a list of even length the library would never pause.
  auto four = options();
  four.hosts += ",127.0.1.1:1";
  ZkBench bench(four);
  bench.start();
  const auto cpu_ms = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000.0 +
           static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000.0;
  };
  bench.run_for(milliseconds(200));
  const double before = cpu_ms();
  bench.run_for(seconds(3));
  const double used = (cpu_ms() - before) / 3000.0;
  RecordProperty("cpu_per_mille", static_cast<int>(used * 1000));
  EXPECT_LT(used, 0.02);
}

// Last: these leave nothing of what was there.
TEST_F(ZkClientTest, WipedServersDoNotKnowTheSession) {
  ZkBench bench(options());
  const auto session = bench.connect();
  ASSERT_TRUE(session);
  ASSERT_EQ(bench.call(create("/mine", "x")).code, ZkCode::ok);
  servers().wipe();
  ASSERT_TRUE(servers().restore());
  bench.stop();
  bench.start(session);
  ASSERT_TRUE(bench.wait<core::ZkExpired>());
  bench.stop();
  EXPECT_TRUE(bench.connect());
}

TEST_F(ZkClientTest, WipedServersAreFoundOutByAHandleThatHasSeenMore) {
  ZkBench bench(options());
  ASSERT_TRUE(bench.connect());
  for (int i = 0; i < 50; ++i) {
    ASSERT_EQ(bench.call(create("/n" + std::to_string(i), "x")).code, ZkCode::ok);
  }
  servers().wipe();
  bench.forget();
  ASSERT_TRUE(servers().restore());
  // The new servers are behind what that handle has seen, and refuse it without a word about the session.
  EXPECT_TRUE(bench.wait<core::ZkExpired>(1, seconds(15)));
}

TEST_F(ZkClientTest, AParentIsRefusedInATransactionBeforeTheCall) {
  auto containers = options();
  containers.access.container_parents = true;
  ZkBench bench(containers);
  ASSERT_TRUE(bench.connect());
  core::ZkRequest transaction{ZkVerb::transaction, "/t", "", -1};
  transaction.batch = {{ZkVerb::create_parent, "/t", "", -1}, create("/t/i", "x")};
  EXPECT_EQ(bench.call(transaction).code, ZkCode::invalid_path);
  ZkObserver observer(servers().connect_string());
  ASSERT_TRUE(observer.sync());
  EXPECT_FALSE(observer.get("/t").has_value());
  EXPECT_EQ(bench.call({ZkVerb::create_parent, "/t", "", -1}).code, ZkCode::ok);
  EXPECT_EQ(bench.call(create("/t/i", "x")).code, ZkCode::ok);
  ASSERT_TRUE(observer.sync());
  EXPECT_EQ(observer.get("/t")->ephemeral_owner, 0);
  observer.remove_tree("/t");
}

// The digest of "limpet:right", as zkCli.sh and org.apache.zookeeper.server.auth.DigestLoginProvider make it.
constexpr const char* kLimpetDigest = "digest:limpet:NjOdWY1r6A6oaKEUAXyUyOQL3vc=";
// With all permissions, as the servers show it to a stranger: without the hash.
constexpr const char* kShown = "digest:limpet:x:31";

TEST_F(ZkClientTest, CredentialsAreGivenBeforeTheFirstCreateAlsoWhereNoServerWasThereAtFirst) {
  servers().kill_all();
  auto with_credentials = options();
  with_credentials.access = {"limpet:right", zk::creator_acl()};
  ZkBench bench(with_credentials);
  bench.start();
  // The library has tried, and is between two attempts.
  ASSERT_TRUE(bench.wait<core::ZkTrouble>());
  ASSERT_TRUE(servers().restore()) << servers().console();
  ASSERT_TRUE(bench.wait<core::ZkConnected>());
  ASSERT_EQ(bench.call({ZkVerb::create_parent, "/mine", "", -1}).code, ZkCode::ok);
  ASSERT_EQ(bench.call(create("/mine/i", "x")).code, ZkCode::ok);
  ZkObserver observer(servers().connect_string());
  ASSERT_TRUE(observer.sync());
  EXPECT_EQ(observer.acl("/mine"), (std::vector<std::string>{kShown, "world:anyone:5"}));
  EXPECT_EQ(observer.acl("/mine/i"), (std::vector<std::string>{kShown, "world:anyone:1"}));
  EXPECT_EQ(observer.set("/mine/i", "y"), -102);
  EXPECT_EQ(observer.create("/mine/j", "y"), 0);
  ASSERT_TRUE(observer.authenticate("limpet:right"));
  EXPECT_EQ(observer.set("/mine/i", "x"), 0);
  observer.remove_tree("/mine");
}

TEST_F(ZkClientTest, AnAclOfTheOwnersChoosingHoldsForTheChrootToo) {
  auto listed = options();
  listed.hosts += "/ours/here";
  listed.access.acl = *zk::parse_acl(std::string(kLimpetDigest) + ":cdrwa,world:anyone:rc");
  ZkBench bench(listed);
  ASSERT_TRUE(bench.connect());
  ZkObserver observer(servers().connect_string());
  ASSERT_TRUE(poll_until([&] { return observer.sync() && observer.get("/ours").has_value(); }));
  const std::vector<std::string> expected = {kShown, "world:anyone:5"};
  EXPECT_EQ(observer.acl("/ours"), expected);
  // Without credentials it may not put a child there that it may not create.
  EXPECT_EQ(bench.call(create("/i", "x")).code, ZkCode::ok);
  EXPECT_EQ(observer.acl("/ours/here/i"), expected);
  EXPECT_EQ(bench.call({ZkVerb::set, "/i", "y", -1}).code, ZkCode::no_auth);
  // Another handle of the same session, with credentials.
  const auto session = bench.all<core::ZkConnected>().back().session;
  bench.stop();
  bench.client().set_access({"limpet:right", listed.access.acl});
  ASSERT_TRUE(bench.connect(session));
  EXPECT_EQ(bench.call({ZkVerb::set, "/i", "y", -1}).code, ZkCode::ok);
  ASSERT_TRUE(observer.authenticate("limpet:right"));
  observer.remove_tree("/ours");
}

}  // namespace
}  // namespace limpet::test
