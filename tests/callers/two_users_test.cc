// What two ordinary users of one agent can do to each other. The real limpetd, without ZooKeeper.
#include "tests/support/two_users.h"

#include <list>
#include <thread>

#include "tests/support/raw_connection.h"

namespace limpet::test {
namespace {

constexpr const char* kTarget = "/v1/registrations/web/i-1";

std::string get_text(const std::string& target) {
  return "GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n";
}

std::string repeated(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) {
    all += text;
  }
  return all;
}

// Alice asks for large pages on many connections and reads none of them.
class UnreadAnswers : public TwoUsers {
 protected:
  static constexpr int kConnections = 200;

  void SetUp() override {
    TwoUsers::SetUp();
    if (IsSkipped()) {
      return;
    }
    start();
    const std::string body = R"({"data":")" + std::string(900'000, 'x') + "\"}";
    for (int i = 0; i < 8; ++i) {
      ASSERT_EQ(call_as(kAlice, "PUT", "/v1/registrations/large/i-" + std::to_string(i), body).status, 202);
    }
  }
  void stop_reading() {
    const ActAsMember who(kAlice);
    const std::string requests = repeated(get_text("/v1/registrations"), 20);
    for (int i = 0; i < kConnections; ++i) {
      unread_.emplace_back(agent_->socket());
      unread_.back().send(requests);
    }
  }
  // Waits until Alice is refused a page; false where that never comes.
  bool wait_until_over() {
    for (int i = 0; i < 3'000; ++i) {
      if (code(call_as(kAlice, "GET", "/v1/registrations")) == "too_many_connections") {
        return true;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

  std::list<RawConnection> unread_;
};

TEST_F(UnreadAnswers, OfOneUserRefuseNothingToOthers) {
  const auto bobs = connect_as(kBob);
  ASSERT_EQ(bobs->put("/v1/registrations/bob/bound", R"({"data":"x","bind":"connection"})").status, 202);
  ASSERT_EQ(bobs->put("/v1/registrations/bob/ttl", R"({"data":"x","ttl":"1h"})").status, 202);
  stop_reading();
  for (int i = 0; i < 300; ++i) {
    ASSERT_EQ(bobs->post("/v1/registrations/bob/ttl/heartbeat", "").status, 200) << i;
    ASSERT_EQ(bobs->put("/v1/registrations/bob/other", R"({"data":")" + std::to_string(i) + "\"}").status, 202) << i;
    ASSERT_EQ(call("GET", "/v1/status").status, 200) << i;
  }
  EXPECT_EQ(bobs->get("/v1/registrations").json()["registrations"].size(), 11U);
  EXPECT_EQ(call("GET", "/v1/registrations").json()["registrations"].size(), 11U);
  EXPECT_EQ(call("GET", "/v1/registrations/bob/bound").status, 200) << "its connection was closed";
}

TEST_F(UnreadAnswers, RefuseTheirUserLargeAnswersOnly) {
  const auto hers = connect_as(kAlice);
  ASSERT_EQ(hers->put("/v1/registrations/alice/bound", R"({"data":"x","bind":"connection","ttl":"1h"})").status, 202);
  stop_reading();
  ASSERT_TRUE(wait_until_over());
  for (const char* const target : {"/v1/registrations", "/v1/queue", "/v1/history", "/v1/registrations/large/i-1"}) {
    const HttpAnswer refused = hers->get(target);
    EXPECT_EQ(code(refused), "too_many_connections") << target << refused.status;
  }
  // On the same connection, which goes on.
  EXPECT_EQ(hers->put("/v1/registrations/alice/bound", R"({"data":"y","bind":"connection","ttl":"1h"})").status, 202);
  EXPECT_EQ(hers->put("/v1/registrations/alice/large", R"({"data":")" + std::string(900'000, 'y') + "\"}").status, 202);
  EXPECT_EQ(hers->post("/v1/registrations/alice/bound/heartbeat", "").status, 200);
  EXPECT_EQ(hers->post("/v1/registrations/large/i-1/heartbeat", "").status, 200);
  EXPECT_EQ(hers->get("/v1/registrations/alice/bound").status, 200);
  EXPECT_EQ(hers->get("/healthz").status, 200);
  EXPECT_EQ(hers->get("/v1/status").status, 200);
  EXPECT_EQ(hers->del("/v1/registrations/large/i-2").status, 202);
  unread_.clear();
  bool served = false;
  for (int i = 0; i < 3'000 && !served; ++i) {
    served = hers->get("/v1/registrations").status == 200;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(served) << "the memory did not come back";
  EXPECT_EQ(call("GET", "/v1/registrations/alice/bound").status, 200);
}

TEST_F(TwoUsers, BodiesThatOneUserDoesNotFinishCloseNoConnection) {
  start();
  const auto hers = connect_as(kAlice);
  ASSERT_EQ(hers->put(kTarget, R"({"data":"x","bind":"connection"})").status, 202);
  std::list<RawConnection> stalled;
  const std::string head = "PUT /v1/registrations/a/b HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
  const std::string most(900'000, ' ');
  {
    const ActAsMember who(kAlice);
    for (int i = 0; i < 60; ++i) {
      stalled.emplace_back(agent_->socket());
      stalled.back().send(head);
      for (std::size_t sent = 0; sent < most.size();) {  // as far as the agent takes it
        const std::size_t some = stalled.back().send(most.substr(sent, 50'000));
        sent += some;
        if (some == 0) {
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
      }
    }
  }
  const std::string large = R"({"data":")" + std::string(900'000, 'y') + "\"}";
  const HttpAnswer refused = hers->put("/v1/registrations/web/large", large);
  EXPECT_EQ(code(refused), "too_many_connections") << refused.status;
  EXPECT_EQ(hers->put("/v1/registrations/web/small", "{}").status, 202);
  EXPECT_EQ(call_as(kBob, "PUT", "/v1/registrations/bob/large", large).status, 202);
  EXPECT_EQ(call("GET", kTarget).status, 200) << "its connection was closed";
}

TEST_F(TwoUsers, HeartbeatOnARefusedConnectionRenewsTheTtl) {
  start({"--max-connections-per-uid", "2"});
  const auto first = connect_as(kAlice);
  const auto second = connect_as(kAlice);
  ASSERT_EQ(first->put(kTarget, R"({"data":"x","ttl":"5s"})").status, 202);
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(12);
  while (std::chrono::steady_clock::now() < until) {
    EXPECT_EQ(code(call_as(kAlice, "POST", std::string(kTarget) + "/heartbeat")), "too_many_connections");
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  EXPECT_EQ(call("GET", kTarget).status, 200);
  EXPECT_EQ(code(call_as(kBob, "POST", std::string(kTarget) + "/heartbeat")), "not_owner");
}

TEST_F(TwoUsers, ConnectionsOfSomeLeaveRoomForOthers) {
  start({"--max-connections", "128", "--max-connections-per-uid", "120"});
  std::list<RawConnection> held;
  for (const uid_t uid : {kAlice, kAlice + 100, kAlice + 101}) {
    const ActAsMember who(uid);
    for (int i = 0; i < 120; ++i) {
      held.emplace_back(agent_->socket());
    }
  }
  EXPECT_EQ(call_as(kBob, "GET", "/v1/status").status, 200);
  EXPECT_EQ(call("GET", "/v1/status").status, 200);
}

// Requests that cost much and answer little: each looks at all registrations.
TEST_F(TwoUsers, PipelinedRequestsOfOneUserAreTakenInTurnWithThoseOfOthers) {
  start();
  std::string operations;
  for (int i = 0; i < 4'000; ++i) {
    operations += std::string(i == 0 ? "" : ",") + R"({"op":"register","service":"s","instance":"i-)" +
                  std::to_string(i) + R"(","data":"x"})";
  }
  ASSERT_EQ(call_as(kAlice, "POST", "/v1/batch", R"({"operations":[)" + operations + "]}").status, 202);
  const auto requests_so_far = [](UnixHttp& http) {
    const std::string metrics = http.get("/metrics").body;
    const std::string name = "\nlimpet_api_requests_total ";
    return std::atol(metrics.c_str() + metrics.find(name) + name.size());
  };
  const auto bobs = connect_as(kBob);
  std::list<RawConnection> flood;
  const std::string requests = repeated(get_text("/v1/registrations?state=conflict"), 300);
  {
    const ActAsMember who(kAlice);
    for (int i = 0; i < 120; ++i) {
      flood.emplace_back(agent_->socket());
      flood.back().send(requests);
    }
  }
  constexpr int kCalls = 20;
  const long before = requests_so_far(*bobs);
  for (int i = 0; i < kCalls; ++i) {
    EXPECT_EQ(bobs->get("/v1/status").status, 200);
  }
  const long passed = requests_so_far(*bobs) - before;
  EXPECT_LT(passed, 100 * kCalls) << "of another user's, before " << kCalls << " of Bob's";
}

TEST_F(TwoUsers, MembersOfTheSocketsGroupAreServedAndNobodyElse) {
  start();
  EXPECT_EQ(call_as(kAlice, "PUT", kTarget, "{}").status, 202);
  EXPECT_EQ(call("GET", kTarget).json()["owner"]["uid"], kAlice);
  EXPECT_EQ(code(call_as(kBob, "DELETE", kTarget)), "not_owner");
  UnixHttp http(agent_->socket());
  const ActAsMember outsider(4713, 4713);
  EXPECT_EQ(http.get("/v1/status").status, 0);
}

TEST_F(TwoUsers, RegistrationIsBoundToAProcessOfItsOwnerOnly) {
  start();
  const pid_t bobs = start_process(kBob);
  const std::string body = R"({"bind":"process","pid":)" + std::to_string(bobs) + "}";
  EXPECT_EQ(call_as(kAlice, "PUT", kTarget, body).status, 422);
  EXPECT_EQ(call_as(kBob, "PUT", kTarget, body).status, 202);
}

}  // namespace
}  // namespace limpet::test
