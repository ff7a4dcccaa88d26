// Rows A18, A19, A21, A23, A25, A36, A37 and A40, and the poisonous request: what ZooKeeper refuses, what others own
// and what others touch. One path suffers, and no other.
#include <algorithm>

#include "tests/faults/fixture.h"

namespace limpet::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class Ownership : public Faults {
 protected:
  static std::string state_of(AgentProcess& agent, const std::string& id) {
    return UnixHttp(agent.socket()).get("/v1/registrations/" + id).json().value("state", "");
  }
  static std::string reason_of(AgentProcess& agent, const std::string& id) {
    const auto shown = UnixHttp(agent.socket()).get("/v1/registrations/" + id).json();
    return shown.contains("reason") && shown["reason"].is_object() ? shown["reason"].value("code", "") : "";
  }
  // Waits for the state, and says what there was if it did not come.
  void expect_state(AgentProcess& agent, const std::string& id, const std::string& wanted,
                    milliseconds limit = seconds(30)) {
    EXPECT_TRUE(eventually([&] { return state_of(agent, id) == wanted; }, limit))
        << id << " is " << UnixHttp(agent.socket()).get("/v1/registrations/" + id).body;
  }
  // A bystander is registered within two seconds: nothing holds it up.
  void expect_others_proceed(AgentProcess& agent) {
    static int count = 0;
    const std::string id = "bystander/b-" + std::to_string(++count);
    EXPECT_EQ(put_one(agent, "/v1/registrations/" + id, "x").status, 202);
    expect_state(agent, id, "registered", seconds(3));
  }
};

TEST_F(Ownership, A18_AParentIsAnEphemeral) {
  ASSERT_EQ(observer_->create_with_parents(root() + "/taken", "theirs", true), 0);
  auto agent = start_agent();
  put_one(*agent, "/v1/registrations/taken/i-1", "x");
  expect_state(*agent, "taken/i-1", "blocked");
  EXPECT_EQ(reason_of(*agent, "taken/i-1"), "parent_ephemeral");
  expect_others_proceed(*agent);
  ASSERT_EQ(observer_->remove(root() + "/taken"), 0);
  expect_state(*agent, "taken/i-1", "registered", seconds(45));
}

TEST_F(Ownership, A19_SomebodyElseOwnsThePath) {
  ASSERT_EQ(observer_->create_with_parents(path(0), "theirs", true), 0);
  ASSERT_EQ(observer_->create_with_parents(path(1), "stays", false), 0);
  ASSERT_EQ(observer_->create_with_parents(path(2), "left alone", false), 0);
  auto agent = start_agent();
  put(*agent, 0, 4);
  expect_state(*agent, "web/i-0", "conflict");
  expect_state(*agent, "web/i-1", "conflict");
  expect_state(*agent, "web/i-2", "conflict");
  EXPECT_EQ(reason_of(*agent, "web/i-0"), "foreign_owner");
  EXPECT_EQ(reason_of(*agent, "web/i-1"), "persistent_znode");
  expect_state(*agent, "web/i-3", "registered");
  UnixHttp(agent->socket()).del(target(2));
  // A restart and a reconnect later they are still theirs.
  agent->kill();
  ASSERT_TRUE(agent->start());
  expect_state(*agent, "web/i-0", "conflict");
  proxy(proxy_of(*agent)).cut();
  expect_others_proceed(*agent);
  EXPECT_EQ(observer_->get(path(0))->data, "theirs");
  EXPECT_EQ(observer_->get(path(1))->data, "stays");
  EXPECT_EQ(observer_->get(path(2))->data, "left alone");
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(count(transactions(), "delete", path(i)) + count(transactions(), "set", path(i)), 0U) << "trespass";
  }
  ASSERT_EQ(observer_->remove(path(0)), 0);
  ASSERT_EQ(observer_->remove(path(1)), 0);
  expect_state(*agent, "web/i-0", "registered", seconds(5));
  expect_state(*agent, "web/i-1", "registered", seconds(5));
}

