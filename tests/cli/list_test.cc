// list, queue, show: tables, pages, JSON as it is, and output that goes away.
#include "tests/cli/fixture.h"

namespace limpet::test {
namespace {

std::string page(const std::string& items, const std::string& next = "null") {
  return R"({"registrations":[)" + items + R"(],"next":)" + next + "}";
}

std::string three() {
  return registration("i-1", "registered") + "," +
         registration("i-2", "conflict", reason("foreign_owner", "session 0x2 owns the path")) + "," +
         registration("i-3", "pending", reason("no_quorum", "2 of 3 servers refuse connections"), 5);
}

TEST_F(Cli, ListAsATable) {
  server.answer(200, page(three()));
  const Outcome outcome = run({"list"});
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_EQ(outcome.out.substr(0, outcome.out.find("web/i-3")),
            "REGISTRATION  STATE       ACCEPTED  ZNODE              REASON\n"
            "web/i-1       registered  3m ago    /services/web/i-1\n"
            "web/i-2       conflict    3m ago    /services/web/i-2  foreign_owner: session 0x2 owns the path\n");
  EXPECT_TRUE(has(outcome.out, "/services/web/i-3  no_quorum: 2 of 3 servers refuse connections\n"));
}

TEST_F(Cli, ListFiltersAreEncoded) {
  server.answer(200, page(""));
  const Outcome outcome = run({"list", "--service", "a&b+c", "--state", "pending"});
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_EQ(asked(0), "GET /v1/registrations?service=a%26b%2Bc&state=pending&limit=1000");
  EXPECT_EQ(outcome.out, "");
  EXPECT_EQ(outcome.err, "no registration like that on this host\n");
}

TEST_F(Cli, ListOfNothing) {
  server.answer(200, page(""));
  const Outcome outcome = run({"list"});
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_EQ(outcome.out + outcome.err, "nothing is registered on this host\n");
}

TEST_F(Cli, ListInPages) {
  server.answer(200, page(registration("i-1", "registered"), "\"web/i-1\""));
  server.answer(200, page(registration("i-2", "registered"), "\"web/i-2\""));
  server.answer(200, page(registration("i-3", "registered")));
  const Outcome outcome = run({"list"});
  EXPECT_EQ(asked(1), "GET /v1/registrations?limit=1000&after=web/i-1");
  EXPECT_EQ(asked(2), "GET /v1/registrations?limit=1000&after=web/i-2");
  for (const char* id : {"web/i-1 ", "web/i-2 ", "web/i-3 "}) {
    EXPECT_TRUE(has(outcome.out, id));
  }
}

TEST_F(Cli, ListStopsAtItsLimit) {
  server.answer(200, page(registration("i-1", "registered"), "\"web/i-1\""));
  const Outcome outcome = run({"list", "--limit", "1"});
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_EQ(asked(0), "GET /v1/registrations?limit=1");
  EXPECT_EQ(server.seen().size(), 1u);
  EXPECT_TRUE(has(outcome.err, "a larger --limit"));
}

TEST_F(Cli, JsonOfOnePageIsAsItCame) {
  const std::string odd = "{ \"next\":null,\n  \"registrations\":[{\"b\":1.50,\"a\":\"\\u00e4\"}], \"x\":{} }";
  server.answer(200, odd);
  EXPECT_EQ(run({"list", "--json"}).out, odd + "\n");
}

TEST_F(Cli, JsonOfSeveralPagesIsOneAnswer) {
  server.answer(200, page(R"({"id":"a/1","z":1})", "\"a/1\""));
  server.answer(200, page(R"({"id":"a/2","b":2})"));
  EXPECT_EQ(run({"--json", "list"}).out, page(R"({"id":"a/1","z":1},{"id":"a/2","b":2})") + "\n");
}

TEST_F(Cli, OneVeryLongNameDoesNotPadTheOthers) {
  const std::string name(250, 'x');
  server.answer(200, page(three() + "," + registration(name, "registered")));
  std::string out = run({"list"}).out;
  EXPECT_TRUE(has(out, "web/i-1" + std::string(33, ' ') + "  registered  3m ago"));
  EXPECT_TRUE(has(out, "web/" + name + "  registered  3m ago    /services/web/" + name + "\n")) << "nothing is cut";
  server.answer(200, page(three() + "," + registration(name, "registered")));
  Setting setting;
  setting.tty_width = 150;
  setting.environment = {"NO_COLOR=1"};
  out = run({"list"}, setting).out;
  EXPECT_TRUE(has(out, "foreign_owner: session 0x2 owns the path\n")) << "no column suffers for another's long cell";
  EXPECT_TRUE(has(out, "xxx…  registered  3m ago    /services/web/xxx"));
}

TEST_F(Cli, TerminalCutsWhatIsTooLong) {
  server.answer(200, page(three()));
  Setting setting;
  setting.tty_width = 72;
  setting.environment = {"NO_COLOR=1", "TERM=xterm"};
  const Outcome outcome = run({"list"}, setting);
  EXPECT_EQ(outcome.out.substr(0, outcome.out.find("web/i-3")),
            "REGISTRATION  STATE       ACCEPTED  ZNODE              REASON\n"
            "web/i-1       registered  3m ago    /services/web/i-1\n"
            "web/i-2       conflict    3m ago    /services/web/i-2  foreign_owner: s…\n");
}

TEST_F(Cli, NarrowTerminalCutsZnodesAndIdsToo) {
  server.answer(200, page(registration("an-instance-with-a-long-name", "registered")));
  Setting setting;
  setting.tty_width = 60;
  setting.environment = {"NO_COLOR=1"};
  EXPECT_EQ(run({"list"}, setting).out,
            "REGISTRATION      STATE       ACCEPTED  ZNODE         REASON\n"
            "web/an-instance…  registered  3m ago    /services/w…\n");
}

TEST_F(Cli, ColoursOnlyOnATerminalThatWantsThem) {
  struct Case {
    std::optional<unsigned short> width;
    std::vector<std::string> environment;
    bool coloured;
  };
  for (const Case& c : {Case{200, {"TERM=xterm"}, true}, Case{200, {"TERM=xterm", "NO_COLOR="}, true},
                        Case{200, {"TERM=xterm", "NO_COLOR=1"}, false}, Case{200, {"TERM=dumb"}, false},
                        Case{{}, {"TERM=xterm"}, false}}) {
    server.answer(200, page(three()));
    Setting setting;
    setting.tty_width = c.width;
    setting.environment = c.environment;
    const Outcome outcome = run({"list"}, setting);
    EXPECT_EQ(outcome.out.find("\x1b[31mconflict\x1b[0m    3m ago") != std::string::npos, c.coloured);
    EXPECT_EQ(outcome.out.find('\x1b') != std::string::npos, c.coloured);
  }
}

TEST_F(Cli, ForeignTextCannotDriveTheTerminal) {
  server.answer(200, page(registration("i-1", "blocked", reason("no_auth", "\\u001b]0;gotcha\\u0007\\u009b2J\\n"))));
  const Outcome outcome = run({"list"});
  EXPECT_TRUE(has(outcome.out, "\\x1b]0;gotcha\\x07\\x9b2J\\n"));
}

TEST_F(Cli, MarksOfDirectionCannotTurnALine) {
  server.answer(200, page(registration("i-1", "blocked", reason("no_auth", "a\u202eb\u2066c\u200f"))));
  EXPECT_TRUE(has(run({"list"}).out, "a\\u202eb\\u2066c\\u200f"));
}

// Of an agent that does not escape them, or of something else that answers.
TEST_F(Cli, JsonOutputHasNoControlCharacterThatATerminalObeys) {
  server.answer(200, page(registration("i-1", "blocked", reason("no_auth", "\x7f\xc2\x9b 2J"))));
  const Outcome outcome = run({"--json", "list"});
  EXPECT_TRUE(has(outcome.out, "\\u007f\\u009b 2J")) << outcome.out;
  EXPECT_TRUE(nlohmann::json::accept(outcome.out)) << outcome.out;
}

TEST_F(Cli, ReaderThatWentAwayIsNoFailure) {
  server.answer(200, page(three()));
  Setting setting;
  setting.output_reader_gone = true;
  const Outcome outcome = run({"list"}, setting);
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_EQ(outcome.err, "");
}

TEST_F(Cli, OutputThatCannotBeWrittenIsAFailure) {
  server.answer(200, page(three()));
  Setting setting;
  setting.output_file = "/dev/full";
  const Outcome outcome = run({"list"}, setting);
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_TRUE(has(outcome.err, "cannot write to standard output"));
}

TEST_F(Cli, QueueAsATable) {
  server.answer(200, R"({"operations":[{"seq":8,"op":"register","id":"web/i-1","service":"web","instance":"i-1",)"
                     R"("path":"/services/web/i-1","state":"pending","reason":)" +
                         reason("no_quorum", "away") + R"(,"accepted_at":")" + seconds_ago(250) +
                         R"("},{"seq":12,"op":"deregister","service":"web","instance":"i-2","state":"removing",)" +
                         R"("reason":null,"accepted_at":")" + seconds_ago(7500) + R"("}],"next":null})");
  const Outcome outcome = run({"queue"});
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_EQ(asked(0), "GET /v1/queue?limit=1000");
  EXPECT_EQ(outcome.out,
            "CHANGE  DOES        REGISTRATION  STATE     ACCEPTED  REASON\n"
            "     8  register    web/i-1       pending   4m ago    no_quorum: away\n"
            "    12  deregister  web/i-2       removing  2h ago\n");
}

