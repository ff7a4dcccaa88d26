// The real limpetd under many, rude, slow and foreign callers. No ZooKeeper server runs.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <list>
#include <mutex>
#include <thread>

#include "tests/support/act_as.h"
#include "tests/support/agent_process.h"
#include "tests/support/raw_connection.h"

namespace limpet::test {
namespace {

constexpr uid_t kAnyUser = 4711;
constexpr uid_t kAnother = 4712;
constexpr const char* kCallerTarget = "/v1/registrations/web/i-1";

class Callers : public ::testing::Test {
 protected:
  void start(std::vector<std::string> arguments = {}) {
    agent_ = std::make_unique<AgentProcess>("127.0.0.1:1", std::move(arguments));
    ASSERT_TRUE(agent_->start()) << agent_->log();
  }
  void only_as_root() {
    if (::geteuid() != 0) {
      GTEST_SKIP() << "only root can act as another user";
    }
  }
  HttpAnswer call(const std::string& method, const std::string& target, const std::string& body = "") {
    UnixHttp http(agent_->socket());
    return http.call(method, target, body);
  }
  HttpAnswer call_as(uid_t uid, const std::string& method, const std::string& target, const std::string& body = "") {
    const ActAs who(uid);
    return call(method, target, body);
  }
  static std::string code(const HttpAnswer& answer) { return answer.json().value("code", ""); }

