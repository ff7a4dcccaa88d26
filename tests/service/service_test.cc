// What limpetd and its service manager say to each other: the socket handed over, READY, STATUS, the watchdog, levels
// for the journal. The real agent, and a test program in the manager's place; under the real one it is in package.sh.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "tests/service/manager.h"
#include "tests/support/real_ensemble.h"
#include "tests/support/unix_http.h"

namespace limpet::test {
namespace {

using std::chrono::milliseconds;

constexpr const char* kTarget = "/v1/registrations/web/i-1";

std::size_t count(const std::vector<std::string>& messages, const std::string& message) {
  return static_cast<std::size_t>(std::count(messages.begin(), messages.end(), message));
}

// Every thread of the process.
bool is_traced(pid_t pid) {
  std::size_t threads = 0;
  std::size_t traced = 0;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task")) {
    std::ifstream status(thread.path() / "status");
    for (std::string line; std::getline(status, line);) {
      traced += line.starts_with("TracerPid:") && !line.ends_with("\t0") ? 1 : 0;
    }
    ++threads;
  }
  return threads != 0 && traced == threads;
}

TEST(Service, IsReadyWhenItServesTheSocketItWasGiven) {
  Manager manager;
  // From before the agent is there: waits in the socket.
  std::thread early([&] { EXPECT_EQ(UnixHttp(manager.socket()).put(kTarget, R"({"data":"1"})").status, 202); });
  manager.start();
  EXPECT_EQ(manager.hear("READY=1"), "READY=1");
  EXPECT_EQ(UnixHttp(manager.socket()).get("/healthz").status, 200);
  early.join();
  EXPECT_NE(manager.hear("STATUS=ZooKeeper not reached yet, 1 waiting"), "");
}

TEST(Service, CallersWaitInTheSocketDuringARestart) {
  Manager manager;
  manager.start();
  ASSERT_EQ(manager.hear("READY=1"), "READY=1");
  manager.signal(SIGTERM);
  EXPECT_EQ(manager.hear("STOPPING=1"), "STOPPING=1");
  EXPECT_EQ(manager.wait_exit(), 0);
  std::thread caller([&] { EXPECT_EQ(UnixHttp(manager.socket()).put(kTarget, R"({"data":"2"})").status, 202); });
  std::this_thread::sleep_for(milliseconds(100));
  manager.start();
  caller.join();
  EXPECT_EQ(UnixHttp(manager.socket()).get(kTarget).json()["data"], "2");
}

TEST(Service, IsNeverReadyWhereItCannotServe) {
  Manager manager;
  Manager other;
  other.start();
  ASSERT_EQ(other.hear("READY=1"), "READY=1");
  Manager::Start how;
  how.arguments = {"--data-dir", other.directory() + "/state"};
  manager.start(how);
  EXPECT_EQ(manager.wait_exit(), 3);
  const auto said = manager.pending();
  EXPECT_EQ(count(said, "READY=1"), 0u);
  ASSERT_EQ(said.size(), 1u);
  EXPECT_NE(said[0].find("is in use"), std::string::npos) << said[0];
}

TEST(Service, RefusesMoreSocketsThanItHas) {
  Manager manager;
  Manager::Start how;
  how.sockets = 2;
  manager.start(how);
  EXPECT_EQ(manager.wait_exit(), 2);
  EXPECT_NE(manager.log().find("2 sockets are handed over"), std::string::npos) << manager.log();
}

TEST(Service, LeavesWhatIsMeantForAnotherProcess) {
  Manager manager;
  Manager::Start how;
  how.sockets = 0;
  how.environment = {"LISTEN_FDS=1", "LISTEN_PID=1", "WATCHDOG_USEC=30000", "WATCHDOG_PID=1"};
  const std::string own = manager.directory() + "/own.sock";
  how.arguments = {"--socket", own};
  manager.start(how);
  ASSERT_EQ(manager.hear("READY=1"), "READY=1");
  EXPECT_EQ(UnixHttp(own).get("/healthz").status, 200);
  std::this_thread::sleep_for(milliseconds(100));
  EXPECT_EQ(count(manager.pending(), "WATCHDOG=1"), 0u);
}

TEST(Service, TheStatusFollowsTheSession) {
  RealEnsemble::Options options;
  options.servers = 1;
  RealEnsemble ensemble(options);
  RealEnsemble::started(ensemble);
  Manager manager;
  Manager::Start how;
  how.arguments = {"--zookeeper", ensemble.connect_string(), "--session-timeout", "10s"};
  manager.start(how);
  EXPECT_EQ(UnixHttp(manager.socket()).put(std::string(kTarget) + "?wait=30s", R"({"data":"1"})").status, 200);
  EXPECT_NE(manager.hear("STATUS=connected, 1 registered"), "");
  ensemble.kill(0);
  const std::string away = manager.hear("STATUS=ZooKeeper away since *");
  EXPECT_NE(away.find(" UTC, nothing waits"), std::string::npos) << away;
  EXPECT_EQ(UnixHttp(manager.socket()).put("/v1/registrations/web/i-2", R"({"data":"2"})").status, 202);
  EXPECT_NE(manager.hear(away.substr(0, away.find(',')) + ", 1 waiting"), "");
  ensemble.start(0);
  EXPECT_NE(manager.hear("STATUS=connected, 2 registered"), "");
}

TEST(Service, AReloadIsToldFromBeginToEnd) {
  Manager manager;
  manager.start();
  ASSERT_EQ(manager.hear("READY=1"), "READY=1");
  manager.signal(SIGHUP);
  EXPECT_EQ(manager.hear("RELOADING=1"), "RELOADING=1");
  EXPECT_EQ(manager.hear("READY=1"), "READY=1");
}

TEST(Service, TheWatchdogIsFedUnlessTheAgentIsStuck) {
  Manager manager;
  Manager::Start how;
  how.environment = {"WATCHDOG_USEC=30000"};
  manager.start(how);
  ASSERT_EQ(manager.hear("READY=1"), "READY=1");
  for (int i = 0; i < 5; ++i) {
    EXPECT_NE(manager.hear("WATCHDOG=1"), "");
  }
  manager.signal(SIGSTOP);
  siginfo_t stopped{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(manager.pid()), &stopped, WSTOPPED), 0);
  manager.pending();
  std::this_thread::sleep_for(milliseconds(200));
  EXPECT_TRUE(manager.pending().empty());
  manager.signal(SIGCONT);
  EXPECT_NE(manager.hear("WATCHDOG=1"), "");
}

