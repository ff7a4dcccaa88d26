// status: what someone reads at 03:12, for each state that the agent can be in.
#include "tests/cli/fixture.h"

namespace limpet::test {
namespace {

struct Status {
  std::string zookeeper;      // its members
  std::string registrations;  // its members
  int depth = 0;
  std::string storage = R"("healthy":true,"error":null)";
  int max_operations = 1000000;

  std::string json() const {
    return R"({"version":"0.1.0","pid":812,"started_at":")" + seconds_ago(3 * 86400 + 7300) + R"(","zookeeper":{)" +
           zookeeper + R"(,"session_timeout_ms":10000,"since":")" + seconds_ago(252) + R"("},"queue":{"depth":)" +
           std::to_string(depth) + R"(,"bytes":2048,"oldest_age_ms":240000,"max_operations":)" +
           std::to_string(max_operations) + R"(},"registrations":{)" + registrations + R"(},"storage":{)" + storage +
           R"(,"bytes":1258291}})";
  }
};

const std::string kConnected = R"("state":"connected","session":"0x10","server":"10.0.0.1:2181","message":null)";

// Line breaks come from the width and are not what is tested here.
std::string in_one_line(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c != '\n' && (c != ' ' || out.empty() || out.back() != ' ')) {
      out.push_back(c);
    } else if (!out.empty() && out.back() != ' ') {
      out.push_back(' ');
    }
  }
  return out;
}

class StatusText : public Cli {
 protected:
  std::string status(const Status& status, int exit = 0) {
    server.answer(200, status.json());
    const Outcome outcome = run({"status"});
    EXPECT_EQ(outcome.exit, exit) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    return in_one_line(outcome.out);
  }
};

class StatusOfFiles : public StatusText {
 protected:
  std::string with_files(const std::string& files) {
    std::string json = Status{kConnected, R"("total":37,"registered":37)"}.json();
    json.pop_back();
    server.answer(200, json + R"(,"registrations_d":{"directory":"/etc/limpet/registrations.d",)" + files + "}}");
    return in_one_line(run({"status"}).out);
  }
};

TEST_F(StatusOfFiles, ProblemsAreToldAndTheHeadlineAgrees) {
  const std::string out = with_files(
      R"("registrations":37,"held":0,"problems":4,"errors":[{"file":"a.json","error":"entry 2: /port is wrong"},)"
      R"({"file":"b","error":"x"},{"file":"c","error":"x"},{"file":"d","error":"x"}])");
  EXPECT_TRUE(has(out, "Connected, but not all that the registration files say could be taken: see Files below."));
  EXPECT_FALSE(has(out, "All is well"));
  EXPECT_TRUE(
      has(out, "Files 4 problems with /etc/limpet/registrations.d; what came from there before stays registered"));
  EXPECT_TRUE(has(out, "a.json: entry 2: /port is wrong"));
  EXPECT_TRUE(has(out, "and more: limpet --json status, or limpet doctor"));
}

TEST_F(StatusOfFiles, ADirectoryThatNothingEverCameFromIsTold) {
  const std::string out = with_files(
      R"("registrations":0,"held":0,"problems":1,"errors":[{"file":"/etc/limpet/registrations.d","error":"it is not there"}])");
  EXPECT_TRUE(has(out, "All is well"));
  EXPECT_TRUE(has(out, "/etc/limpet/registrations.d: it is not there"));
}

TEST_F(StatusOfFiles, NothingIsSaidWhereAllIsWell) {
  EXPECT_FALSE(has(with_files(R"("registrations":3,"held":0,"problems":0,"errors":[])"), "Files"));
}

TEST_F(StatusText, AllIsWell) {
  server.answer(200, Status{kConnected, R"("total":37,"registered":37)"}.json());
  const std::string out = run({"status"}).out;
  // The seconds of "for 4m12s" may move on while the program starts.
  EXPECT_TRUE(has(out,
                  "All is well: everything that this host has registered is in ZooKeeper.\n\n"
                  "ZooKeeper   connected to 10.0.0.1:2181 for 4m1"));
  EXPECT_TRUE(has(out,
                  "\nSession     0x10, time-out 10s\n"
                  "Registered  all 37 in ZooKeeper\n"
                  "Waiting     nothing\n"
                  "Storage     healthy, 1.2 MiB\n"
                  "Agent       limpetd 0.1.0, pid 812, up for 3d2h\n"));
}

TEST_F(StatusText, NothingRegisteredYet) {
  const std::string out = status({kConnected, R"("total":0)"});
  EXPECT_TRUE(has(out, "nothing is registered on this host yet"));
}

