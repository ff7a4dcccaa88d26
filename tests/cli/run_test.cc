// run: the command's life is the registration's; signals and exit status go through.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "tests/cli/fixture.h"

namespace limpet::test {
namespace {

// As the agent shows what was registered by `pid`.
std::string owned_by(int pid, const std::string& state = "registered") {
  return R"({"id":"web/i-1","seq":17,"state":")" + state + R"(","bind":"process","owner":{"uid":0,"pid":)" +
         std::to_string(pid) + "}}";
}

std::string content_of(const std::string& file) {
  std::ifstream stream(file);
  std::stringstream content;
  content << stream.rdbuf();
  return content.str();
}

template <typename Condition>
bool eventually(Condition condition) {
  for (int i = 0; i < 6000; ++i) {
    if (condition()) {
      return true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

class Run : public Cli {
 protected:
  // Answers to a life without trouble.
  void script() {
    server.answer(202, owned_by(1, "pending"));
    server.answer(200, owned_by(1));
    server.answer(202, owned_by(1, "removing"));
  }
  Outcome shell(const std::string& text) { return run({"run", "web", "i-1", "--", "sh", "-c", text}); }

  // `limpet run web i-1 -- sh -c TEXT` in the background; its output goes nowhere.
  pid_t start(const std::string& text) {
    const std::string socket = "LIMPET_SOCKET=" + server.socket();
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::execle(LIMPET_PATH, "limpet", "run", "web", "i-1", "--", "sh", "-c", text.c_str(), nullptr,
               std::vector<const char*>{socket.c_str(), "PATH=/usr/bin:/bin", nullptr}.data());
      ::_exit(125);
    }
    return pid;
  }
  static int wait_exit(pid_t pid) {
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  std::string file(const std::string& name) { return server.directory() + "/" + name; }
};

TEST_F(Run, RegistersRunsAndDeregisters) {
  script();
  const Outcome outcome =
      run({"run", "web", "i-1", "--port", "80", "--", "sh", "-c", "echo \"$LIMPET_SERVICE/$LIMPET_INSTANCE\"; exit 7"});
  EXPECT_EQ(outcome.exit, 7);
  EXPECT_EQ(outcome.out, "web/i-1\n") << "nothing but the command's own output";
  EXPECT_EQ(outcome.err, "");
  EXPECT_EQ(asked(0), "PUT /v1/registrations/web/i-1");
  EXPECT_EQ(body(0), R"({"port":80,"bind":"process"})") << "without a pid: the kernel tells the agent whose it is";
  EXPECT_EQ(asked(1), "GET /v1/registrations/web/i-1");
  EXPECT_EQ(asked(2), "DELETE /v1/registrations/web/i-1");
}

TEST_F(Run, WordsReachTheCommandAsTheyAre) {
  script();
  const Outcome outcome = run({"--json", "run", "--data", "x", "web", "i-1", "--", "printf", "<%s>", "--json", "",
                               "[a,b]", "--", "-h", "--data=", "a b"});
  EXPECT_EQ(outcome.exit, 0);
  EXPECT_EQ(outcome.out, "<--json><><[a,b]><--><-h><--data=><a b>");
}

TEST_F(Run, PlainCommandNeedsNoDashes) {
  script();
  EXPECT_EQ(run({"run", "web", "i-1", "true"}).exit, 0);
}

TEST_F(Run, SignalThatEndsTheCommand) {
  script();
  EXPECT_EQ(shell("kill -TERM $$").exit, 128 + SIGTERM);
  EXPECT_EQ(asked(2), "DELETE /v1/registrations/web/i-1");
}

TEST_F(Run, SignalsArePassedOn) {
  script();
  const pid_t pid = start("trap 'echo hup >" + file("hup") + "' HUP; trap 'echo pipe >" + file("pipe") +
                          "' PIPE; trap 'exit 5' TERM; touch " + file("ready") + "; while :; do sleep 0.02; done");
  ASSERT_TRUE(eventually([&] { return std::filesystem::exists(file("ready")); }));
  ::kill(pid, SIGHUP);
  EXPECT_TRUE(eventually([&] { return std::filesystem::exists(file("hup")); }));
  ::kill(pid, SIGPIPE);
  EXPECT_TRUE(eventually([&] { return std::filesystem::exists(file("pipe")); }));
  ::kill(pid, SIGTERM);
  EXPECT_EQ(wait_exit(pid), 5);
  EXPECT_EQ(asked(2), "DELETE /v1/registrations/web/i-1");
}

TEST_F(Run, StopAndContinueArePassedOn) {
  script();
  const pid_t pid = start("touch " + file("ready") + "; while [ ! -e " + file("end") + " ]; do sleep 0.02; done");
  ASSERT_TRUE(eventually([&] { return std::filesystem::exists(file("ready")); }));
  ::kill(pid, SIGTSTP);
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, WUNTRACED), pid);
  EXPECT_TRUE(WIFSTOPPED(status));
  ::kill(pid, SIGCONT);
  std::ofstream(file("end")) << "";
  EXPECT_EQ(wait_exit(pid), 0);
}

TEST_F(Run, KillOfLimpetRunKillsTheCommand) {
  script();
  const pid_t pid = start("trap '' TERM HUP INT; echo $$ >" + file("pid") + ".new; mv " + file("pid") + ".new " +
                          file("pid") + "; while :; do sleep 0.02; done");
  ASSERT_TRUE(eventually([&] { return std::filesystem::exists(file("pid")); }));
  const std::string command = std::to_string(std::atoi(content_of(file("pid")).c_str()));
  ::kill(pid, SIGKILL);
  EXPECT_EQ(wait_exit(pid), -SIGKILL);
  EXPECT_TRUE(eventually([&] {
    const std::string stat = content_of("/proc/" + command + "/stat");
    return stat.empty() || stat.find(") Z") != std::string::npos;
  }));
}

TEST_F(Run, AgentOutOfReach) {
  const Outcome outcome = run_limpet({"--socket", file("none"), "run", "web", "i-1", "--", "touch", file("ran")});
  EXPECT_EQ(outcome.exit, 3);
  EXPECT_TRUE(has(outcome.err, "no such socket"));
  EXPECT_FALSE(std::filesystem::exists(file("ran")));
  EXPECT_TRUE(has(run_limpet({"--socket", file("none"), "--json", "run", "web", "i-1", "--", "true"}).out,
                  R"("code":"unreachable")"));
}

TEST_F(Run, RefusedRegistration) {
  server.answer(403, R"({"detail":"web/i-1 belongs to uid 7","code":"not_owner"})");
  const Outcome outcome = shell("touch " + file("ran"));
  EXPECT_EQ(outcome.exit, 1);
  EXPECT_TRUE(has(outcome.err, "cannot register web/i-1: web/i-1 belongs to uid 7 (not_owner)"));
  EXPECT_FALSE(std::filesystem::exists(file("ran")));
  EXPECT_EQ(server.seen().size(), 1u) << "what is not ours is not deregistered";
}

TEST_F(Run, WaitThatRanOut) {
  script();
  const Outcome outcome = run({"run", "web", "i-1", "--wait", "1ms", "--", "touch", file("ran")});
  EXPECT_EQ(outcome.exit, 4);
  EXPECT_FALSE(std::filesystem::exists(file("ran")));
  EXPECT_EQ(asked(2), "DELETE /v1/registrations/web/i-1");
}

TEST_F(Run, NoSuchCommandIsNotRegistered) {
  Outcome outcome = run({"run", "web", "i-1", "--", "no-such-command"});
  EXPECT_EQ(outcome.exit, 127);
  EXPECT_TRUE(has(outcome.err, "cannot run no-such-command: there is no such command"));
  std::ofstream(file("text")) << "text";
  outcome = run({"run", "web", "i-1", "--", file("text")});
  EXPECT_EQ(outcome.exit, 126);
  EXPECT_TRUE(server.seen().empty());
}

TEST_F(Run, CommandThatCannotBeExecutedIsDeregistered) {
  script();
  std::ofstream(file("broken")) << "#!/no/such/interpreter\n";
  std::filesystem::permissions(file("broken"), std::filesystem::perms::owner_all);
  EXPECT_EQ(run({"run", "web", "i-1", "--", file("broken")}).exit, 127);
  EXPECT_EQ(asked(2), "DELETE /v1/registrations/web/i-1");
}

TEST_F(Run, WhatIsGoneOrTakenOverIsLeftAlone) {
  server.answer(202, owned_by(1));
  server.answer(200, owned_by(2));
  Outcome outcome = shell("exit 3");
  EXPECT_EQ(outcome.exit, 3);
  EXPECT_EQ(outcome.err, "limpet: web/i-1 was registered anew by process 2, and is that one's now.\n");
  EXPECT_EQ(server.seen().size(), 2u);
  server.answer(202, owned_by(1));
  server.answer(404, R"({"code":"not_found"})");
  outcome = shell("exit 3");
  EXPECT_EQ(outcome.exit, 3);
  EXPECT_EQ(outcome.err, "");
  EXPECT_EQ(server.seen().size(), 4u);
}

TEST_F(Run, SaysThatItsPlaceWasTakenWhileTheCommandRuns) {
  server.answer(202, owned_by(1));
  server.answer(200, owned_by(1));
  server.cut();  // an agent that is away says nothing about it
  server.answer(200, owned_by(2));
  server.answer(200, owned_by(2));
  const Outcome outcome = run({"run", "web", "i-1", "--look-every", "50ms", "--", "sh", "-c",
                               "while ! [ -s /proc/$$/fd/2 ]; do sleep 0.02; done; exit 3"});
  EXPECT_EQ(outcome.exit, 3);
  EXPECT_EQ(outcome.err,
            "limpet: web/i-1 was registered anew by process 2, and is that one's now. The command goes on.\n");
  EXPECT_EQ(server.seen().size(), 5u) << "it is said once, and what is another's is left alone";
}

TEST_F(Run, WhatTheCommandRegisteredAnewGoesToo) {
  server.answer(202, owned_by(1));
  server.answer(200, R"({"id":"web/i-1","bind":"none","owner":{"uid":0,"pid":99}})");
  server.answer(202, "{}");
  EXPECT_EQ(shell("true").exit, 0);
  EXPECT_EQ(asked(2), "DELETE /v1/registrations/web/i-1");
}

TEST_F(Run, AgentThatGoesAwayMeanwhile) {
  server.answer(202, owned_by(1));
  server.cut();
  const Outcome outcome = shell("echo works; exit 9");
  EXPECT_EQ(outcome.exit, 9);
  EXPECT_EQ(outcome.out, "works\n");
  EXPECT_TRUE(has(outcome.err, "web/i-1 is not deregistered yet"));
  EXPECT_TRUE(has(outcome.err, "The agent does so by itself"));
}

// The signal set `name` of /proc/self/status in `status`.
std::uint64_t signal_set(const std::string& status, const std::string& name) {
  const std::size_t at = status.find(name + ":");
  return at == std::string::npos ? ~0ull : std::stoull(status.substr(at + name.size() + 1), nullptr, 16);
}

TEST_F(Run, CommandHasTheSignalsOfItsCaller) {
  script();
  const std::string command = shell("cat /proc/self/status").out;
  const std::string caller = content_of("/proc/self/status");
  EXPECT_EQ(signal_set(command, "SigBlk"), signal_set(caller, "SigBlk"));
  EXPECT_EQ(signal_set(command, "SigIgn"), signal_set(caller, "SigIgn") & ~(1ull << (SIGPIPE - 1)));
}

}  // namespace
}  // namespace limpet::test