TEST_F(Ownership, A21_CreateIsDeniedThenGranted) {
  ASSERT_EQ(observer_->create_with_parents(root() + "/denied", ""), 0);
  ASSERT_EQ(observer_->lock(root() + "/denied"), 0);
  auto agent = start_agent();
  put_one(*agent, "/v1/registrations/denied/i-1", "x");
  expect_state(*agent, "denied/i-1", "blocked");
  EXPECT_EQ(reason_of(*agent, "denied/i-1"), "no_auth");
  expect_others_proceed(*agent);
  const auto tried = sums().writes();
  pause(2'000);
  EXPECT_LE(sums().writes() - tried, 6U) << "a refusal is tried again slowly";
  ASSERT_EQ(observer_->unlock(root() + "/denied"), 0);
  expect_state(*agent, "denied/i-1", "registered", seconds(45));
}

TEST_F(Ownership, A23_AQuotaIsExceeded) {
  const std::string quota = "/zookeeper/quota" + root() + "/small";
  ASSERT_EQ(observer_->create_with_parents(root() + "/small", ""), 0);
  const std::string none = "bytes=-1=;byteHardLimit=-1;";
  ASSERT_EQ(observer_->create_with_parents(quota + "/zookeeper_limits", "count=3," + none + "countHardLimit=3"), 0);
  ASSERT_EQ(observer_->create(quota + "/zookeeper_stats", "count=1,bytes=0"), 0);
  auto agent = start_agent();
  for (int i = 0; i < 4; ++i) {
    put_one(*agent, "/v1/registrations/small/" + name(i), "x");
    // One by one: the servers count what is applied, and let a whole pipeline pass.
    expect_state(*agent, "small/" + name(i), i < 2 ? "registered" : "blocked");
  }
  EXPECT_EQ(reason_of(*agent, "small/i-3"), "quota");
  expect_state(*agent, "small/i-0", "registered");
  expect_others_proceed(*agent);
  UnixHttp(agent->socket()).del("/v1/registrations/small/i-0");
  UnixHttp(agent->socket()).del("/v1/registrations/small/i-1");
  expect_state(*agent, "small/i-2", "registered", seconds(45));
  expect_state(*agent, "small/i-3", "registered", seconds(45));
}

TEST_F(Ownership, A25_TooManyBytesOfPathsAreRefusedAtTheDoor) {
  // Without servers: these take no packet that could end a session of so many, and would never be well again.
  auto agent = make_agent("6s", "127.0.0.1:1");
  ASSERT_TRUE(agent->start()) << agent->log();
  UnixHttp http(agent->socket());
  int accepted = 0;
  HttpAnswer answer;
  // 250 characters of name and what stands before them, in batches: 512 KiB are used up after some 1,900.
  for (int batch = 0; batch < 30; ++batch) {
    auto operations = nlohmann::json::array();
    for (int i = 0; i < 100; ++i) {
      const std::string id = std::to_string(batch * 100 + i);
      operations.push_back(
          {{"op", "register"}, {"service", "s"}, {"instance", std::string(250 - id.size(), 'n') + id}});
    }
    answer = http.post("/v1/batch", nlohmann::json{{"operations", operations}}.dump());
    if (answer.status != 202) {
      break;
    }
    accepted += 100;
  }
  EXPECT_EQ(answer.status, 429) << answer.body;
  EXPECT_EQ(answer.json()["code"], "quota");
  EXPECT_GT(accepted, 1'000);
  EXPECT_EQ(agent->status()["registrations"]["total"], accepted) << "a refused batch left something";
}

TEST_F(Ownership, A36_A37_SomebodyDeletesAndOverwritesOurZnodes) {
  auto agent = start_agent();
  put(*agent, 0, 50);
  ASSERT_TRUE(agent->wait_settled());
  pause(500);  // for the watches
  const auto before = std::chrono::steady_clock::now();
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(observer_->remove(path(i)), 0);
    ASSERT_EQ(observer_->set(path(10 + i), "scribble"), 0);
  }
  const auto repaired = [&] {
    const Tree tree = registered();
    return tree.size() == 50 &&
           std::all_of(tree.begin(), tree.end(), [](const auto& entry) { return entry.second.data != "scribble"; });
  };
  EXPECT_TRUE(eventually(repaired, seconds(5))) << agent->log();
  RecordProperty(
      "repaired_ms",
      std::to_string(std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - before).count()));
  expect_exactly(*agent, 0, 50);
  // All of them with their parent.
  for (int i = 0; i < 50; ++i) {
    observer_->remove(path(i));
  }
  observer_->remove(root() + "/web");
  EXPECT_TRUE(eventually([&] { return registered().size() == 50; }, seconds(5)));
  ASSERT_TRUE(agent->wait_settled());
  expect_exactly(*agent, 0, 50);
}

TEST_F(Ownership, A40_AThrottledRequestIsTriedAgain) {
  auto agent = start_agent();
  put(*agent, 0, 1);
  ASSERT_TRUE(agent->wait_settled());
  for (const auto& one : proxies_) {
    one->answer({ZkOpcode::create2, ZkOpcode::multi}, 5, -127);
  }
  put(*agent, 1, 60);
  ASSERT_TRUE(agent->wait_settled()) << agent->status().dump();
  EXPECT_EQ(sums().fired, 5U);
  // What was in flight behind a throttled create may be there before it; each is created once.
  expect_exactly(*agent, 0, 60);
  for (int i = 0; i < 60; ++i) {
    EXPECT_EQ(count(transactions(), "create", path(i)), 1U);
  }
}

// The servers cut the connection of whoever sends more than jute.maxbuffer, here 300,000 bytes, and say nothing.
TEST_F(Ownership, Poison_ARequestThatCutsTheConnectionIsSetAsideAlone) {
  auto agent = start_agent();
  put(*agent, 0, 20);
  ASSERT_TRUE(agent->wait_settled());
  const Tree before = registered();
  const std::string large(400'000, 'x');
  put(*agent, 20, 40);
  ASSERT_EQ(put_one(*agent, target(1'000), large).status, 202);
  put(*agent, 40, 60);
  expect_state(*agent, "web/i-1000", "blocked");
  EXPECT_EQ(reason_of(*agent, "web/i-1000"), "too_large");
  expect_others_proceed(*agent);
  for (int i = 0; i < 60; ++i) {
    expect_state(*agent, "web/" + name(i), "registered");
  }
  const auto connects = sums().handshakes;
  pause(3'000);
  EXPECT_LE(sums().handshakes - connects, 2U) << "the poison is tried again and again";
  const Tree after = registered();
  for (const auto& [path, znode] : before) {
    EXPECT_EQ(after.at(path), znode);
  }
  // A good content cures it at once.
  put_one(*agent, target(1'000), "small");
  expect_state(*agent, "web/i-1000", "registered", seconds(5));
}

}  // namespace
}  // namespace limpet::test