TEST_F(StatusText, ChangesOnTheWay) {
  const std::string out = status({kConnected, R"("total":37,"registered":36,"pending":1)", 1});
  EXPECT_TRUE(has(out, "Connected; 1 change is on the way to ZooKeeper."));
  EXPECT_TRUE(has(out, "Registered 36 of 37 in ZooKeeper"));
  EXPECT_TRUE(has(out, "Waiting 1 change (2.0 KiB), the oldest accepted 4m00s ago; going out now, in order"));
}

TEST_F(StatusText, SessionTakenOver) {
  EXPECT_TRUE(has(status({kConnected + R"(,"reattached":true)", R"("total":1,"registered":1)"}),
                  "0x10, time-out 10s, taken over from the agent's earlier run"));
  EXPECT_TRUE(has(status({kConnected + R"(,"sessions":3)", R"("total":1,"registered":1)"}),
                  "0x10, time-out 10s, number 3 since the agent started"));
}

TEST_F(StatusText, QuorumLost) {
  const std::string out =
      status({R"("state":"suspended","session":"0x10","server":null,"message":"2 of 3 servers refuse connections")",
              R"("total":49,"suspended":37,"pending":12)", 12});
  EXPECT_TRUE(has(out, "ZooKeeper is away. Nothing is lost:"));
  EXPECT_TRUE(has(out, "ZooKeeper suspended for 4m1"));
  EXPECT_TRUE(has(out,
                  ": 2 of 3 servers refuse connections Session 0x10 (kept on disk; it ends only if a working "
                  "quorum hears nothing from this agent for 10s)"));
  EXPECT_TRUE(has(out, "Registered 37 of 49 in ZooKeeper before the loss; they stay as long as the session lives"));
  EXPECT_TRUE(has(out,
                  "Waiting 12 changes (2.0 KiB), the oldest accepted 4m00s ago; all are on disk, and go out in "
                  "order when the quorum is back"));
}

TEST_F(StatusText, NeverConnectedYet) {
  const std::string out = status(
      {R"("state":"connecting","session":null,"message":"zk1 cannot be resolved")", R"("total":2,"pending":2)", 2});
  EXPECT_TRUE(has(out, "The agent has not reached ZooKeeper yet."));
  EXPECT_TRUE(has(out, "ZooKeeper connecting for 4m1"));
  EXPECT_TRUE(has(out, ": zk1 cannot be resolved Session none yet"));
  EXPECT_TRUE(has(out, "Registered 2 accepted, none of them known to be in ZooKeeper"));
}

TEST_F(StatusText, RestartedWithZooKeeperAway) {
  const std::string out = status({R"("state":"connecting","session":"0x10")", R"("total":3,"suspended":3)", 0});
  EXPECT_TRUE(has(out, "0x10 (kept on disk from the earlier run; the agent tries to take it up again)"));
  EXPECT_TRUE(has(out, "Registered 3 of 3 in ZooKeeper before the loss; they stay as long as the session lives"));
}

TEST_F(StatusText, SessionExpired) {
  std::string out = status({R"("state":"expired","session":null)", R"("total":2,"pending":2)", 2});
  EXPECT_TRUE(has(out, "ZooKeeper is away, or has ended this host's session. Nothing is lost:"));
  EXPECT_TRUE(has(out, "ZooKeeper expired for 4m1"));
  EXPECT_TRUE(has(out, ": the session has ended, or is presumed to have Session none: the last one has ended"));
  EXPECT_TRUE(has(out, "go out in order once a session stands again"));
  out = status({R"("state":"expired","session":"0x10")", R"("total":2,"suspended":2)", 0});
  EXPECT_TRUE(has(out, "Session 0x10 (presumed gone: tried again first, and replaced if it has ended)"));
  EXPECT_TRUE(has(out, "2 of 2 in ZooKeeper before; they are created again where the session has ended"));
}

TEST_F(StatusText, CredentialsRefused) {
  const std::string out = status({R"("state":"auth_failed","session":null)", R"("total":2,"pending":2)", 2}, 1);
  EXPECT_TRUE(has(out, "Needs a hand: ZooKeeper refuses the agent's credentials"));
  EXPECT_TRUE(has(out, "ZooKeeper credentials refused for 4m1"));
  EXPECT_TRUE(has(out, "once the credentials are right"));
}

