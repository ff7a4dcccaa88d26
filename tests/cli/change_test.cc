// register, deregister, leave, wait: what is asked, what is said, and the exit status.
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "tests/cli/fixture.h"

namespace limpet::test {
namespace {

const std::string kProblem =
    R"({"type":"urn:limpet:problem:invalid","title":"Invalid","status":422,"detail":"port is out of range",)"
    R"("code":"invalid","retryable":false,"errors":[{"pointer":"/port","detail":"must be 1 to 65535"}]})";

TEST_F(Cli, RegisterSendsItsOptions) {
  server.answer(202, registration("i-1", "pending"));
  const Outcome outcome = run({"register", "web", "i-1", "--address", "10.0.0.7", "--port", "8080", "--metadata",
                               "zone=a", "--metadata", "rack=x=[y]", "--format", "json", "--path", "/dubbo/web"});
  EXPECT_EQ(outcome.exit, 0) << outcome.err;
  EXPECT_EQ(asked(0), "PUT /v1/registrations/web/i-1");
  EXPECT_EQ(body(0), R"({"address":"10.0.0.7","port":8080,"metadata":{"zone":"a","rack":"x=[y]"},)"
                     R"("format":"json","path":"/dubbo/web"})");
  EXPECT_TRUE(has(server.seen()[0].headers, "content-type: application/json"));
  EXPECT_EQ(outcome.out, "web/i-1 is accepted: change 17 is on disk and goes to ZooKeeper by itself\n");
}

TEST_F(Cli, RegisterBoundToSomething) {
  for (int i = 0; i < 5; ++i) {
    server.answer(202, "{}");
  }
  EXPECT_EQ(run({"register", "web", "i-1", "--ttl", "30s", "--expires", "10m"}).exit, 0);
  EXPECT_EQ(body(0), R"({"ttl":"30s","expires":"10m"})");
  EXPECT_EQ(run({"register", "web", "i-1", "--pid", "4321"}).exit, 0);
  EXPECT_EQ(body(1), R"({"bind":"process","pid":4321})");
  EXPECT_EQ(run({"register", "web", "i-1", "--bind", "process", "--pid", "4321"}).exit, 0);
  EXPECT_EQ(body(2), R"({"bind":"process","pid":4321})");
  EXPECT_EQ(run({"register", "web", "i-1", "--bind", "process"}).exit, 0);
  EXPECT_EQ(body(3), R"({"bind":"process","pid":)" + std::to_string(::getpid()) + "}") << "the one that calls limpet";
  EXPECT_EQ(run({"register", "web", "i-1", "--bind", "none"}).exit, 0);
  EXPECT_EQ(body(4), R"({"bind":"none"})");
}

TEST_F(Cli, Heartbeat) {
  server.answer(200, R"({"id":"web/i-1","ttl":"30s"})");
  EXPECT_EQ(run({"heartbeat", "web", "i-1"}).out, "web/i-1 is renewed for 30s\n");
  EXPECT_EQ(asked(0), "POST /v1/registrations/web/i-1/heartbeat");
  server.answer(200, R"({"id":"web/i-1","ttl":null})");
  EXPECT_TRUE(has(run({"heartbeat", "web", "i-1"}).out, "has no ttl"));
  server.answer(404, R"({"detail":"there is no web/i-1","code":"not_found"})");
  const Outcome outcome = run({"heartbeat", "web", "i-1"});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_EQ(outcome.err, "limpet: cannot renew web/i-1: there is no web/i-1 (not_found)\n");
}

TEST_F(Cli, RegisterSaysWhyItIsPending) {
  server.answer(202, registration("i-1", "pending", reason("no_quorum", "2 of 3 servers refuse")));
  EXPECT_TRUE(has(run({"register", "web", "i-1"}).out, "(pending, no_quorum: 2 of 3 servers refuse)"));
  EXPECT_EQ(body(0), "{}");
}

TEST_F(Cli, DataIsTakenAsItIs) {
  for (const std::string data : {"{}", "[1,2]", "", "-x", "--json", "\"q\"", "%%"}) {
    server.answer(202, registration("i-1", "pending"));
    EXPECT_EQ(run({"register", "web", "i-1", "--data=" + data}).exit, 0) << data;
  }
  EXPECT_EQ(body(0), R"({"data":"{}"})");
  EXPECT_EQ(body(1), R"({"data":"[1,2]"})");
  EXPECT_EQ(body(2), R"({"data":""})");
  EXPECT_EQ(body(3), R"({"data":"-x"})");
  EXPECT_EQ(body(4), R"({"data":"--json"})");
  EXPECT_EQ(body(5), R"({"data":"\"q\""})");
  EXPECT_EQ(body(6), R"({"data":"%%"})");
}

TEST_F(Cli, EmptyValueDoesNotTakeTheNextWord) {
  server.answer(202, "{}");
  const Outcome outcome = run({"register", "--data=", "web", "i-1", "--address", "", "--json"});
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_EQ(body(0), R"({"data":"","address":""})");
  EXPECT_EQ(outcome.out, "{}\n");
}

TEST_F(Cli, DataFromAFileAndFromStandardInput) {
  const std::string file = server.directory() + "/data";
  std::ofstream(file) << "from a file\n";
  server.answer(202, "{}");
  EXPECT_EQ(run({"register", "web", "i-1", "--data-file", file}).exit, 0);
  EXPECT_EQ(body(0), R"({"data":"from a file\n"})");
  Setting setting;
  setting.standard_input = std::string("\xff\0\x01", 3);
  server.answer(202, "{}");
  EXPECT_EQ(run({"register", "web", "i-1", "--data-file", "-"}, setting).exit, 0);
  EXPECT_EQ(body(1), R"({"data_base64":"/wAB"})") << "bytes that are no text travel encoded";
}

TEST_F(Cli, LargeTextThatGrowsInJsonTravelsEncoded) {
  Setting setting;
  setting.standard_input = std::string(300 * 1024, '\0');
  server.answer(202, "{}");
  EXPECT_EQ(run({"register", "web", "i-1", "--data-file", "-"}, setting).exit, 0);
  EXPECT_EQ(body(0).size(), std::string(R"({"data_base64":""})").size() + 400 * 1024);
}

TEST_F(Cli, DataFileThatCannotBeRead) {
  const Outcome outcome = run({"register", "web", "i-1", "--data-file", "/nonexistent"});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_TRUE(has(outcome.err, "cannot read /nonexistent: No such file"));
  EXPECT_TRUE(server.seen().empty());
}

TEST_F(Cli, EndlessDataFileIsGivenUp) {
  const Outcome outcome = run({"register", "web", "i-1", "--data-file", "/dev/zero"});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_TRUE(has(outcome.err, "holds more than"));
}

TEST_F(Cli, MetadataNamedTwice) {
  const Outcome outcome = run({"register", "web", "i-1", "--metadata", "a=1", "--metadata", "a=2"});
  EXPECT_EQ(outcome.exit, 2);
  EXPECT_TRUE(has(outcome.err, "names 'a' twice"));
  EXPECT_TRUE(server.seen().empty());
}

TEST_F(Cli, NamesAreEncodedForTheUrl) {
  server.answer(202, "{}");
  EXPECT_EQ(run({"register", "a%2Fb", "i/1 ?#\xc3\xa4"}).exit, 0);
  EXPECT_EQ(asked(0), "PUT /v1/registrations/a%252Fb/i%2F1%20%3F%23%C3%A4");
  server.answer(202, "{}");
  EXPECT_EQ(run({"deregister", "web", "a:b@c+d=e~f,g-h_i.j"}).exit, 0);
  EXPECT_EQ(asked(1), "DELETE /v1/registrations/web/a:b@c+d=e~f,g-h_i.j");
}

TEST_F(Cli, NamesThatAreCommandsToo) {
  server.answer(202, "{}");
  EXPECT_EQ(run({"register", "status", "list"}).exit, 0);
  EXPECT_EQ(asked(0), "PUT /v1/registrations/status/list");
}

TEST_F(Cli, RegisterThatChangesNothing) {
  server.answer(200, registration("i-1", "suspended", reason("no_quorum", "away")));
  const Outcome outcome = run({"register", "web", "i-1"});
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_TRUE(has(outcome.out, "web/i-1 stands as it was (change 17; suspended, no_quorum: away"));
}

TEST_F(Cli, RefusalIsToldInPlainWordsWithItsCode) {
  server.answer(422, kProblem);
  const Outcome outcome = run({"register", "web", "i-1", "--port", "1"});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.err,
            "limpet: cannot register web/i-1: port is out of range (invalid)\n  /port: must be 1 to 65535\n");
}

