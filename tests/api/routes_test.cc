// The calls of the API over a real core.
#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/api/harness.h"

namespace limpet::api {
namespace {

class RoutesTest : public ServerTest {
 protected:
  void serve() {
    on_server([this] { service_->serve(); });
  }
  Answer call(std::string_view method, std::string_view target, std::string_view body = {}) {
    return call_once(socket_path(), method, target, body);
  }
  // Until the service has `count` waits under way.
  void await_waits(std::size_t count) {
    while (on_server([this] { return service_->waits(); }) != count) {
    }
  }
  void await_connections(std::size_t count) {
    while (on_server([this] { return server_->connections(); }) != count) {
    }
  }
};

TEST_F(RoutesTest, PutIsDurableThenRegistered) {
  start();
  const auto put = call("PUT", "/v1/registrations/web/i-1", R"({"data":"hello"})");
  EXPECT_EQ(put.status, 202);
  Json shown = put.json();
  EXPECT_EQ(shown["id"], "web/i-1");
  EXPECT_EQ(shown["path"], "/services/web/i-1");
  EXPECT_EQ(shown["state"], "pending");
  EXPECT_EQ(shown["seq"], 1);
  EXPECT_EQ(shown["owner"]["uid"], ::getuid());
  EXPECT_EQ(shown["owner"]["pid"], ::getpid());
  EXPECT_TRUE(shown["znode"].is_null());
  serve();
  const auto get = call("GET", "/v1/registrations/web/i-1?wait=24h");
  EXPECT_EQ(get.status, 200);
  shown = get.json();
  EXPECT_EQ(shown["state"], "registered");
  EXPECT_EQ(shown["znode"]["session"], "0x10000000abc");
  EXPECT_FALSE(shown["registered_at"].is_null());
}

TEST_F(RoutesTest, PutThatChangesNothingKeepsItsSeq) {
  start();
  EXPECT_EQ(call("PUT", "/v1/registrations/web/i-1", R"({"data":"x"})").status, 202);
  const auto again = call("PUT", "/v1/registrations/web/i-1", R"({"data":"x","format":"raw"})");
  EXPECT_EQ(again.status, 200);
  EXPECT_EQ(again.json()["seq"], 1);
  const auto other = call("PUT", "/v1/registrations/web/i-1", R"({"data":"y"})");
  EXPECT_EQ(other.status, 202);
  EXPECT_EQ(other.json()["seq"], 2);
}

TEST_F(RoutesTest, PutWaitsUntilRegisteredOrTheTimeIsUp) {
  start();
  const auto late = call("PUT", "/v1/registrations/web/i-1?wait=1ms", "{}");
  EXPECT_EQ(late.status, 202);
  EXPECT_EQ(late.json()["state"], "pending");
  Client client = connect();
  client.send(request_text("PUT", "/v1/registrations/web/i-1?wait=24h", R"({"port":1})"));
  await_waits(1);
  serve();
  const auto answer = client.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200);
  EXPECT_EQ(answer->json()["state"], "registered");
  EXPECT_EQ(call("PUT", "/v1/registrations/web/i-1?wait=24h", R"({"port":1})").status, 200);
}

TEST_F(RoutesTest, WaitOfZeroLooksOnce) {
  start();
  EXPECT_EQ(call("PUT", "/v1/registrations/web/i-1?wait=0s", "{}").status, 202);
  const auto get = call("GET", "/v1/registrations/web/i-1?wait=0ms");
  EXPECT_EQ(get.status, 200);
  EXPECT_EQ(get.json()["state"], "pending");
}

TEST_F(RoutesTest, GetOfNothingIsNotFoundAtOnce) {
  start();
  expect_problem(call("GET", "/v1/registrations/web/i-1"), 404, "not_found");
  expect_problem(call("GET", "/v1/registrations/web/i-1?wait=24h"), 404, "not_found");
  expect_problem(call("DELETE", "/v1/registrations/web/i-1"), 404, "not_found");
}

TEST_F(RoutesTest, DeleteIsQueuedThenGone) {
  start();
  serve();
  EXPECT_EQ(call("PUT", "/v1/registrations/web/i-1?wait=24h", "{}").status, 200);
  const auto gone = call("DELETE", "/v1/registrations/web/i-1?wait=24h");
  EXPECT_EQ(gone.status, 200);
  EXPECT_EQ(gone.body, R"({"id":"web/i-1","service":"web","instance":"i-1","seq":2,"state":"removed"})");
  expect_problem(call("GET", "/v1/registrations/web/i-1"), 404, "not_found");
}

TEST_F(RoutesTest, DeleteOfWhatWasNeverSentIsDoneAtOnce) {
  start();
  EXPECT_EQ(call("PUT", "/v1/registrations/web/i-1", "{}").status, 202);
  EXPECT_EQ(call("DELETE", "/v1/registrations/web/i-1").status, 202);
  expect_problem(call("GET", "/v1/registrations/web/i-1"), 404, "not_found");
  EXPECT_EQ(call("GET", "/v1/queue").body, R"({"operations":[],"next":null})");
}

TEST_F(RoutesTest, NothingIsAnsweredBeforeItIsDurable) {
  start();
  on_server([this] { service_->hold_disk(); });
  Client client = connect();
  client.send(request_text("PUT", "/v1/registrations/web/i-1", "{}"));
  // A second caller is served meanwhile, and does not see it.
  while (on_server([this] { return server_->connections(); }) != 1) {
  }
  expect_problem(call("GET", "/v1/registrations/web/i-1"), 404, "not_found");
  on_server([this] { service_->release_disk(); });
  EXPECT_EQ(client.receive()->status, 202);
}

TEST_F(RoutesTest, BrokenDiskIsAProblemWithRetryAfter) {
  start();
  on_server([this] { service_->break_disk(); });
  const auto answer = call("PUT", "/v1/registrations/web/i-1", "{}");
  expect_problem(answer, 503, "storage_failed");
  EXPECT_FALSE(answer.header("retry-after").empty());
  EXPECT_TRUE(answer.json()["retryable"].get<bool>());
  expect_problem(call("GET", "/readyz"), 503, "storage_failed");
  EXPECT_EQ(call("GET", "/healthz").status, 200);
  EXPECT_FALSE(call("GET", "/v1/status").json()["storage"]["healthy"].get<bool>());
}

TEST_F(RoutesTest, ListIsPagedAndFiltered) {
  start();
  for (const std::string id : {"a/1", "a/2", "b/1", "b+c/1"}) {
    EXPECT_EQ(call("PUT", "/v1/registrations/" + id, "{}").status, 202);
  }
  const auto ids = [](const Answer& answer) {
    std::string all;
    const Json page = answer.json();
    for (const auto& one : page["registrations"]) {
      all += one["id"].get<std::string>() + " ";
    }
    return all;
  };
  const auto first = call("GET", "/v1/registrations?limit=2");
  EXPECT_EQ(ids(first), "a/1 a/2 ");
  EXPECT_EQ(first.json()["next"], "a/2");
  const auto rest = call("GET", "/v1/registrations?after=a/2");
  EXPECT_EQ(ids(rest), "b/1 b+c/1 ");
  EXPECT_TRUE(rest.json()["next"].is_null());
  EXPECT_EQ(ids(call("GET", "/v1/registrations?after=a%2F2&limit=1")), "b/1 ");
  EXPECT_EQ(ids(call("GET", "/v1/registrations?service=a")), "a/1 a/2 ");
  EXPECT_EQ(ids(call("GET", "/v1/registrations?service=b+c")), "b+c/1 ");
  EXPECT_EQ(ids(call("GET", "/v1/registrations?state=registered")), "");
  EXPECT_EQ(ids(call("GET", "/v1/registrations?state=pending&service=b")), "b/1 ");
  EXPECT_EQ(call("GET", "/v1/registrations?service=none").body, R"({"registrations":[],"next":null})");
}

TEST_F(RoutesTest, PagesOfLargeRegistrationsEndEarlyButLoseNothing) {
  start();
  // Bytes that take six times their size to show.
  const std::string body = R"({"data_base64":")" + std::string(900'000, 'A') + "\"}";
  for (int i = 10; i < 34; ++i) {
    EXPECT_EQ(call("PUT", "/v1/registrations/big/" + std::to_string(i), body).status, 202);
  }
  std::string after;
  int pages = 0;
  int seen = 0;
  do {
    const Json page = call("GET", "/v1/registrations" + (after.empty() ? "" : "?after=" + after)).json();
    seen += static_cast<int>(page["registrations"].size());
    after = page["next"].is_null() ? "" : page["next"].get<std::string>();
    ++pages;
  } while (!after.empty());
  EXPECT_EQ(seen, 24);
  EXPECT_GT(pages, 1);
}

