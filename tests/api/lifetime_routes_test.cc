// Heartbeats, maintenance, bindings and the history, over the wire.
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/api/harness.h"

namespace limpet::api {
namespace {

class LifetimeRoutesTest : public ServerTest {
 protected:
  Answer call(std::string_view method, std::string_view target, std::string_view body = {}) {
    return call_once(socket_path(), method, target, body);
  }
  core::Caller last_caller() {
    return on_server([this] { return service_->last_caller(); });
  }
};

TEST_F(LifetimeRoutesTest, HeartbeatAnswersTheRegistration) {
  start();
  EXPECT_EQ(call("PUT", "/v1/registrations/web/i-1", R"({"data":"x","ttl":"30s"})").status, 202);
  const auto beat = call("POST", "/v1/registrations/web/i-1/heartbeat");
  EXPECT_EQ(beat.status, 200) << beat.body;
  const Json shown = beat.json();
  EXPECT_EQ(shown["id"], "web/i-1");
  EXPECT_EQ(shown["ttl"], "30s");
  EXPECT_FALSE(shown["ttl_expires_at"].is_null());
  EXPECT_EQ(shown["seq"], 1);
}

TEST_F(LifetimeRoutesTest, BulkRequestLooksEachProcessUpOnce) {
  start();
  std::string operations;
  for (int i = 0; i < 1'000; ++i) {
    operations += (i == 0 ? "" : ",") + Json({{"op", "register"},
                                              {"service", "s"},
                                              {"instance", std::to_string(i)},
                                              {"bind", "process"},
                                              {"pid", 100 + i % 3}})
                                            .dump();
  }
  EXPECT_EQ(call("POST", "/v1/batch", R"({"operations":[)" + operations + "]}").status, 202);
  EXPECT_EQ(on_server([this] { return service_->lookups(); }), 3U);
  on_server([this] { service_->end_process(101); });
  const auto refused = call("POST", "/v1/batch", R"({"operations":[)" + operations + "]}");
  expect_problem(refused, 422, "invalid");
  EXPECT_EQ(refused.json()["errors"][0]["pointer"], "/operations/1/pid");
}

TEST_F(LifetimeRoutesTest, HeartbeatIsRefusedInWords) {
  start();
  expect_problem(call("POST", "/v1/registrations/web/i-1/heartbeat"), 404, "not_found");
  expect_problem(call("POST", "/v1/registrations/we%20b/i-1/heartbeat"), 422, "invalid");
  expect_problem(call("POST", "/v1/registrations/web/i-1/heartbeat", R"({"ttl":"1s"})"), 422, "invalid");
  expect_problem(call("POST", "/v1/registrations/web/i-1/heartbeat?wait=1s"), 400, "bad_request");
  const auto wrong = call("PUT", "/v1/registrations/web/i-1/heartbeat");
  expect_problem(wrong, 405, "method_not_allowed");
  EXPECT_EQ(wrong.header("allow"), "POST");
  on_server([this] { service_->stop_accepting(); });
  expect_problem(call("POST", "/v1/registrations/web/i-1/heartbeat"), 503, "shutting_down");
}

TEST_F(LifetimeRoutesTest, MaintenanceOfOne) {
  start();
  on_server([this] { service_->serve(); });
  EXPECT_EQ(call("PUT", "/v1/registrations/web/i-1?wait=24h", R"({"data":"x"})").status, 200);
  const auto on = call("PUT", "/v1/registrations/web/i-1/maintenance", R"({"reason":"new disk"})");
  EXPECT_EQ(on.status, 200) << on.body;
  EXPECT_EQ(on.json()["state"], "maintenance");
  EXPECT_EQ(on.json()["maintenance"]["reason"], "new disk");
  EXPECT_FALSE(on.json()["maintenance"]["since"].is_null());
  const auto off = call("DELETE", "/v1/registrations/web/i-1/maintenance");
  EXPECT_EQ(off.status, 200);
  EXPECT_TRUE(off.json()["maintenance"].is_null());
  EXPECT_EQ(call("PUT", "/v1/registrations/web/i-1/maintenance").json()["maintenance"]["reason"], nullptr);
  expect_problem(call("PUT", "/v1/registrations/web/i-2/maintenance", "{}"), 404, "not_found");
  expect_problem(call("DELETE", "/v1/registrations/web/i-2/maintenance"), 404, "not_found");
  expect_problem(call("PUT", "/v1/registrations/web/i-1/maintenance", R"({"why":"x"})"), 422, "invalid");
}

TEST_F(LifetimeRoutesTest, MaintenanceOfTheHost) {
  start();
  EXPECT_EQ(call("PUT", "/v1/registrations/web/i-1", R"({"data":"x"})").status, 202);
  EXPECT_TRUE(call("GET", "/v1/status").json()["maintenance"].is_null());
  const auto on = call("PUT", "/v1/maintenance", R"({"reason":"new kernel"})");
  EXPECT_EQ(on.status, 200) << on.body;
  EXPECT_EQ(on.json()["maintenance"]["enabled"], true);
  EXPECT_EQ(on.json()["maintenance"]["reason"], "new kernel");
  EXPECT_EQ(call("GET", "/v1/status").json()["maintenance"]["reason"], "new kernel");
  EXPECT_EQ(call("GET", "/v1/registrations/web/i-1").json()["maintenance"]["reason"], "new kernel");
  const auto off = call("DELETE", "/v1/maintenance");
  EXPECT_EQ(off.status, 200);
  EXPECT_EQ(off.json()["maintenance"].dump(), R"({"enabled":false,"reason":null,"since":null})");
}

TEST_F(LifetimeRoutesTest, OnlyThePrivilegedMayWithdrawTheHost) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "only root can act as another user";
  }
  start();
  EXPECT_EQ(call("PUT", "/v1/registrations/web/i-1", R"({"data":"x","ttl":"30s"})").status, 202);
  const ActAs somebody(4711);
  expect_problem(call("PUT", "/v1/maintenance", "{}"), 403, "not_allowed");
  expect_problem(call("DELETE", "/v1/maintenance"), 403, "not_allowed");
  expect_problem(call("PUT", "/v1/registrations/web/i-1", R"({"data":"y"})"), 403, "not_owner");
  expect_problem(call("DELETE", "/v1/registrations/web/i-1"), 403, "not_owner");
  expect_problem(call("POST", "/v1/registrations/web/i-1/heartbeat"), 403, "not_owner");
  expect_problem(call("PUT", "/v1/registrations/web/i-1/maintenance", "{}"), 403, "not_owner");
  EXPECT_EQ(call("GET", "/v1/registrations/web/i-1").json()["seq"], 1);
}

