// Commands as checks: whose process it is, what it inherits, how it ends.
#include "agent/liveness/command_run.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <boost/asio/steady_timer.hpp>
#include <filesystem>
#include <optional>

#include "agent/liveness/program.h"
#include "tests/support/few_descriptors.h"
#include "tests/unit/liveness/child.h"

namespace limpet::liveness {
namespace {

constexpr std::uint32_t kStranger = 54321;

class CommandRun : public ::testing::Test {
 protected:
  std::shared_ptr<CheckRun> start(const std::vector<std::string>& command, std::uint32_t uid = ::getuid()) {
    finding_.reset();
    return start_command_run(shared_, command, uid, [this](Finding found) { finding_ = std::move(found); });
  }
  bool run_until(const std::function<bool()>& holds) {
    for (int i = 0; i < 3000 && !holds(); ++i) {
      io_.restart();
      io_.run_one_for(std::chrono::milliseconds(20));
    }
    return holds();
  }
  // "well", or the last words.
  std::string run(const std::vector<std::string>& command, std::uint32_t uid = ::getuid()) {
    const auto run = start(command, uid);
    EXPECT_FALSE(finding_.has_value()) << "not from within the call";
    if (!run_until([&] { return finding_.has_value(); })) {
      run->drop();
      return "did not end";
    }
    EXPECT_FALSE(run->lingers());
    return finding_->well ? "well" : finding_->words;
  }
  std::string shell(const std::string& script, std::uint32_t uid = ::getuid()) {
    return run({"/bin/sh", "-c", script}, uid);
  }
  // Where a script writes to.
  std::string file() const { return "/tmp/limpet-command-" + std::to_string(::getpid()); }
  ~CommandRun() override { std::filesystem::remove(file()); }

