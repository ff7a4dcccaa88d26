// history, events: what happened, as a table and as a stream.
#include "tests/cli/fixture.h"

namespace limpet::test {
namespace {

std::string entry(int event, const std::string& what, const std::string& more = "") {
  return R"({"event":)" + std::to_string(event) + R"(,"seq":17,"time":"2026-01-31T03:12:07.123Z","id":"web/i-1",)" +
         R"("service":"web","instance":"i-1","what":")" + what + "\"" + more + "}";
}

const std::string kWho = R"(,"why":"2 of 3 servers refuse","who":{"uid":0,"pid":4321,"program":"curl"},"zxid":null)";

TEST_F(Cli, HistoryAsATable) {
  server.answer(200, R"({"entries":[)" + entry(9, "accepted", kWho) + "," + R"({"event":8,"seq":null,"time":")" +
                         seconds_ago(190) +
                         R"(","id":null,"service":null,"instance":null,"what":"a_word_of_the_future","why":null,)" +
                         R"("who":null,"zxid":null}],"next":null})");
  const Outcome outcome = run({"history", "--service", "web", "--instance", "i-1"});
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_EQ(asked(0), "GET /v1/history?service=web&instance=i-1&limit=100");
  EXPECT_TRUE(has(outcome.out, "TIME                  AGE"));
  EXPECT_TRUE(has(outcome.out, "2026-01-31 03:12:07Z  "));
  EXPECT_TRUE(
      has(outcome.out, "  accepted              web/i-1           17  2 of 3 servers refuse  root, curl 4321\n"));
  EXPECT_TRUE(has(outcome.out, "  3m ago  "));
  EXPECT_TRUE(has(outcome.out, "  a_word_of_the_future\n"));
}

TEST_F(Cli, HistoryInPagesUpToItsLimit) {
  server.answer(200, R"({"entries":[)" + entry(9, "accepted") + R"(],"next":9})");
  server.answer(200, R"({"entries":[)" + entry(8, "accepted") + R"(],"next":8})");
  const Outcome outcome = run({"history", "--limit", "2", "--before", "40"});
  EXPECT_EQ(asked(0), "GET /v1/history?before=40&limit=2");
  EXPECT_EQ(asked(1), "GET /v1/history?before=40&limit=1&before_event=9");
  EXPECT_EQ(server.seen().size(), 2u);
  EXPECT_TRUE(has(outcome.err, "a larger --limit"));
}

TEST_F(Cli, HistoryAsJson) {
  const std::string answer = R"({"entries":[)" + entry(9, "accepted", kWho) + R"(],"next":null})";
  server.answer(200, answer);
  EXPECT_EQ(run({"history", "--json"}).out, answer + "\n");
}

TEST_F(Cli, HistoryOfNothing) {
  server.answer(200, R"({"entries":[],"next":null})");
  const Outcome outcome = run({"history", "--service", "web"});
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_EQ(outcome.out + outcome.err, "nothing like that in the history\n");
}

// A stream of `chunks`, in HTTP's chunked encoding, that ends in the middle as a dying agent's does.
std::string stream(const std::vector<std::string>& chunks) {
  std::string bytes = "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const std::string& chunk : chunks) {
    char size[16];
    std::snprintf(size, sizeof(size), "%zx", chunk.size());
    bytes += size + ("\r\n" + chunk) + "\r\n";
  }
  return bytes;
}

TEST_F(Cli, EventsALineEach) {
  const std::string first = entry(41, "registered");
  const std::string second = entry(42, "conflict", kWho);
  server.send_raw(stream({first + "\n" + second.substr(0, 20), second.substr(20) + "\n\n"}));
  const Outcome outcome = run({"events", "--since", "40"});
  EXPECT_EQ(asked(0), "GET /v1/events?since=40");
  EXPECT_EQ(outcome.out,
            "2026-01-31 03:12:07Z  registered  web/i-1\n"
            "2026-01-31 03:12:07Z  conflict  web/i-1  2 of 3 servers refuse  (root, curl 4321)\n");
  EXPECT_EQ(outcome.exit, 3) << "the agent has gone";
  EXPECT_TRUE(has(outcome.err, "the agent ended the stream"));
  EXPECT_TRUE(has(outcome.err, "limpet events --since 42"));
}

TEST_F(Cli, EventsAsTheyComeWithJson) {
  server.send_raw(stream({"{\"event\":1, \"what\":\"x\"}\n"}));
  EXPECT_TRUE(has(run({"events", "--json"}).out, "{\"event\":1, \"what\":\"x\"}\n"));
  EXPECT_EQ(asked(0), "GET /v1/events");
}

TEST_F(Cli, EventsThatAreTooOld) {
  server.answer(410, R"({"detail":"event 1 is gone; the oldest kept is 100","code":"too_old","retryable":false})");
  const Outcome outcome = run({"events", "--since", "1"});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_EQ(outcome.err, "limpet: cannot follow the events: event 1 is gone; the oldest kept is 100 (too_old)\n");
}

TEST_F(Cli, EventsThatBreakOff) {
  server.send_raw(stream({R"({"error":"too_old","detail":"What came after event 1 is no longer kept."})"
                          "\n"}));
  const Outcome outcome = run({"events", "--since", "1", "--service", "web", "--instance", "i&1"});
  EXPECT_EQ(asked(0), "GET /v1/events?since=1&service=web&instance=i%261");
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.err, "limpet: the events break off: What came after event 1 is no longer kept. (too_old)\n");
}

TEST_F(Cli, EventsEndWithTheirReader) {
  server.send_raw(stream({entry(1, "registered") + "\n", entry(2, "registered") + "\n"}));
  Setting setting;
  setting.output_reader_gone = true;
  EXPECT_EQ(run({"events"}, setting).exit, 0);
}

TEST_F(Cli, ForeignTextInEventsDrivesNoTerminal) {
  server.send_raw(stream({entry(1, "x\\u001b[2J", R"(,"why":"\u001b[31m")") + "\n"}));
  const std::string out = run({"events"}).out;
  EXPECT_TRUE(has(out, "x\\x1b[2J  web/i-1  \\x1b[31m\n"));
}

}  // namespace
}  // namespace limpet::test