TEST_F(Cli, RefusalIsNotToldTwice) {
  server.answer(422, R"({"detail":"/port must be a number","code":"invalid",)"
                     R"("errors":[{"pointer":"/port","detail":"must be a number"}]})");
  EXPECT_EQ(run({"register", "web", "i-1"}).err, "limpet: cannot register web/i-1: /port must be a number (invalid)\n");
}

TEST_F(Cli, RefusalAsJson) {
  server.answer(422, kProblem);
  const Outcome outcome = run({"--json", "register", "web", "i-1"});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_EQ(outcome.out, kProblem + "\n");
  EXPECT_EQ(outcome.err, "");
}

TEST_F(Cli, RefusalThatIsNoJsonAsJson) {
  server.answer(502, "<html>");
  const Outcome outcome = run({"--json", "deregister", "web", "i-1"});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_TRUE(has(nlohmann::json::parse(outcome.out)["detail"], "the agent answered 502: <html>"));
}

TEST_F(Cli, RefusalThatMayPass) {
  server.answer(507, R"({"detail":"the queue is full","code":"queue_full","retryable":true})", "Retry-After: 5\r\n");
  EXPECT_TRUE(
      has(run({"register", "web", "i-1"}).err, "the queue is full (queue_full)\nThis may pass: try again in 5 s."));
  server.answer(503, R"({"detail":"fsync failed","code":"storage_failed","retryable":true})", "Retry-After: 1\r\n");
  EXPECT_TRUE(has(run({"register", "web", "i-1"}).err, "Whether it was accepted is not known"));
}