TEST_F(RoutesTest, QueueIsInOrderAndPaged) {
  start();
  for (const std::string id : {"b/1", "a/1", "c/1"}) {
    call("PUT", "/v1/registrations/" + id, "{}");
  }
  const Json all = call("GET", "/v1/queue").json();
  ASSERT_EQ(all["operations"].size(), 3U);
  EXPECT_EQ(all["operations"][0]["id"], "b/1");
  EXPECT_EQ(all["operations"][0]["op"], "register");
  EXPECT_TRUE(all["next"].is_null());
  const Json page = call("GET", "/v1/queue?limit=2").json();
  EXPECT_EQ(page["next"], 2);
  const Json rest = call("GET", "/v1/queue?limit=2&after=2").json();
  ASSERT_EQ(rest["operations"].size(), 1U);
  EXPECT_EQ(rest["operations"][0]["seq"], 3);
  EXPECT_TRUE(rest["next"].is_null());
}

TEST_F(RoutesTest, BatchIsAllOrNone) {
  start();
  const auto done = call("POST", "/v1/batch",
                         R"({"operations":[{"op":"register","service":"a","instance":"1","data":"x"},
                                           {"op":"register","service":"a","instance":"2"}]})");
  EXPECT_EQ(done.status, 202);
  const Json results = done.json()["results"];
  ASSERT_EQ(results.size(), 2U);
  EXPECT_EQ(results[0].dump(), R"({"id":"a/1","service":"a","instance":"1","seq":1,"changed":true,"state":"pending"})");
  EXPECT_EQ(results[1]["seq"], 2);
  const auto bad = call("POST", "/v1/batch",
                        R"({"operations":[{"op":"register","service":"b","instance":"1"},
                                          {"op":"register","service":"b","instance":"2","port":0}]})");
  expect_problem(bad, 422, "invalid");
  EXPECT_EQ(bad.json()["index"], 1);
  EXPECT_EQ(bad.json()["errors"][0]["pointer"], "/operations/1/port");
  expect_problem(call("GET", "/v1/registrations/b/1"), 404, "not_found");
  const auto refused = call("POST", "/v1/batch",
                            R"({"operations":[{"op":"register","service":"b","instance":"1"},
                                              {"op":"deregister","service":"b","instance":"9"}]})");
  expect_problem(refused, 422, "invalid");
  EXPECT_EQ(refused.json()["index"], 1);
  expect_problem(call("GET", "/v1/registrations/b/1"), 404, "not_found");
  EXPECT_EQ(call("POST", "/v1/batch", R"({"operations":[{"op":"register","service":"a","instance":"2"}]})").status,
            200);
  EXPECT_EQ(call("POST", "/v1/batch", R"({"operations":[]})").body, R"({"results":[]})");
  serve();
  EXPECT_EQ(call("POST", "/v1/batch?wait=24h", R"({"operations":[{"op":"register","service":"a","instance":"3"}]})")
                .json()["results"][0]["state"],
            "registered");
}