TEST_F(StatusText, NamesOfServersAreShownWithTheAddressesInUse) {
  const auto with_servers = [&](const std::string& servers) {
    return in_one_line(status({kConnected + R"(,"servers":[)" + servers + "]", R"("total":0)"}));
  };
  EXPECT_TRUE(has(with_servers(R"({"name":"zk1:2181","addresses":["10.0.0.1:2181","10.0.0.2:2181"],"error":null},)"
                               R"({"name":"zk2:1","addresses":["10.0.0.3:1"],"error":"cannot resolve zk2: gone"},)"
                               R"({"name":"zk3:1","addresses":[],"error":"cannot resolve zk3: gone"})"),
                  "Servers zk1:2181 (10.0.0.1:2181, 10.0.0.2:2181), zk2:1 (last 10.0.0.3:1: cannot resolve zk2: gone), "
                  "zk3:1 (no address known: cannot resolve zk3: gone)"));
  EXPECT_FALSE(has(with_servers(R"({"name":"10.0.0.1:1","addresses":["10.0.0.1:1"],"error":null})"), "Servers"));
}

TEST_F(StatusText, OneCauseForAllBlockedIsTheHeadline) {
  server.answer(200,
                Status{R"("state":"connected","server":"127.0.0.1:2181","session":"0x10","message":"local sessions")",
                       R"("total":3,"blocked":3)", 3}
                    .json());
  server.answer(
      200, R"({"registrations":[)" + registration("i-2", "blocked", reason("refused", "-120")) + R"(],"next":null})");
  EXPECT_TRUE(has(in_one_line(run({"status"}).out), "Needs a hand: local sessions."));
}

TEST_F(StatusText, ConflictsAndBlockedAreNamedWithAHint) {
  server.answer(200, Status{kConnected, R"("total":40,"registered":35,"conflict":4,"blocked":1)", 5}.json());
  server.answer(200, R"({"registrations":[)" + registration("i-1", "conflict", reason("foreign_owner", "0x2 has it")) +
                         R"(],"next":"web/i-1"})");
  server.answer(200, R"({"registrations":[)" + registration("i-2", "blocked", reason("no_auth", "ACL says no")) +
                         R"(],"next":null})");
  const std::string out = in_one_line(run({"status"}).out);
  EXPECT_EQ(asked(1), "GET /v1/registrations?limit=3&state=conflict");
  EXPECT_EQ(asked(2), "GET /v1/registrations?limit=3&state=blocked");
  EXPECT_TRUE(has(out, "Needs a look: 5 registrations cannot get into ZooKeeper. They hold up no others."));
  EXPECT_TRUE(has(out, "set aside, see below"));
  EXPECT_TRUE(has(out,
                  "Conflict 4: another owner has the path; taken when it goes web/i-1 foreign_owner: 0x2 has it "
                  "(limpet show web i-1) and others: limpet list --state conflict"));
  EXPECT_TRUE(
      has(out,
          "Blocked 1: ZooKeeper refuses, or the session has no room; tried again slowly web/i-2 no_auth: ACL says no "
          "(limpet show web i-2)"));
}

TEST_F(StatusText, NamesThatCannotBeHadAreLeftOut) {
  server.answer(200, Status{kConnected, R"("total":1,"conflict":1)", 1}.json());
  server.cut();
  const Outcome outcome = run({"status"});
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_TRUE(has(in_one_line(outcome.out), "which: limpet list --state conflict"));
}

TEST_F(StatusText, UnhealthyAndInMaintenance) {
  server.answer(200, Status{kConnected, R"("total":3,"registered":1,"unhealthy":1,"maintenance":1)"}.json());
  server.answer(200, R"({"registrations":[)" +
                         registration("i-1", "unhealthy", reason("check_failed", "tcp 127.0.0.1:80: refused")) +
                         R"(],"next":null})");
  server.answer(200, R"({"registrations":[{"id":"web/i-2","service":"web","instance":"i-2","state":"maintenance",)"
                     R"("reason":null,"maintenance":{"reason":"new disk","since":null}}],"next":null})");
  const std::string out = in_one_line(run({"status"}).out);
  EXPECT_EQ(asked(1), "GET /v1/registrations?limit=3&state=unhealthy");
  EXPECT_EQ(asked(2), "GET /v1/registrations?limit=3&state=maintenance");
  EXPECT_TRUE(has(out,
                  "Connected; 1 registration withdrawn because its check fails. All others are in ZooKeeper, or in "
                  "maintenance."));
  EXPECT_TRUE(has(out,
                  "Unhealthy 1: withdrawn while a check fails; back by itself when it passes web/i-1 check_failed: tcp "
                  "127.0.0.1:80: refused (limpet show web i-1)"));
  EXPECT_TRUE(has(out, "Maintenance 1: withdrawn by hand until that is ended web/i-2 new disk (limpet show web i-2)"));
}