TEST_F(Cli, RefusalWithoutAProblem) {
  server.answer(500, "\x1b[2Jbroken");
  const Outcome outcome = run({"deregister", "web", "i-1"});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_TRUE(has(outcome.err, "the agent answered 500: \\x1b[2Jbroken"));
}

TEST_F(Cli, RefusalBeforeAllWasSent) {
  Setting setting;
  setting.standard_input = std::string(4 << 20, 'x');
  server.answer_before_body(413, R"({"detail":"the body is larger than 1 MiB","code":"too_large"})");
  const Outcome outcome = run({"register", "web", "i-1", "--data-file", "-"}, setting);
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_TRUE(has(outcome.err, "the body is larger than 1 MiB (too_large)"));
}

TEST_F(Cli, RegisterAndWait) {
  server.answer(200, registration("i-1", "registered"));
  const Outcome outcome = run({"register", "web", "i-1", "--wait", "10s"});
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_EQ(asked(0), "PUT /v1/registrations/web/i-1?wait=10s");
  EXPECT_EQ(outcome.out, "web/i-1 is registered in ZooKeeper as /services/web/i-1 (change 17)\n");
}

TEST_F(Cli, WaitThatRanOutSaysWhereItStands) {
  server.answer(202, registration("i-1", "pending", reason("no_quorum", "2 of 3 servers refuse")));
  const Outcome outcome = run({"register", "web", "i-1", "--wait", "5ms"});
  EXPECT_EQ(outcome.exit, 4);
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.err,
            "limpet: web/i-1 is not in ZooKeeper after 5ms: pending, no_quorum: 2 of 3 servers refuse (since 2m ago, 3 "
            "attempts)\nIt is on disk and reaches ZooKeeper by itself; nothing needs doing.\n"
            "See: limpet show web i-1\n");
}

TEST_F(Cli, WaitThatRanOutLooksAgainWhereTheAnswerIsShort) {
  server.answer(202, R"({"id":"web/i-1","seq":17})");
  server.answer(200, registration("i-1", "conflict", reason("foreign_owner", "session 0x2 has it")));
  const Outcome outcome = run({"register", "web", "i-1", "--wait", "5ms", "--json"});
  EXPECT_EQ(outcome.exit, 4);
  EXPECT_EQ(outcome.out, "{\"id\":\"web/i-1\",\"seq\":17}\n");
  EXPECT_TRUE(has(outcome.err, "conflict, foreign_owner: session 0x2 has it"));
  EXPECT_EQ(asked(1), "GET /v1/registrations/web/i-1");
}