TEST_F(RoutesTest, LeaveRemovesEverything) {
  start();
  serve();
  EXPECT_EQ(call("POST", "/v1/leave").body, R"({"results":[]})");
  for (const std::string id : {"a/1", "b/1"}) {
    EXPECT_EQ(call("PUT", "/v1/registrations/" + id + "?wait=24h", "{}").status, 200);
  }
  expect_problem(call("POST", "/v1/leave", R"({"force":true})"), 422, "invalid");
  const auto left = call("POST", "/v1/leave?wait=24h");
  EXPECT_EQ(left.status, 200);
  EXPECT_EQ(left.json()["results"].size(), 2U);
  EXPECT_EQ(left.json()["results"][0]["state"], "removed");
  EXPECT_EQ(call("GET", "/v1/registrations").body, R"({"registrations":[],"next":null})");
}

TEST_F(RoutesTest, PruneIsReadStrictlyAndTellsWhatItDid) {
  start();
  EXPECT_EQ(call("POST", "/v1/prune", "{}").json()["code"], "not_connected");
  for (const char* wrong : {R"({"older_than":"soon"})", R"({"older_than":7})", R"({"older_than":"1.5d"})",
                            R"({"dry_run":"yes"})", R"({"service":1})", R"({"all":true})"}) {
    EXPECT_EQ(call("POST", "/v1/prune", wrong).status, 422) << wrong;
  }
  serve();
  EXPECT_EQ(call("PUT", "/v1/registrations/web/i-1?wait=24h", R"({"data":"x"})").status, 200);
  EXPECT_EQ(call("DELETE", "/v1/registrations/web/i-1?wait=24h").status, 200);
  const Json early = call("POST", "/v1/prune").json();
  EXPECT_EQ(early["removed"], 0);
  EXPECT_EQ(early["parents"][0]["reason"], "too_recent");
  const Json report = call("POST", "/v1/prune", R"({"older_than":"0s","dry_run":null})").json();
  EXPECT_EQ(report["dry_run"], false);
  EXPECT_EQ(report["examined"], 1);
  EXPECT_EQ(report["removed"], 1);
  EXPECT_EQ(report["parents"][0]["path"], "/services/web");
  EXPECT_EQ(report["parents"][0]["outcome"], "removed");
  EXPECT_TRUE(report["parents"][0]["reason"].is_null());
  EXPECT_EQ(report["more"], false);
}

