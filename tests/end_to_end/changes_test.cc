// Updates, deregistrations, ownership and drift on real servers.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "tests/end_to_end/fixture.h"

namespace limpet::test {

namespace {

class Changes : public EndToEnd {
 protected:
  // Polls until `done`, for things that happen in ZooKeeper by themselves.
  static bool eventually(const std::function<bool()>& done) {
    for (int i = 0; i < 1'500; ++i) {
      if (done()) {
        return true;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return false;
  }
};

TEST_F(Changes, AnUpdateInPlaceIsASetAndTheSameAgainIsNothing) {
  AgentProcess agent(ensemble().connect_string(), flags());
  ASSERT_TRUE(agent.start());
  UnixHttp http(agent.socket());
  ZkObserver observer(ensemble().connect_string());
  const auto first = http.put(target("web", "i-1") + "?wait=30s", body("one"));
  ASSERT_EQ(first.status, 200) << first.body;
  EXPECT_EQ(first.json()["state"], "registered");
  observer.sync();
  const auto created = observer.get(root() + "/web/i-1").value();
  const auto again = http.put(target("web", "i-1") + "?wait=30s", body("one"));
  EXPECT_EQ(again.status, 200);
  EXPECT_EQ(again.json()["seq"], first.json()["seq"]);
  const auto second = http.put(target("web", "i-1") + "?wait=30s", body("two"));
  ASSERT_EQ(second.status, 200) << second.body;
  observer.sync();
  const auto updated = observer.get(root() + "/web/i-1").value();
  EXPECT_EQ(updated.data, "two");
  EXPECT_EQ(updated.czxid, created.czxid);
  EXPECT_EQ(updated.version, created.version + 1);
  EXPECT_EQ(http.del(target("web", "i-1") + "?wait=30s").status, 200);
  observer.sync();
  EXPECT_FALSE(observer.get(root() + "/web/i-1"));
  EXPECT_EQ(http.get(target("web", "i-1")).status, 404);
}

TEST_F(Changes, WhatWasNeverSentCancelsOut) {
  ensemble().kill_quorum();
  AgentProcess agent(ensemble().connect_string(), flags());
  ASSERT_TRUE(agent.start());
  UnixHttp http(agent.socket());
  ASSERT_EQ(http.put(target("web", "i-1"), body("one")).status, 202);
  ASSERT_EQ(http.put(target("web", "i-2"), body("one")).status, 202);
  ASSERT_EQ(http.put(target("web", "i-2"), body("two")).status, 202);
  EXPECT_EQ(agent.status()["queue"]["depth"], 2);
  ASSERT_EQ(http.del(target("web", "i-1")).status, 202);
  EXPECT_EQ(agent.status()["queue"]["depth"], 1);
  EXPECT_EQ(http.get(target("web", "i-1")).status, 404);
  const auto queued = http.get("/v1/queue").json()["operations"];
  ASSERT_EQ(queued.size(), 1u);
  EXPECT_EQ(queued[0]["seq"], 3);
  EXPECT_EQ(queued[0]["op"], "register");
  ASSERT_TRUE(ensemble().restore());
  ASSERT_TRUE(agent.wait_settled());
  ZkObserver observer(ensemble().connect_string());
  const auto found = registered(observer);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found.begin()->second.data, "two");
  EXPECT_EQ(found.begin()->second.version, 0) << "the superseded change was sent";
}

TEST_F(Changes, AForeignZnodeIsAConflictLeftAloneAndTakenWhenItGoes) {
  ZkObserver stranger(ensemble().connect_string());
  ASSERT_EQ(stranger.create_with_parents(root() + "/web/i-1", "theirs", true), 0);
  AgentProcess agent(ensemble().connect_string(), flags());
  ASSERT_TRUE(agent.start());
  UnixHttp http(agent.socket());
  ASSERT_EQ(http.put(target("web", "i-1"), body("ours")).status, 202);
  ASSERT_EQ(http.put(target("web", "i-2") + "?wait=30s", body("ours")).status, 200);
  ASSERT_TRUE(eventually([&] { return http.get(target("web", "i-1")).json()["state"] == "conflict"; }));
  EXPECT_EQ(http.get(target("web", "i-1")).json()["reason"]["code"], "foreign_owner");
  EXPECT_EQ(stranger.get(root() + "/web/i-1")->data, "theirs");
  ASSERT_EQ(stranger.remove(root() + "/web/i-1"), 0);
  EXPECT_EQ(http.get(target("web", "i-1") + "?wait=30s").json()["state"], "registered");
  stranger.sync();
  EXPECT_EQ(stranger.get(root() + "/web/i-1")->data, "ours");
}

TEST_F(Changes, WhatSomebodyDeletesOrOverwritesComesBack) {
  AgentProcess agent(ensemble().connect_string(), flags());
  ASSERT_TRUE(agent.start());
  UnixHttp http(agent.socket());
  for (const char* name : {"i-1", "i-2", "i-3"}) {
    ASSERT_EQ(http.put(target("web", name) + "?wait=30s", body("ours")).status, 200);
  }
  ZkObserver operator_(ensemble().connect_string());
  operator_.sync();
  ASSERT_EQ(operator_.remove(root() + "/web/i-1"), 0);
  ASSERT_EQ(operator_.set(root() + "/web/i-2", "overwritten"), 0);
  EXPECT_TRUE(eventually([&] {
    operator_.sync();
    const auto one = operator_.get(root() + "/web/i-1");
    const auto two = operator_.get(root() + "/web/i-2");
    return one && one->data == "ours" && two && two->data == "ours";
  }));
}

TEST_F(Changes, ASessionThatExpiresIsReplacedAndEverythingRegisteredAgainInOrder) {
  AgentProcess agent(ensemble().connect_string(), flags("2s"));
  ASSERT_TRUE(agent.start());
  UnixHttp http(agent.socket());
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(http.put(target("web", "i-" + std::to_string((i * 37) % 100)), body("x")).status, 202);
  }
  ASSERT_TRUE(agent.wait_settled());
  const auto session = agent.status()["zookeeper"]["session"];
  ZkObserver observer(ensemble().connect_string());
  agent.signal(SIGSTOP);
  ASSERT_TRUE(eventually([&] { return registered(observer).empty(); }));
  agent.signal(SIGCONT);
  ASSERT_TRUE(agent.wait_status([&](const auto& status) {
    return status["zookeeper"]["session"] != session && status["registrations"]["registered"] == 100;
  })) << agent.status().dump(2)
      << agent.log();
  const auto found = registered(observer);
  ASSERT_EQ(found.size(), 100u);
  for (int i = 1; i < 100; ++i) {
    EXPECT_LE(found.at(root() + "/web/i-" + std::to_string(((i - 1) * 37) % 100)).czxid,
              found.at(root() + "/web/i-" + std::to_string((i * 37) % 100)).czxid);
  }
}

TEST_F(Changes, AChrootIsPutInFrontOfEveryPath) {
  AgentProcess agent(ensemble().connect_string() + "/chroot" + root(), flags());
  ASSERT_TRUE(agent.start());
  UnixHttp http(agent.socket());
  const auto answer = http.put(target("web", "i-1") + "?wait=30s", body("x"));
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(answer.json()["path"], root() + "/web/i-1");
  ZkObserver observer(ensemble().connect_string());
  observer.sync();
  EXPECT_TRUE(observer.get("/chroot" + root() + root() + "/web/i-1"));
}

TEST_F(Changes, ABatchIsAllOrNothing) {
  AgentProcess agent(ensemble().connect_string(), flags());
  ASSERT_TRUE(agent.start());
  UnixHttp http(agent.socket());
  const auto good = http.post("/v1/batch?wait=30s", R"({"operations":[
      {"op":"register","service":"web","instance":"a","data":"1"},
      {"op":"register","service":"web","instance":"b","data":"2"},
      {"op":"deregister","service":"web","instance":"a"}]})");
  ASSERT_EQ(good.status, 200) << good.body;
  ASSERT_EQ(good.json()["results"].size(), 3u);
  EXPECT_EQ(good.json()["results"][2]["seq"], 3);
  const auto bad = http.post("/v1/batch", R"({"operations":[
      {"op":"register","service":"web","instance":"c","data":"1"},
      {"op":"deregister","service":"web","instance":"missing"}]})");
  EXPECT_EQ(bad.status, 422) << bad.body;
  EXPECT_EQ(bad.json()["index"], 1);
  EXPECT_EQ(http.get(target("web", "c")).status, 404);
  ZkObserver observer(ensemble().connect_string());
  EXPECT_EQ(registered(observer).size(), 1u);
}

TEST_F(Changes, ASecondAgentOnTheSameStateEndsWithThree) {
  AgentProcess agent(ensemble().connect_string(), flags());
  ASSERT_TRUE(agent.start());
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::alarm(20);
    ::execl(LIMPETD_PATH, LIMPETD_PATH, "--data-dir", agent.data_dir().c_str(), "--socket",
            (agent.directory() + "/second.sock").c_str(), nullptr);
    ::_exit(127);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 3);
  EXPECT_EQ(UnixHttp(agent.socket()).get("/healthz").status, 200);
}

}  // namespace

}  // namespace limpet::test