TEST_F(LifetimeRoutesTest, ProcessesAreLookedUp) {
  start();
  const auto own = call("PUT", "/v1/registrations/web/own", R"({"bind":"process"})");
  EXPECT_EQ(own.status, 202) << own.body;
  EXPECT_EQ(own.json()["bind"], "process");
  EXPECT_EQ(own.json()["process"]["pid"], ::getpid());
  EXPECT_EQ(call("PUT", "/v1/registrations/web/own", R"({"bind":"process"})").status, 200);  // nothing changes
  EXPECT_EQ(call("PUT", "/v1/registrations/web/other", R"({"bind":"process","pid":4321})").json()["process"]["pid"],
            4321);
  on_server([this] { service_->end_process(4321); });
  const auto ended = call("PUT", "/v1/registrations/web/late", R"({"bind":"process","pid":4321})");
  expect_problem(ended, 422, "invalid");
  EXPECT_EQ(ended.json()["errors"][0]["pointer"], "/pid");
  const auto batch = call("POST", "/v1/batch", R"({"operations":[{"op":"register","service":"a","instance":"1"},
      {"op":"register","service":"a","instance":"2","bind":"process","pid":4321}]})");
  expect_problem(batch, 422, "invalid");
  EXPECT_EQ(batch.json()["index"], 1);
  EXPECT_EQ(batch.json()["errors"][0]["pointer"], "/operations/1/pid");
  expect_problem(call("GET", "/v1/registrations/a/1"), 404, "not_found");
}

TEST_F(LifetimeRoutesTest, AProcessThatBeganAfterTheConnectionIsNotTheCaller) {
  start();
  on_server([this] { service_->reuse_pids(); });
  const auto own = call("PUT", "/v1/registrations/web/own", R"({"bind":"process"})");
  expect_problem(own, 422, "invalid");
  EXPECT_EQ(own.json()["errors"][0]["pointer"], "/pid");
  EXPECT_EQ(call("PUT", "/v1/registrations/web/named", R"({"bind":"process","pid":4321})").status, 202);
}