TEST_F(RoutesTest, StatusAndReadiness) {
  start();
  Json status = call("GET", "/v1/status").json();
  EXPECT_EQ(status["version"], "0.1.0");
  EXPECT_EQ(status["pid"], 42);
  EXPECT_EQ(status["started_at"], "2023-11-14T22:13:20.000Z");
  EXPECT_EQ(status["zookeeper"]["state"], "connecting");
  EXPECT_TRUE(status["zookeeper"]["session"].is_null());
  EXPECT_EQ(status["storage"]["bytes"], 40'960);
  auto ready = call("GET", "/readyz");
  EXPECT_EQ(ready.status, 200);
  EXPECT_TRUE(ready.json()["degraded"].get<bool>());
  serve();
  status = call("GET", "/v1/status").json();
  EXPECT_EQ(status["zookeeper"]["state"], "connected");
  EXPECT_EQ(status["zookeeper"]["session"], "0x10000000abc");
  EXPECT_EQ(status["zookeeper"]["server"], "127.0.0.1:2181");
  ready = call("GET", "/readyz");
  EXPECT_FALSE(ready.json()["degraded"].get<bool>());
}

TEST_F(RoutesTest, PathsOutsideAreNotAllowedAndTakenPathsAreTaken) {
  core::Options options;
  options.paths = {"/dubbo"};
  start({}, options);
  expect_problem(call("PUT", "/v1/registrations/a/1", R"({"path":"/elsewhere/x"})"), 403, "not_allowed");
  EXPECT_EQ(call("PUT", "/v1/registrations/a/1", R"({"path":"/dubbo/x/providers/y"})").status, 202);
  expect_problem(call("PUT", "/v1/registrations/a/2", R"({"path":"/dubbo/x/providers/y"})"), 409, "path_taken");
}

TEST_F(RoutesTest, AStoppingAgentTakesNoChanges) {
  start();
  on_server([this] { service_->stop_accepting(); });
  expect_problem(call("PUT", "/v1/registrations/a/1", "{}"), 503, "shutting_down");
  expect_problem(call("DELETE", "/v1/registrations/a/1"), 503, "shutting_down");
  expect_problem(call("POST", "/v1/leave"), 503, "shutting_down");
  expect_problem(call("GET", "/readyz"), 503, "shutting_down");
  EXPECT_EQ(call("GET", "/v1/status").status, 200);
}

TEST_F(RoutesTest, WhoeverHangsUpWhileWaitingIsForgotten) {
  start();
  EXPECT_EQ(call("PUT", "/v1/registrations/web/i-1", "{}").status, 202);
  await_connections(0);
  {
    Client client = connect();
    client.send(request_text("GET", "/v1/registrations/web/i-1?wait=24h"));
    await_waits(1);
    await_connections(1);
  }
  await_connections(0);
  serve();  // the wait ends, and finds nobody
  await_waits(0);
  EXPECT_EQ(call("GET", "/v1/registrations/web/i-1").json()["state"], "registered");
}

TEST_F(RoutesTest, HalfClosedCallerWaitsOnUntilItHangsUp) {
  start();
  EXPECT_EQ(call("PUT", "/v1/registrations/web/i-1", "{}").status, 202);
  await_connections(0);
  Client stays = connect();
  stays.send(request_text("GET", "/v1/registrations/web/i-1?wait=24h"));
  stays.shutdown_send();
  Client goes = connect();
  goes.send(request_text("GET", "/v1/registrations/web/i-1?wait=24h"));
  goes.shutdown_send();
  await_waits(2);
  goes.close();
  await_connections(1);
  serve();
  EXPECT_EQ(stays.receive()->json()["state"], "registered");
  EXPECT_TRUE(stays.at_end());
}

TEST_F(RoutesTest, WhoeverPipelinesALotAndHangsUpWhileWaitingIsForgotten) {
  start();
  EXPECT_EQ(call("PUT", "/v1/registrations/web/i-1", "{}").status, 202);
  await_connections(0);
  Client client = connect();
  client.send(request_text("GET", "/v1/registrations/web/i-1?wait=24h"));
  std::string more;
  while (more.size() < 100'000) {  // more than the server reads ahead
    more += request_text("GET", "/v1/status");
  }
  client.send(more);
  await_waits(1);
  client.close();
  await_connections(0);
}

TEST_F(RoutesTest, PipelinedRequestsWaitBehindAWait) {
  start();
  Client client = connect();
  client.send(request_text("PUT", "/v1/registrations/web/i-1?wait=24h", "{}") + request_text("GET", "/v1/status"));
  await_waits(1);
  serve();
  const auto put = client.receive();
  EXPECT_EQ(put->json()["state"], "registered") << put->status << put->body;
  EXPECT_EQ(client.receive()->json()["registrations"]["registered"], 1);
}

}  // namespace
}  // namespace limpet::api
