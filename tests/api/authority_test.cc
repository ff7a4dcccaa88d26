// Who is served, and how much of what all share one user can take.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <list>

#include "agent/api/shares.h"
#include "tests/api/harness.h"

namespace limpet::api {
namespace {

constexpr uid_t kSomebody = 4711;
constexpr uid_t kAnother = 4712;

core::Caller user(std::uint32_t uid) {
  core::Caller caller;
  caller.owner.uid = uid;
  caller.privileged = uid == 0;
  return caller;
}

TEST(SharesTest, NobodyTakesAll) {
  using Answer = Shares::Answer;
  Shares shares({20, 4, 5});
  EXPECT_EQ(shares.take(user(1), 5), Answer::taken);
  EXPECT_EQ(shares.take(user(1), 1), Answer::too_much_for_user);
  EXPECT_EQ(shares.take(user(0), 10), Answer::taken);
  EXPECT_EQ(shares.take(user(0), 6), Answer::too_much_for_all);
  EXPECT_EQ(shares.take(user(2), 6), Answer::too_much_for_all);
  EXPECT_EQ(shares.take(user(2), 5), Answer::taken);
  EXPECT_EQ(shares.take(user(3), 1), Answer::too_much_for_all);  // root has the rest
  shares.give_back(user(0), 10);
  EXPECT_EQ(shares.take(user(3), 3), Answer::taken);
  EXPECT_EQ(shares.of(user(3)), 3U);
  for (const auto& [uid, amount] : {std::pair(1, 5), {2, 5}, {3, 3}}) {
    shares.give_back(user(static_cast<std::uint32_t>(uid)), static_cast<std::size_t>(amount));
  }
  EXPECT_EQ(shares.total(), 0U);
  EXPECT_EQ(shares.take(user(0), 20), Answer::taken);
}

TEST(SharesTest, EachTakesAtMostHalfOfWhatOthersLeave) {
  Shares shares({100, 0, 1'000});
  for (const auto& [uid, most] : {std::pair(1U, 50U), {2U, 25U}, {3U, 13U}, {4U, 6U}, {5U, 3U}, {6U, 2U}, {7U, 1U}}) {
    EXPECT_EQ(shares.take(user(uid), most + 1), Shares::Answer::too_much_for_all) << uid;
    EXPECT_EQ(shares.take(user(uid), most), Shares::Answer::taken) << uid;
  }
}

TEST(SharesTest, WhatCannotBeRefusedIsCountedAllTheSame) {
  Shares shares({100, 0, 40});
  shares.add(user(1), 90);
  EXPECT_EQ(shares.of(user(1)), 90U);
  EXPECT_EQ(shares.take(user(1), 1), Shares::Answer::too_much_for_user);
  EXPECT_EQ(shares.take(user(2), 5), Shares::Answer::taken);
  shares.give_back(user(1), 90);
  EXPECT_EQ(shares.take(user(2), 35), Shares::Answer::taken);
}

TEST(SharesTest, WhatIsTakenStaysUnderTighterLimits) {
  Shares shares({10, 0, 10});
  shares.add(user(1), 8);
  shares.set_limits({5, 0, 3});
  EXPECT_EQ(shares.take(user(0), 1), Shares::Answer::too_much_for_all);
  EXPECT_EQ(shares.take(user(1), 0), Shares::Answer::too_much_for_all);
  shares.give_back(user(1), 8);
  EXPECT_EQ(shares.take(user(1), 3), Shares::Answer::taken);
}

class AuthorityTest : public ServerTest {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) {
      GTEST_SKIP() << "only root can act as another user";
    }
  }
  Answer get(uid_t uid, const std::string& target = "/healthz") {
    const ActAs who(uid);
    return call_once(socket_path(), "GET", target);
  }
  void add_clients(std::list<Client>& clients, uid_t uid, std::size_t count) {
    const ActAs who(uid);
    for (std::size_t i = 0; i < count; ++i) {
      clients.emplace_back(socket_path());
      EXPECT_EQ(clients.back().call("GET", "/healthz")->status, 200);
    }
  }
};

TEST_F(AuthorityTest, OverflowUidIsRefusedEverything) {
  start();
  const ActAs nobody(65'534);
  for (const char* const target : {"/healthz", "/v1/status", "/v1/registrations/web/i-1"}) {
    const auto refused = call_once(socket_path(), "GET", target);
    expect_problem(refused, 403, "not_allowed");
    EXPECT_EQ(refused.header("connection"), "close");
  }
  expect_problem(call_once(socket_path(), "PUT", "/v1/registrations/web/i-1", "{}"), 403, "not_allowed");
}

TEST_F(AuthorityTest, OneUserHasOnlySoManyConnections) {
  ServerOptions options;
  options.max_connections_per_uid = 3;
  start(std::move(options));
  std::list<Client> clients;
  add_clients(clients, kSomebody, 3);
  const auto refused = get(kSomebody);
  expect_problem(refused, 503, "too_many_connections");
  EXPECT_FALSE(refused.header("retry-after").empty());
  EXPECT_NE(refused.body.find("user 4711"), std::string::npos);
  EXPECT_EQ(get(kAnother).status, 200);
  add_clients(clients, 0, 5);
  clients.pop_front();
  while (on_server([this] { return server_->connections(); }) != 7) {
  }
  EXPECT_EQ(get(kSomebody).status, 200);
}

TEST_F(AuthorityTest, SomeConnectionsAreKeptForRoot) {
  ServerOptions options;
  options.max_connections = 16;
  start(std::move(options));
  std::list<Client> clients;
  add_clients(clients, kSomebody, 7);
  expect_problem(get(kSomebody), 503, "too_many_connections");
  add_clients(clients, kAnother, 4);
  expect_problem(get(kAnother), 503, "too_many_connections");
  EXPECT_EQ(get(kAnother + 1).status, 200);
  add_clients(clients, 0, 5);
  expect_problem(get(kAnother + 1), 503, "too_many_connections");
}

TEST_F(AuthorityTest, LimitsChangeWhileItRuns) {
  ServerOptions options;
  start(options);
  std::list<Client> clients;
  add_clients(clients, kSomebody, 3);
  options.max_connections_per_uid = 3;
  options.limits.request.max_body_bytes = 100;
  options.body.max_data_bytes = 10;
  on_server([&] { server_->set_limits(options); });
  expect_problem(get(kSomebody), 503, "too_many_connections");
  Client& client = clients.front();
  expect_problem(client.call("PUT", "/v1/registrations/web/i-1", R"({"data":"12345678901"})"), 413, "too_large");
  EXPECT_EQ(client.call("PUT", "/v1/registrations/web/i-1", R"({"data":"1234567890"})")->status, 202);
  expect_problem(client.call("PUT", "/v1/registrations/web/i-1", std::string(101, ' ')), 413, "too_large");
}

// Bodies that come and do not end: their memory is bounded, for one user and so for all.
TEST_F(AuthorityTest, ArrivingBodiesHaveABound) {
  ServerOptions options;
  options.limits.request_timeout = std::chrono::minutes(10);  // a slow machine reads them one after another
  start(std::move(options));
  constexpr std::size_t kBody = 1024 * 1024;
  const std::string head =
      "PUT /v1/registrations/web/i-1 HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(kBody) + "\r\n\r\n";
  const std::string most(kBody - 1, ' ');
  std::list<Client> stalled;
  const auto stall = [&] {
    const ActAs who(kSomebody);
    stalled.emplace_back(socket_path());
    stalled.back().send(head);
    stalled.back().send(most);  // where it was refused there may be nobody left to take it
  };
  for (int i = 0; i < 30; ++i) {
    stall();
  }
  std::size_t refused = 0;
  const auto finish = [&](Client& client) {
    client.send("x");
    const auto answer = client.receive();
    ASSERT_TRUE(answer);
    if (answer->status == 503) {
      expect_problem(answer, 503, "too_many_connections");
      EXPECT_FALSE(answer->header("retry-after").empty());
      ++refused;
    } else {
      expect_problem(answer, 400, "bad_json");
    }
  };
  {
    const ActAs another(kAnother);
    EXPECT_EQ(
        call_once(socket_path(), "PUT", "/v1/registrations/web/b", "{\"data\":\"" + std::string(900'000, 'x') + "\"}")
            .status,
        202);
  }
  EXPECT_EQ(call_once(socket_path(), "PUT", "/v1/registrations/web/small", R"({"data":"x"})").status, 202);
  for (Client& client : stalled) {
    finish(client);
  }
  EXPECT_EQ(refused, 6U);
  stall();
  finish(stalled.back());
  EXPECT_EQ(refused, 6U);  // the memory came back
}

TEST_F(AuthorityTest, TenThousandAttemptsStarveNobody) {
  start();
  std::atomic<bool> going{true};
  std::atomic<int> attempts{0};
  std::thread rush([&] {
    const ActAs who(kSomebody);
    std::list<Client> clients;
    while (going || attempts < 10'000) {
      clients.emplace_back(socket_path());
      ++attempts;
      if (clients.size() > 400) {
        clients.pop_front();
      }
    }
  });
  for (int i = 0; i < 50 || attempts < 10'000; ++i) {
    EXPECT_EQ(get(kAnother, "/v1/status").status, 200);
    EXPECT_EQ(get(0, "/v1/status").status, 200);
  }
  going = false;
  rush.join();
  EXPECT_EQ(get(kAnother).status, 200);
}

}  // namespace
}  // namespace limpet::api