TEST(Service, TheWatchdogIsFedWhileTheDiskIsSlow) {
  Manager manager;
  Manager::Start how;
  how.environment = {"WATCHDOG_USEC=300000"};
  manager.start(how);
  ASSERT_EQ(manager.hear("READY=1"), "READY=1");
  // Once strace has all threads, each sync takes two seconds.
  const std::string trace = manager.directory() + "/strace";
  const std::string command = "exec strace -f -qq -o " + trace + " -e trace=fdatasync,fsync" +
                              " -e inject=fdatasync,fsync:delay_enter=2000000 -p " + std::to_string(manager.pid());
  const pid_t tracer = ::fork();
  if (tracer == 0) {
    ::execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    ::_exit(127);
  }
  bool ended = false;
  const bool attached = poll_until([&] {
    ended = ::waitpid(tracer, nullptr, WNOHANG) == tracer;
    return ended || is_traced(manager.pid());
  });
  if (ended) {
    GTEST_SKIP() << "strace cannot trace here (not installed, or ptrace is not allowed)";
  }
  ASSERT_TRUE(attached);
  const auto begin = std::chrono::steady_clock::now();
  std::size_t fed = 0;
  std::thread caller([&] { EXPECT_EQ(UnixHttp(manager.socket()).put(kTarget, R"({"data":"1"})").status, 202); });
  manager.pending();
  std::this_thread::sleep_for(milliseconds(1'500));
  fed = count(manager.pending(), "WATCHDOG=1");
  caller.join();
  EXPECT_GE(std::chrono::steady_clock::now() - begin, milliseconds(2'000)) << "the disk was not slow";
  EXPECT_GE(fed, 2u);
  ::kill(tracer, SIGKILL);  // asked to end, it may wait for ever for a thread that it delays
  ::waitpid(tracer, nullptr, 0);
}

TEST(Service, AManagerThatDoesNotReadHoldsUpNothing) {
  Manager manager;
  manager.fill_queue();
  Manager::Start how;
  how.environment = {"WATCHDOG_USEC=30000"};
  manager.start(how);
  EXPECT_EQ(UnixHttp(manager.socket()).put(kTarget, R"({"data":"1"})").status, 202);
  EXPECT_EQ(manager.hear("READY=1"), "READY=1");  // said again until it was heard
}

TEST(Service, LinesForTheJournalCarryTheirLevel) {
  Manager manager;
  Manager::Start how;
  how.journal = true;
  manager.start(how);
  ASSERT_EQ(manager.hear("READY=1"), "READY=1");
  EXPECT_EQ(manager.log().rfind("<6>level=info event=", 0), 0u) << manager.log();
}

TEST(Service, LastWordsForTheJournalCarryTheirLevel) {
  Manager manager;
  Manager::Start how;
  how.journal = true;
  how.arguments = {"--no-such-flag"};
  manager.start(how);
  EXPECT_EQ(manager.wait_exit(), 2);
  EXPECT_EQ(manager.log().rfind("<3>limpetd: ", 0), 0u) << manager.log();
}

TEST(Service, LinesForAFileHaveATimeAndNoLevelInFront) {
  Manager manager;
  Manager::Start how;
  how.environment = {"JOURNAL_STREAM=1:2"};  // the journal is where a process above us was
  manager.start(how);
  ASSERT_EQ(manager.hear("READY=1"), "READY=1");
  EXPECT_EQ(manager.log().rfind("20", 0), 0u) << manager.log();
}

}  // namespace
}  // namespace limpet::test
