// What the server does with requests that are wrong, large, slow or odd; and that the next one works.
#include <gtest/gtest.h>

#include "tests/api/harness.h"

namespace limpet::api {
namespace {

using std::chrono::milliseconds;

class HttpTest : public ServerTest {
 protected:
  void expect_working(Client& client) {
    const auto answer = client.call("GET", "/v1/status");
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 200);
  }
  void expect_working() {
    Client client = connect();
    expect_working(client);
  }
};

std::string nested(std::size_t depth) {
  return std::string(depth, '[') + std::string(depth, ']');
}

TEST_F(HttpTest, BadBodiesGetTheirProblemAndTheConnectionGoesOn) {
  start();
  struct Case {
    std::string body;
    int status;
    std::string code;
  };
  const Case kCases[] = {
      {"{", 400, "bad_json"},
      {"{}x", 400, "bad_json"},
      {std::string("{}\0x", 4), 400, "bad_json"},
      {"\xEF\xBB\xBF{}", 400, "bad_json"},
      {"{\"data\":\"\xFF\"}", 400, "bad_json"},
      {R"({"data":"\udfff"})", 400, "bad_json"},
      {R"({"data":1,"data":1})", 400, "bad_json"},
      {R"({"data":)" + nested(32) + "}", 400, "bad_json"},
      {R"({"data":)" + nested(1'000) + "}", 400, "bad_json"},
      {R"({"data":)" + nested(100'000) + "}", 400, "bad_json"},
      {std::string(500'000, '['), 400, "bad_json"},
      {R"({"port":1e400})", 400, "bad_json"},
      {R"({"port":true})", 422, "invalid"},
      {R"({"port":1.9})", 422, "invalid"},
      {R"({"port":4294967297})", 422, "invalid"},
      {R"({"port":-1})", 422, "invalid"},
      {R"({"port":18446744073709551616})", 422, "invalid"},
      {R"({"what":1})", 422, "invalid"},
      {R"({"address":"a\u0000b"})", 422, "invalid"},
      {"[]", 422, "invalid"},
      {"\"text\"", 422, "invalid"},
      {R"({"data":")" + std::string(1'000'001, 'x') + "\"}", 413, "too_large"},
  };
  Client client = connect();
  for (const Case& bad : kCases) {
    SCOPED_TRACE(bad.body.substr(0, 100));
    const auto answer = client.call("PUT", "/v1/registrations/web/i-1", bad.body);
    expect_problem(answer, bad.status, bad.code);
    if (bad.status == 422) {
      EXPECT_TRUE(answer->json().at("errors").at(0).at("pointer").is_string());
    }
    expect_working(client);
  }
  expect_problem(client.call("GET", "/v1/registrations/web/i-1"), 404, "not_found");
}

TEST_F(HttpTest, MalformedRequestsEndTheConnectionButNotTheServer) {
  start();
  for (const std::string& bytes :
       {std::string("hello\r\n\r\n"), std::string("\x16\x03\x01\x02"), std::string("GET /\r\n\r\n"),
        std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), std::string("GET / HTTP/1.1\r\n\r\n"),
        std::string("GET / HTTP/1.1\nHost: x\n\n"),
        std::string("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
        std::string("PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        std::string("PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n"),
        std::string("PUT / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")}) {
    SCOPED_TRACE(bytes);
    Client client = connect();
    client.send(bytes);
    const auto answer = client.receive();
    expect_problem(answer, 400, "bad_request");
    EXPECT_EQ(answer->header("connection"), "close");
    EXPECT_TRUE(client.at_end());
    expect_working();
  }
}

TEST_F(HttpTest, WhatComesBehindASmuggledBodyIsNotAnswered) {
  start();
  Client client = connect();
  client.send("POST /v1/leave HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n" +
              request_text("GET", "/v1/status"));
  expect_problem(client.receive(), 400, "bad_request");
  EXPECT_TRUE(client.at_end());
}

TEST_F(HttpTest, GarbageBehindARequestIsRefusedInItsTurn) {
  start();
  Client client = connect();
  client.send(request_text("GET", "/v1/status") + "garbage\r\n\r\n");
  EXPECT_EQ(client.receive()->status, 200);
  expect_problem(client.receive(), 400, "bad_request");
  EXPECT_TRUE(client.at_end());
  expect_working();
}

TEST_F(HttpTest, HeadersAreBounded) {
  start();
  Client fits = connect();
  EXPECT_EQ(fits.call("GET", "/v1/status", "", "X: " + std::string(15'000, 'x') + "\r\n")->status, 200);
  for (const std::string& bytes :
       {"GET /v1/status HTTP/1.1\r\nHost: x\r\nX: " + std::string(17'000, 'x') + "\r\n\r\n",
        "GET /" + std::string(17'000, 'x') + " HTTP/1.1\r\nHost: x\r\n\r\n", std::string(17'000, 'A')}) {
    Client client = connect();
    client.send(bytes);
    expect_problem(client.receive(), 431, "headers_too_large");
    EXPECT_TRUE(client.at_end());
  }
  expect_working();
}

TEST_F(HttpTest, BodyOverTheLimitIsRefusedWithoutReadingIt) {
  start();
  Client client = connect();
  // All of it is sent before the answer is read: the server must not cut the connection under the caller.
  EXPECT_TRUE(client.send(request_text("PUT", "/v1/registrations/a/b", std::string(1'048'577, 'x'))));
  expect_problem(client.receive(), 413, "too_large");
  EXPECT_TRUE(client.at_end());
  Client chunked = connect();
  chunked.send("PUT /v1/registrations/a/b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n");
  expect_problem(chunked.receive(), 413, "too_large");
  expect_working();
}

TEST_F(HttpTest, BodyOfExactlyTheLimitIsRead) {
  start();
  Client client = connect();
  expect_problem(client.call("PUT", "/v1/registrations/a/b", std::string(1'048'576, ' ')), 400, "bad_json");
  const std::string body = R"({"data":")" + std::string(1'000'000, 'x') + "\"}";
  EXPECT_EQ(client.call("PUT", "/v1/registrations/a/b", body + std::string(1'048'576 - body.size(), ' '))->status, 202);
  EXPECT_EQ(client.call("GET", "/v1/registrations/a/b")->json()["data"], std::string(1'000'000, 'x'));
}

TEST_F(HttpTest, ChunkedBodiesAreRead) {
  start();
  Client client = connect();
  client.send(
      "PUT /v1/registrations/a/b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
      "8\r\n{\"data\":\r\n5\r\n\"hi\"}\r\n0\r\n\r\n");
  const auto answer = client.receive();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 202);
  EXPECT_EQ(answer->json()["data"], "hi");
  expect_working(client);
}

TEST_F(HttpTest, AHundredPipelinedRequestsAreAnsweredInOrder) {
  start();
  Client client = connect();
  std::string bytes;
  for (int i = 0; i < 50; ++i) {
    const std::string target = "/v1/registrations/web/i-" + std::to_string(i);
    bytes += request_text("PUT", target, R"({"data":"x"})") + request_text("GET", target);
  }
  client.send(bytes);
  for (int i = 0; i < 50; ++i) {
    const auto put = client.receive();
    ASSERT_TRUE(put);
    EXPECT_EQ(put->status, 202);
    EXPECT_EQ(put->json()["seq"], i + 1);
    const auto get = client.receive();
    ASSERT_TRUE(get);
    EXPECT_EQ(get->json()["id"], "web/i-" + std::to_string(i));
  }
}

TEST_F(HttpTest, PipelineMayBeDeeperThanAllBuffers) {
  start();
  Client client = connect();
  constexpr int kRequests = 20'000;
  std::thread sender([&client] {
    for (int i = 0; i < kRequests; ++i) {
      client.send(request_text("GET", "/v1/status"));
    }
  });
  for (int i = 0; i < kRequests; ++i) {
    const auto answer = client.receive();
    if (!answer || answer->status != 200) {
      ADD_FAILURE() << "answer " << i;
      break;
    }
  }
  sender.join();
}

TEST_F(HttpTest, HalfClosedCallerGetsItsAnswers) {
  start();
  Client client = connect();
  client.send(request_text("PUT", "/v1/registrations/a/b", "{}") + request_text("GET", "/v1/status"));
  client.shutdown_send();
  EXPECT_EQ(client.receive()->status, 202);
  EXPECT_EQ(client.receive()->status, 200);
  EXPECT_TRUE(client.at_end());
}

TEST_F(HttpTest, Http10ClosesUnlessAskedNotTo) {
  start();
  Client client = connect();
  client.send("GET /healthz HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const auto kept = client.receive();
  ASSERT_TRUE(kept);
  EXPECT_EQ(kept->header("connection"), "keep-alive");
  client.send("GET /healthz HTTP/1.0\r\n\r\n");
  const auto last = client.receive();
  ASSERT_TRUE(last);
  EXPECT_EQ(last->status, 200);
  EXPECT_EQ(last->header("connection"), "close");
  EXPECT_TRUE(client.at_end());
}

TEST_F(HttpTest, ConnectionCloseIsHonoured) {
  start();
  Client client = connect();
  const auto answer = client.call("GET", "/healthz", "", "Connection: close\r\n");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->header("connection"), "close");
  EXPECT_TRUE(client.at_end());
}

TEST_F(HttpTest, ExpectContinueIsHonouredOnce) {
  start();
  Client client = connect();
  const std::string head =
      "PUT /v1/registrations/a/b HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 12\r\n\r\n";
  client.send(head);
  EXPECT_EQ(client.receive()->status, 100);
  client.send(R"({"data":)");
  client.send(R"("x"})");
  EXPECT_EQ(client.receive()->status, 202);
  client.send(head + R"({"data":"y"})");  // it did not wait: no need to tell it to go on
  EXPECT_EQ(client.receive()->status, 202);
  client.send("PUT /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9999999\r\n\r\n");
  expect_problem(client.receive(), 413, "too_large");
}

TEST_F(HttpTest, UnknownResourcesMethodsAndParameters) {
  start();
  Client client = connect();
  for (const std::string target : {"/", "/v1", "/v2/status", "/v1/status/", "/v1/registrations/", "/v1/registrations/a",
                                   "/v1/registrations/a/b/c", "/v1/Status", "/a/b/c/d/e/f/g/h/i/j/k"}) {
    expect_problem(client.call("GET", target), 404, "not_found");
  }
  struct Case {
    std::string method;
    std::string target;
    std::string allow;
  };
  for (const Case& bad : std::initializer_list<Case>{{"POST", "/v1/registrations/a/b", "PUT, GET, HEAD, DELETE"},
                                                     {"PUT", "/v1/status", "GET, HEAD"},
                                                     {"GET", "/v1/batch", "POST"},
                                                     {"HEAD", "/v1/leave", "POST"},
                                                     {"OPTIONS", "/v1/registrations", "GET, HEAD"},
                                                     {"BREW", "/healthz", "GET, HEAD"}}) {
    SCOPED_TRACE(bad.method + " " + bad.target);
    const auto answer = client.call(bad.method, bad.target);
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->header("allow"), bad.allow);
    if (bad.method != "HEAD") {
      expect_problem(answer, 405, "method_not_allowed");
    }
  }
  for (const std::string target :
       {"/v1/status?x=1", "/v1/registrations?limit=0", "/v1/registrations?limit=10001", "/v1/registrations?limit=1x",
        "/v1/registrations?state=gone", "/v1/registrations?after=x", "/v1/registrations?service=a%20b",
        "/v1/registrations?limit=1&limit=2", "/v1/queue?after=-1", "/v1/queue?after=18446744073709551616",
        "/v1/registrations/a/b?wait=soon", "/v1/registrations/a/b?wait=25h", "/v1/registrations/a/b?wiat=1s",
        "/healthz?x", "/v1/registrations/a/%zz", "/v1/registrations/%/b"}) {
    SCOPED_TRACE(target);
    expect_problem(client.call("GET", target), 400, "bad_request");
  }
  expect_working(client);
}

TEST_F(HttpTest, NamesInTheTargetAreChecked) {
  start();
  Client client = connect();
  for (const std::string name :
       {"%2e", "%2E%2e", ".", "..", "a%2Fb", "a%00b", "a%20b", "%C3%A4", "a*b", "", "a%0d%0ab"}) {
    SCOPED_TRACE(name);
    expect_problem(client.call("PUT", "/v1/registrations/" + name + "/i", "{}"), 422, "invalid");
    expect_problem(client.call("DELETE", "/v1/registrations/s/" + name), 422, "invalid");
  }
  expect_problem(client.call("PUT", "/v1/registrations/" + std::string(256, 'a') + "/i", "{}"), 422, "invalid");
  EXPECT_EQ(client.call("PUT", "/v1/registrations/" + std::string(255, 'a') + "/%41%25", "{}")->json()["instance"],
            "A%");
}

TEST_F(HttpTest, ContentTypeMustBeJsonOrNone) {
  start();
  Client client = connect();
  for (const std::string type :
       {"text/plain", "application/xml", "application/jsonx", "multipart/form-data; boundary=x"}) {
    const auto answer = client.call("PUT", "/v1/registrations/a/b", "{}", "Content-Type: " + type + "\r\n");
    expect_problem(answer, 415, "unsupported_media_type");
  }
  for (const std::string type : {"application/json", "Application/JSON; charset=utf-8",
                                 "application/x-www-form-urlencoded", "application/vnd.limpet+json"}) {
    EXPECT_LT(client.call("PUT", "/v1/registrations/a/b", "{}", "Content-Type: " + type + "\r\n")->status, 300) << type;
  }
}

TEST_F(HttpTest, HeadIsGetWithoutABody) {
  start();
  Client client = connect();
  const auto get = client.call("GET", "/v1/queue");
  const auto head = client.call("HEAD", "/v1/queue");
  ASSERT_TRUE(head);
  EXPECT_EQ(head->status, 200);
  EXPECT_EQ(head->header("content-length"), get->header("content-length"));
  EXPECT_EQ(client.call("HEAD", "/nothing")->status, 404);
  expect_working(client);
}

TEST_F(HttpTest, AnswersHaveADateAndAType) {
  start();
  const auto answer = call_once(socket_path(), "GET", "/v1/status");
  EXPECT_EQ(answer.header("date"), "Tue, 14 Nov 2023 22:13:20 GMT");
  EXPECT_EQ(answer.header("content-type"), "application/json");
}

TEST_F(HttpTest, SlowRequestsTimeOutButIdleConnectionsLive) {
  ServerOptions options;
  options.limits.request_timeout = milliseconds(40);
  start(std::move(options));
  Client idle = connect();
  expect_working(idle);
  for (const std::string part :
       {"G", "GET /v1/status HTTP/1.1\r\nHost: x\r\n",
        "PUT /v1/registrations/a/b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n{",
        "PUT /v1/registrations/a/b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"}) {
    SCOPED_TRACE(part);
    Client client = connect();
    expect_working(client);
    client.send(part);
    expect_problem(client.receive(), 408, "timeout");
    EXPECT_TRUE(client.at_end());
  }
  // By now it has been silent for many times the limit.
  expect_working(idle);
}

TEST_F(HttpTest, WhoeverDoesNotReadIsCutOff) {
  ServerOptions options;
  options.limits.write_timeout = milliseconds(40);
  start(std::move(options));
  Client client = connect();
  // More answers than the socket holds; the server stops reading, and in the end hangs up.
  const std::string request = request_text("GET", "/v1/status");
  while (client.send(request)) {
  }
  expect_working();
}

}  // namespace
}  // namespace limpet::api