  // Runs `work(n)` in so many threads.
  template <typename Work>
  static void at_once(int count, Work work) {
    std::list<std::thread> threads;
    for (int n = 0; n < count; ++n) {
      threads.emplace_back(work, n);
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
  }

  std::unique_ptr<AgentProcess> agent_;
};

TEST_F(Callers, TheSamePutAHundredTimesAtOnceIsOneChange) {
  start();
  std::atomic<int> wrong{0};
  const auto put = [&](const std::string& body, std::uint64_t seq) {
    at_once(10, [&, seq](int) {
      UnixHttp http(agent_->socket());
      for (int i = 0; i < 10; ++i) {
        const HttpAnswer answer = http.put(kCallerTarget, body);
        wrong += (answer.status == 200 || answer.status == 202) && answer.json()["seq"] == seq ? 0 : 1;
      }
    });
  };
  put(R"({"data":"a"})", 1);
  put(R"({"data":"b"})", 2);
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(agent_->status()["queue"]["last_seq"], 2);
}

TEST_F(Callers, AStormOnOneNameEndsInTheLastAcknowledgedState) {
  start();
  std::mutex mutex;
  std::map<std::uint64_t, std::string> acknowledged;  // seq -> data, or "" for a removal
  at_once(10, [&](int caller) {
    UnixHttp http(agent_->socket());
    for (int i = 0; i < 40; ++i) {
      const std::string data = std::to_string(caller) + "-" + std::to_string(i);
      const bool remove = (caller + i) % 3 == 0;
      const HttpAnswer answer =
          remove ? http.del(kCallerTarget) : http.put(kCallerTarget, R"({"data":")" + data + R"("})");
      const std::lock_guard lock(mutex);
      if (answer.status == 200 || answer.status == 202) {
        const auto [entry, added] = acknowledged.emplace(answer.json()["seq"].get<std::uint64_t>(), remove ? "" : data);
        // A PUT is answered by what stands then, which may be a later change already.
        if (!added && entry->second != (remove ? "" : data) && remove) {
          entry->second = "";
        }
      } else {
        EXPECT_TRUE(remove && answer.status == 404) << answer.body;
      }
    }
  });
  const auto last_seq = agent_->status()["queue"]["last_seq"].get<std::uint64_t>();
  for (int restart = 0; restart < 2; ++restart) {
    const HttpAnswer now = call("GET", kCallerTarget);
    if (now.status == 404) {
      EXPECT_EQ(acknowledged[last_seq], "");
    } else {
      EXPECT_EQ(now.json()["seq"], last_seq);
      EXPECT_FALSE(now.json()["data"].get<std::string>().empty());
    }
    agent_->kill();
    ASSERT_TRUE(agent_->start()) << agent_->log();
    EXPECT_EQ(agent_->status()["queue"]["last_seq"], last_seq);
  }
}

TEST_F(Callers, WhatIsAnothersIsLeftAlone) {
  only_as_root();
  start();
  EXPECT_EQ(call_as(kAnyUser, "PUT", kCallerTarget, R"({"data":"x","ttl":"24h"})").status, 202);
  for (const auto& [method, target] :
       std::vector<std::pair<std::string, std::string>>{{"PUT", kCallerTarget},
                                                        {"DELETE", kCallerTarget},
                                                        {"POST", std::string(kCallerTarget) + "/heartbeat"},
                                                        {"PUT", std::string(kCallerTarget) + "/maintenance"},
                                                        {"DELETE", std::string(kCallerTarget) + "/maintenance"}}) {
    const HttpAnswer answer = call_as(kAnother, method, target, method == "DELETE" ? "" : "{}");
    EXPECT_EQ(answer.status, 403) << method << target;
    EXPECT_EQ(code(answer), "not_owner");
  }
  EXPECT_EQ(call_as(kAnother, "POST", "/v1/leave").status, 403);
  EXPECT_EQ(call_as(kAnother, "PUT", "/v1/maintenance", "{}").status, 403);
  const auto untouched = call_as(kAnother, "GET", kCallerTarget).json();
  EXPECT_EQ(untouched["seq"], 1);
  EXPECT_EQ(untouched["owner"]["uid"], kAnyUser);
  // Root may, and it stays the property of who made it.
  EXPECT_EQ(call("PUT", kCallerTarget, R"({"data":"y"})").json()["owner"]["uid"], kAnyUser);
  EXPECT_EQ(call_as(kAnyUser, "DELETE", kCallerTarget).status, 202);
}

TEST_F(Callers, WhoHasNoNumberIsRefusedEverything) {
  only_as_root();
  start();
  for (const std::string target : {"/v1/status", kCallerTarget}) {
    const HttpAnswer answer = call_as(65'534, "GET", target);
    EXPECT_EQ(answer.status, 403);
    EXPECT_EQ(code(answer), "not_allowed");
  }
  EXPECT_EQ(call_as(65'534, "PUT", kCallerTarget, "{}").status, 403);
  EXPECT_EQ(call("GET", kCallerTarget).status, 404);
}

TEST_F(Callers, WhoIsRefusedIsInTheLogOnceAMinute) {
  only_as_root();
  start();
  EXPECT_EQ(call_as(kAnyUser, "PUT", kCallerTarget, "{}").status, 202);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(call_as(kAnother, "DELETE", kCallerTarget).status, 403);
    EXPECT_EQ(call_as(65'534, "GET", "/v1/status").status, 403);
  }
  const std::string log = agent_->log();
  const auto count = [&](const std::string& words) {
    int found = 0;
    for (std::size_t at = log.find(words); at != std::string::npos; at = log.find(words, at + 1)) {
      ++found;
    }
    return found;
  };
  EXPECT_EQ(count("event=caller_refused"), 2) << log;
  EXPECT_EQ(count("event=caller_refused uid=4712 "), 1) << log;
  EXPECT_EQ(count("code=not_owner target=\"/v1/registrations/web/i-1\""), 1) << log;
  EXPECT_EQ(count("event=caller_refused uid=65534 "), 1) << log;
}

TEST_F(Callers, RegistrationsAreBoundedForOneUserAndForAll) {
  only_as_root();
  start({"--max-registrations", "5", "--max-registrations-per-uid", "2"});
  const auto put = [&](uid_t uid, const std::string& name) {
    return call_as(uid, "PUT", "/v1/registrations/web/" + name, R"({"data":"x"})");
  };
  EXPECT_EQ(put(kAnyUser, "a").status, 202);
  EXPECT_EQ(put(kAnyUser, "b").status, 202);
  EXPECT_EQ(put(kAnyUser, "c").status, 429);
  EXPECT_EQ(code(put(kAnyUser, "c")), "quota");
  EXPECT_EQ(put(kAnother, "c").status, 202);
  EXPECT_EQ(put(0, "d").status, 202);
  EXPECT_EQ(put(0, "e").status, 202);
  EXPECT_EQ(code(put(0, "f")), "quota");
  EXPECT_EQ(call_as(kAnyUser, "DELETE", "/v1/registrations/web/a").status, 202);
  EXPECT_EQ(put(kAnyUser, "c2").status, 202);
}

TEST_F(Callers, TenThousandConnectionsStarveNobody) {
  only_as_root();
  start();
  std::atomic<bool> going{true};
  std::atomic<int> attempts{0};
  std::thread rush([&] {
    const ActAs who(kAnyUser);
    std::list<RawConnection> held;
    while (going || attempts < 10'000) {
      held.emplace_back(agent_->socket());
      held.back().send("GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n");
      ++attempts;
      if (held.size() > 300) {
        held.pop_front();
      }
    }
  });
  for (int i = 0; i < 20 || attempts < 10'000; ++i) {
    EXPECT_EQ(call_as(kAnother, "GET", "/v1/status").status, 200);
    EXPECT_EQ(call("GET", "/v1/status").status, 200);
  }
  going = false;
  rush.join();
  EXPECT_EQ(call_as(kAnother, "PUT", kCallerTarget, "{}").status, 202);
}

TEST_F(Callers, SlowOnesAreCutOffAndHoldNobodyUp) {
  start({"--request-timeout", "1s"});
  std::list<RawConnection> slow;
  for (int i = 0; i < 200; ++i) {
    slow.emplace_back(agent_->socket());
    slow.back().send(i % 2 == 0 ? "PUT /v1/registrations/a/b HTTP/1.1\r\nHo"
                                : "PUT /v1/registrations/a/b HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{");
  }
  EXPECT_EQ(call("PUT", kCallerTarget, "{}").status, 202);
  for (RawConnection& one : slow) {
    EXPECT_EQ(one.read_to_end().substr(0, 12), "HTTP/1.1 408");
  }
  EXPECT_EQ(call("GET", "/v1/registrations/a/b").status, 404);
}

TEST_F(Callers, AnswersThatNobodyReadsHoldNobodyUp) {
  start();
  EXPECT_EQ(call("PUT", kCallerTarget, R"({"data":")" + std::string(500'000, 'x') + "\"}").status, 202);
  std::string requests;
  for (int i = 0; i < 50; ++i) {
    requests += "GET /v1/registrations HTTP/1.1\r\nHost: x\r\n\r\n";
  }
  std::list<RawConnection> deaf;
  for (int i = 0; i < 300; ++i) {
    deaf.emplace_back(agent_->socket());
    deaf.back().send(requests);
  }
  // The memory for answers is full, and an answer of its own is small enough for whoever reads it.
  const HttpAnswer answer = call("GET", "/healthz");
  EXPECT_TRUE(answer.status == 200 || answer.status == 503) << answer.status;
  deaf.clear();
  int status = 0;
  for (int i = 0; i < 1'000 && status != 202; ++i) {
    status = call("PUT", "/v1/registrations/web/i-2", "{}").status;
    std::this_thread::sleep_for(std::chrono::milliseconds(status == 202 ? 0 : 10));
  }
  EXPECT_EQ(status, 202);
}

}  // namespace
}  // namespace limpet::test