TEST_F(Cli, QueuePagesGoOnAfterASeq) {
  server.answer(200, R"({"operations":[{"seq":8,"op":"register","id":"web/i-1"}],"next":8})");
  server.answer(200, R"({"operations":[],"next":null})");
  EXPECT_EQ(run({"queue"}).exit, 0);
  EXPECT_EQ(asked(1), "GET /v1/queue?limit=999&after=8");
}

TEST_F(Cli, QueueOfNothing) {
  server.answer(200, R"({"operations":[],"next":null})");
  EXPECT_EQ(run({"queue"}).err, "nothing waits: every change has reached ZooKeeper\n");
}

TEST_F(Cli, ShowSaysAllAndWhatToDo) {
  server.answer(200, registration("i-2", "conflict", reason("foreign_owner", "session 0x2 owns the path")));
  const Outcome outcome = run({"show", "web", "i-2"});
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_TRUE(
      has(outcome.out, "web/i-2\nState       conflict, foreign_owner: session 0x2 owns the path (since 2m ago,"));
  EXPECT_TRUE(
      has(outcome.out, "\nZnode       /services/web/i-2\nData (raw)  hello\nChange      17, accepted 3m ago ("));
  EXPECT_TRUE(has(outcome.out, "\nOwner       root (uid 0, by process 4321)\n"));
  EXPECT_TRUE(has(outcome.out, "\nWhat now    Another session owns /services/web/i-2."));
}

TEST_F(Cli, ShowOfWhatIsNotThere) {
  server.answer(404, R"({"detail":"there is no web/i-9","code":"not_found"})");
  const Outcome outcome = run({"show", "web", "i-9"});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_EQ(outcome.err, "limpet: cannot show web/i-9: there is no web/i-9 (not_found)\n");
}

TEST_F(Cli, ShowAsJson) {
  const std::string answer = registration("i-1", "registered");
  server.answer(200, answer);
  EXPECT_EQ(run({"show", "web", "i-1", "--json"}).out, answer + "\n");
}

TEST_F(Cli, AnswersOfAnotherVersionAreShownAsFarAsTheyGo) {
  for (const char* answer : {"{}", "[]", "null", "7", R"({"state":5,"path":[],"reason":"x","owner":7,"seq":"y"})"}) {
    for (const char* verb : {"list", "queue", "status"}) {
      server.answer(200, answer);
      EXPECT_EQ(run({verb}).exit, 0) << verb << " " << answer;
    }
    server.answer(200, answer);
    EXPECT_EQ(run({"show", "web", "i-1"}).exit, 0) << answer;
  }
}

}  // namespace
}  // namespace limpet::test