  boost::asio::io_context io_{1};
  std::shared_ptr<CommandRuns> shared_ = std::make_shared<CommandRuns>(io_);
  boost::asio::steady_timer reactor_{io_};  // is made with the first that needs it, and takes descriptors
  std::optional<Finding> finding_;
};

TEST_F(CommandRun, IsWellWithExitStatusZero) {
  EXPECT_EQ(run({"/bin/true"}), "well");
  EXPECT_EQ(run({"true"}), "well") << "found by the PATH";
  EXPECT_EQ(run({"/bin/false"}), "exit status 1");
  EXPECT_EQ(shell("echo fine"), "well");
}

TEST_F(CommandRun, TellsWhatAFailureSaid) {
  EXPECT_EQ(shell("echo to stdout; echo to stderr >&2; exit 3"), "exit status 3: to stdout to stderr");
  EXPECT_EQ(shell("printf 'a\\033b\\377\\n'; exit 1"), "exit status 1: a\\x1bb\\xff");
  EXPECT_EQ(shell("kill -TERM $$"), "ended by signal 15 (Terminated)");
  EXPECT_EQ(run({"/no/such/program"}), "exit status 127: cannot run /no/such/program: No such file or directory");
  EXPECT_EQ(run({"/etc/passwd"}), "exit status 126: cannot run /etc/passwd: Permission denied");
}

TEST_F(CommandRun, SaysNoMoreThanIsKept) {
  const std::string words = shell("head -c 1000000 /dev/zero | tr '\\0' x; exit 1");
  EXPECT_LE(words.size(), 330u);
  EXPECT_EQ(words.substr(0, 18), "exit status 1: xxx");
}

TEST_F(CommandRun, InheritsNothing) {
  EXPECT_EQ(shell("pwd; umask; exit 1"), "exit status 1: / 0022");
  EXPECT_EQ(shell("ls -l /proc/self/fd | wc -l; exit 1"), "exit status 1: 5") << "a heading, 0, 1, 2, and ls's own";
  EXPECT_EQ(shell("cat; readlink /proc/self/fd/0; exit 1"), "exit status 1: /dev/null");
  EXPECT_EQ(shell("ulimit -Sn; exit 1"), "exit status 1: " + std::to_string(descriptor_limit_of_children()));
  EXPECT_EQ(shell("grep SigBlk /proc/self/status; exit 1"), "exit status 1: SigBlk: 0000000000000000");
  ::setenv("LIMPET_SECRET", "x", 1);
  const std::string environment = run({"/bin/sh", "-c", "env | sort | cut -d= -f1; exit 1"});
  for (const char* name : {"LIMPET_SECRET", "SSH_AUTH_SOCK", "LD_LIBRARY_PATH"}) {
    EXPECT_EQ(environment.find(name), std::string::npos) << environment;
  }
  EXPECT_NE(environment.find("PATH"), std::string::npos);
}

TEST_F(CommandRun, RunsAsTheUserAndNoOther) {
  if (::getuid() != 0) {
    EXPECT_NE(run({"/bin/true"}, ::getuid() + 1).find("cannot be run as uid"), std::string::npos);
    GTEST_SKIP() << "the rest needs root, to run a command as another uid";
  }
  const std::string uid = std::to_string(kStranger);
  EXPECT_EQ(
      shell("grep -E '^(Uid|Gid|Groups):' /proc/self/status; exit 1", kStranger),
      "exit status 1: Uid: " + uid + " " + uid + " " + uid + " " + uid + " Gid: 65534 65534 65534 65534 Groups: 65534");
  EXPECT_EQ(shell("grep -E '^Cap(Prm|Eff|Amb):' /proc/self/status; exit 1", kStranger),
            "exit status 1: CapPrm: 0000000000000000 CapEff: 0000000000000000 CapAmb: 0000000000000000");
  EXPECT_EQ(shell("cat /etc/shadow >/dev/null", kStranger).substr(0, 13), "exit status 1");
}

TEST_F(CommandRun, RunsWithTheGroupsOfAKnownUser) {
  if (::getuid() != 0) {
    GTEST_SKIP() << "needs root, to run a command as another uid";
  }
  constexpr std::uint32_t kNobody = 65534;  // in every Debian's user database, with a group of its own
  EXPECT_EQ(shell("id -un; id -gn; echo $HOME; exit 1", kNobody), "exit status 1: nobody nogroup /nonexistent");
}

TEST_F(CommandRun, ADroppedOneIsKilledWithAllItStarted) {
  const auto run =
      start({"/bin/sh", "-c", "sleep 1000 & echo $! >" + file() + "; echo soon; trap '' TERM; wait; sleep 1000"});
  ASSERT_TRUE(run_until([&] { return test::read_file(file()).ends_with("\n"); }));
  const int grandchild = std::stoi(test::read_file(file()));
  ASSERT_TRUE(run_until([&] { return run->timed_out("1s") == "killed, as it did not end within 1s: soon"; }));
  run->drop();
  EXPECT_TRUE(run_until([&] { return !run->lingers(); }));
  EXPECT_TRUE(test::eventually([&] { return test::state_of(grandchild) == '-' || test::state_of(grandchild) == 'Z'; }));
  EXPECT_FALSE(finding_.has_value());
}

TEST_F(CommandRun, WhatItLeavesBehindGoesWithIt) {
  EXPECT_EQ(shell("sleep 1000 & echo $! >" + file()), "well") << "its output is still held open";
  const int grandchild = std::stoi(test::read_file(file()));
  EXPECT_TRUE(test::eventually([&] { return test::state_of(grandchild) == '-' || test::state_of(grandchild) == 'Z'; }));
}

TEST_F(CommandRun, WhatLeftItsSessionGoesWithItToo) {
  EXPECT_EQ(shell("setsid sh -c 'sleep 1000 & echo $! >" + file() + "; sleep 1000' & while [ ! -s " + file() +
                  " ]; do sleep 0.05; done"),
            "well");
  const int grandchild = std::stoi(test::read_file(file()));
  EXPECT_TRUE(test::eventually([&] { return test::state_of(grandchild) == '-'; }));
}

TEST_F(CommandRun, ADroppedOneTakesAlongWhatLeftItsSession) {
  const auto run = start(
      {"/bin/sh", "-c", "setsid sh -c 'trap \"\" TERM HUP; setsid sleep 1000 & echo $! >" + file() + "; wait' & wait"});
  ASSERT_TRUE(run_until([&] { return test::read_file(file()).ends_with("\n"); }));
  const int grandchild = std::stoi(test::read_file(file()));
  run->drop();
  EXPECT_TRUE(run_until([&] { return !run->lingers(); }));
  EXPECT_EQ(test::state_of(grandchild), '-') << "nothing is left when the run is over";
}

TEST_F(CommandRun, RunsInASessionOfItsOwn) {
  const std::string words =
      shell("read -r pid name state parent group session rest </proc/self/stat; echo $session; exit 1");
  EXPECT_NE(words, "exit status 1: " + std::to_string(::getsid(0)));
  EXPECT_EQ(words.substr(0, 15), "exit status 1: ");
  EXPECT_NE(shell("exec 3</dev/tty"), "well") << "it has no terminal";
}

TEST_F(CommandRun, OneThatWritesWithoutEndKeepsNobodyBusy) {
  const auto run = start({"/usr/bin/yes"});
  rusage before{};
  ::getrusage(RUSAGE_SELF, &before);
  io_.run_for(std::chrono::milliseconds(500));
  rusage after{};
  ::getrusage(RUSAGE_SELF, &after);
  const auto used_ms = (after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000 +
                       (after.ru_utime.tv_usec - before.ru_utime.tv_usec) / 1000;
  EXPECT_LT(used_ms, 250) << "of 500";
  run->drop();
  EXPECT_TRUE(run_until([&] { return !run->lingers(); }));
}

TEST_F(CommandRun, WorksWithoutAPidfd) {
  std::shared_ptr<CheckRun> run;
  {
    const limpet::test::FewDescriptors room(2);  // for the two ends of a pipe
    run = start({"/bin/false"});
  }
  EXPECT_TRUE(run->lingers()) << "never started";
  ASSERT_TRUE(run_until([&] { return finding_.has_value(); }));
  EXPECT_EQ(finding_->words.substr(0, 13), "exit status 1");
}

TEST_F(CommandRun, WithoutRoomForAPipeNothingIsFound) {
  for (const int free : {0, 1}) {
    {
      const limpet::test::FewDescriptors room(free);
      start({"/bin/false"});
    }
    ASSERT_TRUE(run_until([&] { return finding_.has_value(); }));
    EXPECT_FALSE(finding_->known) << "the agent could not look";
  }
}

}  // namespace
}  // namespace limpet::liveness