TEST_F(LifetimeRoutesTest, ChangesSayWhoMadeThem) {
  ServerOptions options;
  options.wants_groups = true;
  start(std::move(options));
  Client client = connect();
  EXPECT_EQ(client.call("GET", "/v1/status")->status, 200);
  EXPECT_EQ(client.call("PUT", "/v1/registrations/web/i-1", "{}")->status, 202);
  const auto first = last_caller();
  EXPECT_EQ(first.owner.pid, ::getpid());
  EXPECT_EQ(first.program, "api_tests");
  ASSERT_FALSE(first.groups.empty());
  EXPECT_EQ(first.groups.front(), ::getegid());
  EXPECT_EQ(client.call("DELETE", "/v1/registrations/web/i-1")->status, 202);
  EXPECT_EQ(last_caller().connection, first.connection);
  call("PUT", "/v1/registrations/web/i-1", "{}");
  EXPECT_GT(last_caller().connection, first.connection);
}

class ConnectionEndTest : public LifetimeRoutesTest {
 protected:
  std::vector<core::ConnectionId> closed() {
    return on_server([this] { return service_->closed(); });
  }
  // Until so many connections have ended, and then a little longer to see that none is told twice.
  void expect_closed(std::size_t count) {
    while (closed().size() < count) {
    }
    for (int i = 0; i < 100; ++i) {
      on_server([] {});
    }
    EXPECT_EQ(closed().size(), count);
  }
};

TEST_F(ConnectionEndTest, IsToldOnceWhateverEndsIt) {
  start();
  {
    Client client = connect();
    EXPECT_EQ(client.call("PUT", "/v1/registrations/web/closes", R"({"bind":"connection"})")->status, 202);
    EXPECT_TRUE(closed().empty());
  }
  expect_closed(1);
  EXPECT_EQ(closed().front(), last_caller().connection);
  Client half = connect();
  EXPECT_EQ(half.call("PUT", "/v1/registrations/web/half", R"({"bind":"connection"})")->status, 202);
  half.shutdown_send();
  expect_closed(2);
  EXPECT_TRUE(half.at_end());
  expect_closed(2);
  Client broken = connect();
  EXPECT_EQ(broken.call("PUT", "/v1/registrations/web/broken", R"({"bind":"connection"})")->status, 202);
  broken.send("garbage\r\n\r\n");
  EXPECT_EQ(broken.receive()->status, 400);
  broken.close();
  expect_closed(3);
  for (const char* const name : {"closes", "half", "broken"}) {
    const auto gone = call("GET", "/v1/registrations/web/" + std::string(name));
    EXPECT_TRUE(gone.status == 404 || gone.json()["state"] == "removing") << gone.body;
  }
}

TEST_F(ConnectionEndTest, AHalfCloseEndsItThoughAnAnswerIsOwed) {
  start();
  Client client = connect();
  client.send(request_text("PUT", "/v1/registrations/web/i-1?wait=24h", R"({"bind":"connection"})"));
  while (on_server([this] { return service_->waits(); }) != 1) {
  }
  client.shutdown_send();
  expect_closed(1);
  EXPECT_EQ(client.receive()->status, 202);  // what it waited for will not come
}

TEST_F(ConnectionEndTest, WhatCameBeforeTheEndIsNotMissedByIt) {
  start();
  Client client = connect();
  client.send(request_text("PUT", "/v1/registrations/web/a", R"({"bind":"connection"})") +
              request_text("PUT", "/v1/registrations/web/b", R"({"bind":"connection"})"));
  client.shutdown_send();
  EXPECT_EQ(client.receive()->status, 202);
  EXPECT_EQ(client.receive()->status, 202);
  EXPECT_TRUE(client.at_end());
  for (const char* const name : {"a", "b"}) {
    while (true) {
      const auto gone = call("GET", "/v1/registrations/web/" + std::string(name));
      if (gone.status == 404 || gone.json()["state"] == "removing") {
        break;
      }
    }
  }
}

TEST_F(ConnectionEndTest, IsNotTheStopOfTheAgent) {
  start();
  Client client = connect();
  EXPECT_EQ(client.call("PUT", "/v1/registrations/web/i-1", R"({"bind":"connection"})")->status, 202);
  auto stopped = std::make_shared<std::promise<void>>();
  auto done = stopped->get_future();
  on_server([&] { server_->stop([stopped] { stopped->set_value(); }); });
  done.get();
  EXPECT_TRUE(client.at_end());
  EXPECT_TRUE(closed().empty());
}