TEST_F(Cli, Deregister) {
  server.answer(202, registration("i-1", "removing"));
  Outcome outcome = run({"deregister", "web", "i-1"});
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_EQ(outcome.out, "web/i-1 is deregistered: change 17 is on disk and goes to ZooKeeper by itself\n");
  server.answer(200, "{}");
  outcome = run({"deregister", "web", "i-1", "--wait", "10s"});
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_EQ(asked(1), "DELETE /v1/registrations/web/i-1?wait=10s");
  EXPECT_EQ(outcome.out, "web/i-1 is deregistered: nothing of it is in ZooKeeper\n");
  server.answer(404, R"({"detail":"there is no web/i-1","code":"not_found"})");
  outcome = run({"deregister", "web", "i-1"});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_EQ(outcome.err, "limpet: cannot deregister web/i-1: there is no web/i-1 (not_found)\n");
}

TEST_F(Cli, DeregisterWaitRanOut) {
  server.answer(202, R"({"seq":18})");
  server.answer(200, registration("i-1", "removing", reason("no_quorum", "away")));
  Outcome outcome = run({"deregister", "web", "i-1", "--wait", "5ms"});
  EXPECT_EQ(outcome.exit, 4);
  EXPECT_TRUE(has(outcome.err, "web/i-1 is not gone from ZooKeeper after 5ms: removing, no_quorum: away"));
  server.answer(202, R"({"seq":18})");
  server.answer(404, R"({"code":"not_found"})");
  outcome = run({"deregister", "web", "i-1", "--wait", "5ms"});
  EXPECT_EQ(outcome.exit, 0) << "it went in the last moment";
}

TEST_F(Cli, Leave) {
  server.answer(202, R"({"results":[{"id":"web/i-1","seq":18},{"id":"web/i-2","seq":19}]})");
  Outcome outcome = run({"leave"});
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_EQ(asked(0), "POST /v1/leave");
  EXPECT_EQ(outcome.out, "2 registrations deregistered: on disk, going to ZooKeeper in order\n");
  server.answer(200, R"({"results":[{"id":"web/i-1","seq":18}]})");
  EXPECT_EQ(run({"leave", "--wait", "1m"}).out, "1 registration gone from ZooKeeper\n");
  EXPECT_EQ(asked(1), "POST /v1/leave?wait=1m");
  server.answer(202, R"({"results":[]})");
  outcome = run({"leave", "--wait", "1m"});
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_EQ(outcome.out, "nothing is registered on this host\n");
}

TEST_F(Cli, LeaveWaitRanOut) {
  server.answer(202, R"({"results":[{"id":"web/i-1","seq":18}]})");
  server.answer(200, R"({"zookeeper":{"state":"suspended","message":"no server answers"},"queue":{"depth":3}})");
  const Outcome outcome = run({"leave", "--wait", "5ms"});
  EXPECT_EQ(outcome.exit, 4);
  EXPECT_TRUE(has(outcome.err, "after 5ms: 3 changes wait; ZooKeeper is suspended: no server answers\n"));
}

TEST_F(Cli, WaitForARegistration) {
  server.answer(200, registration("i-1", "registered"));
  Outcome outcome = run({"wait", "web", "i-1"});
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_EQ(asked(0), "GET /v1/registrations/web/i-1?wait=30s");
  EXPECT_EQ(outcome.out, "web/i-1 is registered in ZooKeeper as /services/web/i-1\n");
  server.answer(200, registration("i-1", "suspended", reason("no_quorum", "away")));
  outcome = run({"wait", "web", "i-1", "--timeout", "5ms"});
  EXPECT_EQ(outcome.exit, 4);
  EXPECT_EQ(asked(1), "GET /v1/registrations/web/i-1?wait=5ms");
  EXPECT_TRUE(has(outcome.err, "is not in ZooKeeper after 5ms: suspended, no_quorum: away"));
  server.answer(404, R"({"detail":"there is no web/i-1","code":"not_found"})");
  outcome = run({"wait", "web", "i-1"});
  EXPECT_EQ(outcome.exit, 1);
}

}  // namespace
}  // namespace limpet::test