TEST_F(StatusText, WholeHostInMaintenance) {
  std::string json = Status{kConnected, R"("total":3,"maintenance":3)"}.json();
  json.insert(1, R"("maintenance":{"reason":"kernel upgrade","since":")" + seconds_ago(130) + R"("},)");
  server.answer(200, json);
  const std::string out = in_one_line(run({"status"}).out);
  EXPECT_EQ(server.seen().size(), 1u);
  EXPECT_TRUE(has(out, "This host is in maintenance: everything that it has registered is withdrawn"));
  EXPECT_TRUE(has(out, "Maintenance of the whole host, since 2m ago: kernel upgrade; ended by"));
}

TEST_F(StatusText, StorageFailed) {
  const std::string failed = R"("healthy":false,"error":"No space left on device")";
  std::string out = status({kConnected, R"("total":1,"registered":1)", 0, failed}, 1);
  EXPECT_TRUE(has(out, "Needs a hand: the agent cannot write to its disk, so new changes are refused."));
  EXPECT_TRUE(has(out, "Storage FAILED: No space left on device. Changes are refused until it works again"));
  EXPECT_EQ(out.find("away as well"), std::string::npos);
  out = status({R"("state":"suspended","session":"0x10")", R"("total":1,"suspended":1)", 0, failed}, 1);
  EXPECT_TRUE(has(out, "ZooKeeper is away as well."));
}

TEST_F(StatusText, SilentDiskHasAHeadlineOfItsOwnAndSaysHowMuchIsNotInZooKeeper) {
  const std::string hung = R"("healthy":false,"state":"hung","since":")" + seconds_ago(252) +
                           R"(","error":"the disk has not answered since then")";
  const std::string message = kConnected.substr(0, kConnected.find("null")) + R"("the new session is not on disk yet")";
  const std::string out = status({message, R"("total":20,"registered":0,"pending":20)", 20, hung}, 1);
  EXPECT_TRUE(has(out, "Needs a hand: the agent's disk has not answered for 4m1"));
  EXPECT_TRUE(has(out, "20 registrations of 20 not in ZooKeeper."));
  EXPECT_TRUE(has(out, "Storage HANGS: the disk has not answered since then. Changes are refused until it answers"));
}

TEST_F(StatusText, ConnectedWithANewSessionThatIsNotOnDiskIsNotWell) {
  const std::string message = kConnected.substr(0, kConnected.find("null")) + R"("the new session is not on disk yet")";
  const std::string out = status({message, R"("total":2,"pending":2)", 2});
  EXPECT_TRUE(has(out, "Connected, but nothing is registered yet: the new session is not on disk yet."));
}

TEST_F(StatusText, NothingIsCalledWellWhileARegistrationIsNotInZooKeeper) {
  for (const char* counts : {R"("total":3,"registered":2,"suspended":1)", R"("total":3,"registered":2,"pending":1)"}) {
    const std::string out = status({kConnected, counts}, 1);
    EXPECT_TRUE(has(out, "Needs a look: 1 registration of 3 not in ZooKeeper. `limpet list` says which, and why."));
  }
}

TEST_F(StatusText, QueueNearlyFull) {
  EXPECT_TRUE(
      has(status({R"("state":"suspended","session":"0x10")", R"("total":1,"pending":1)", 90, R"("healthy":true)", 100}),
          "The queue is nearly full: past 100 changes it refuses more (queue_full)"));
}

TEST_F(StatusText, LinesFitTheTerminal) {
  Setting setting;
  setting.tty_width = 50;
  setting.environment = {"NO_COLOR=1"};
  server.answer(200, Status{R"("state":"suspended","session":"0x10","message":"no server answers")",
                            R"("total":1,"pending":1)", 1}
                         .json());
  const std::string out = run({"status"}, setting).out;
  for (std::size_t start = 0; start < out.size();) {
    const std::size_t end = out.find('\n', start);
    EXPECT_LE(end - start, 50u) << out.substr(start, end - start);
    start = end + 1;
  }
}

TEST_F(StatusText, AsJson) {
  const std::string answer = Status{kConnected, R"("total":1,"conflict":1)", 1}.json();
  server.answer(200, answer);
  const Outcome outcome = run({"status", "--json"});
  EXPECT_EQ(outcome.out, answer + "\n");
  EXPECT_EQ(outcome.exit, 1) << "as without --json";
  EXPECT_EQ(server.seen().size(), 1u);
}

}  // namespace
}  // namespace limpet::test