TEST_F(ConnectionEndTest, IdleOnesStay) {
  ServerOptions options;
  options.limits.request_timeout = std::chrono::milliseconds(20);
  options.limits.write_timeout = std::chrono::milliseconds(20);
  start(std::move(options));
  Client idle = connect();
  EXPECT_EQ(idle.call("PUT", "/v1/registrations/web/i-1", R"({"bind":"connection"})")->status, 202);
  Client slow = connect();
  slow.send("GET /v1");
  EXPECT_EQ(slow.receive()->status, 408);  // so much time has passed
  EXPECT_EQ(idle.call("GET", "/v1/registrations/web/i-1")->status, 200);
}

class HistoryRouteTest : public LifetimeRoutesTest {
 protected:
  // Puts `count` entries into a history of its own, the numbers from `first` on; every third is about web/i-1.
  void record(std::uint64_t first, std::size_t count) {
    on_server([&] {
      for (std::size_t i = 0; i < count; ++i) {
        HistoryEntry entry;
        entry.event = first + i;
        entry.last_seq = Seq{first + i};
        if (entry.event % 3 == 0) {
          entry.id = RegistrationId{"web", "i-1"};
          entry.seq = entry.last_seq;
        }
        entry.what = entry.id ? Happening::accepted : Happening::session_connected;
        service_->record(std::move(entry));
      }
    });
  }
  std::vector<std::uint64_t> events(const Json& answer) {
    std::vector<std::uint64_t> numbers;
    for (const Json& entry : answer["entries"]) {
      numbers.push_back(entry["event"]);
    }
    return numbers;
  }
  // An event that nothing of the fake agent's own has.
  static constexpr std::uint64_t kFirst = 1'000'000;
};

TEST_F(HistoryRouteTest, NewestFirstAPageAtATime) {
  start();
  record(kFirst, 10);
  const auto page = call("GET", "/v1/history?limit=3");
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(events(page.json()), (std::vector<std::uint64_t>{kFirst + 9, kFirst + 8, kFirst + 7}));
  EXPECT_EQ(page.json()["next"], kFirst + 7);
  const auto next = call("GET", "/v1/history?limit=2&before_event=" + std::to_string(kFirst + 7));
  EXPECT_EQ(events(next.json()), (std::vector<std::uint64_t>{kFirst + 6, kFirst + 5}));
  const auto before = call("GET", "/v1/history?limit=1&before=" + std::to_string(kFirst + 3));
  EXPECT_EQ(events(before.json()), (std::vector<std::uint64_t>{kFirst + 2}));
}

TEST_F(HistoryRouteTest, ALongSearchIsMadeInSteps) {
  start();
  record(kFirst, 9'999);
  const auto found = call("GET", "/v1/history?service=web&instance=i-1&limit=10000");
  EXPECT_EQ(found.status, 200);
  EXPECT_EQ(events(found.json()).size(), 3'333U);
  EXPECT_TRUE(found.json()["next"].is_null());
  EXPECT_GE(on_server([this] { return service_->history_queries().size(); }), 5U);
  EXPECT_EQ(events(call("GET", "/v1/history?service=nobody").json()).size(), 0U);
}

TEST_F(HistoryRouteTest, ACallerWhoGoesEndsTheSearch) {
  start();
  record(kFirst, 9'999);
  on_server([this] { service_->hold_history(); });
  {
    Client client = connect();
    client.send(request_text("GET", "/v1/history?service=nobody"));
    while (on_server([this] { return service_->history_queries().empty(); })) {
    }
  }
  while (on_server([this] { return server_->connections(); }) != 0) {
  }
  on_server([this] { service_->release_history(); });
  EXPECT_EQ(on_server([this] { return service_->history_queries().size(); }), 1U);
}

TEST_F(HistoryRouteTest, IsRefusedInWords) {
  start();
  for (const char* const query : {"before=0", "before=x", "before=-1", "before_event=0", "limit=0", "limit=10001",
                                  "service=", "instance=%2F", "since=1", "limit=1&limit=1"}) {
    expect_problem(call("GET", "/v1/history?" + std::string(query)), 400, "bad_request");
  }
  on_server([this] { service_->break_disk(); });
  expect_problem(call("GET", "/v1/history"), 503, "storage_failed");
}

}  // namespace
}  // namespace limpet::api
