// Which processes can be bound to, and how they are told from later ones with the same pid.
#include "agent/liveness/process_id.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>

#include <atomic>
#include <thread>

#include "tests/unit/liveness/child.h"

namespace limpet::liveness {
namespace {

using test::Child;
using test::sleeper;

constexpr std::uint32_t kOtherUser = 54321;

// Now, in the unit and from the beginning of start_ticks.
std::uint64_t ticks_since_boot() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<std::uint64_t>((now.tv_sec * 1000 + now.tv_nsec / 1'000'000) * ::sysconf(_SC_CLK_TCK) / 1000);
}

std::string refusal(const Result<ProcessId>& result) {
  return result.ok() ? "found" : result.status().message();
}

TEST(FindProcess, GivesPidStartAndBoot) {
  Child child = sleeper();
  const auto found = find_process(child.pid(), ::getuid(), false);
  ASSERT_TRUE(found.ok()) << found.status().message();
  EXPECT_EQ(found->pid, child.pid());
  EXPECT_EQ(found->boot_id + "\n", test::read_file("/proc/sys/kernel/random/boot_id"));
  EXPECT_LE(found->start_ticks, ticks_since_boot());
  EXPECT_GT(found->start_ticks + 100'000, ticks_since_boot());
  EXPECT_EQ(*found, *find_process(child.pid(), ::getuid(), false));
}

TEST(FindProcess, SeesThroughAForgedName) {
  Child child([] {
    ::prctl(PR_SET_NAME, "x) Z 1 (y) 2 3");
    ::raise(SIGSTOP);
  });
  ASSERT_TRUE(test::eventually([&] { return test::state_of(child.pid()) == 'T'; }));
  const auto found = find_process(child.pid(), ::getuid(), false);
  ASSERT_TRUE(found.ok()) << found.status().message();
  EXPECT_LE(found->start_ticks, ticks_since_boot());
  EXPECT_GT(found->start_ticks + 100'000, ticks_since_boot());
}

TEST(FindProcess, RefusesWhatIsNoProcess) {
  EXPECT_NE(refusal(find_process(0, 0, true)).find("another pid namespace"), std::string::npos);
  EXPECT_EQ(refusal(find_process(-1, 0, true)), "-1 is not a pid");
  Child child = sleeper();
  const pid_t pid = child.pid();
  child.kill();
  child.reap();
  EXPECT_NE(refusal(find_process(pid, 0, true)).find("there is no process " + std::to_string(pid)), std::string::npos);
}

TEST(FindProcess, RefusesAZombie) {
  Child child = sleeper();
  child.kill();
  ASSERT_TRUE(test::become_zombie(child.pid()));
  EXPECT_EQ(refusal(find_process(child.pid(), 0, true)), "process " + std::to_string(child.pid()) + " has ended");
}

TEST(FindProcess, RefusesAThread) {
  std::atomic<pid_t> tid = 0;
  std::atomic<bool> done = false;
  std::thread thread([&] {
    tid = static_cast<pid_t>(::syscall(SYS_gettid));
    while (!done) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  ASSERT_TRUE(test::eventually([&] { return tid != 0; }));
  EXPECT_EQ(refusal(find_process(tid, 0, true)),
            std::to_string(tid) + " is a thread of process " + std::to_string(::getpid()) + "; give the process");
  done = true;
  thread.join();
}

TEST(FindProcess, RefusesSomebodyElsesUnlessPrivileged) {
  Child child = sleeper();
  const auto found = find_process(child.pid(), ::getuid() + 1, false);
  ASSERT_FALSE(found.ok());
  EXPECT_EQ(found.status().code(), Errc::permission);
  EXPECT_NE(found.status().message().find("belongs to uid " + std::to_string(::getuid())), std::string::npos);
  EXPECT_TRUE(find_process(child.pid(), ::getuid() + 1, true).ok());
}

TEST(FindProcess, SaysWhenProcIsHidden) {
  if (::getuid() != 0) {
    GTEST_SKIP() << "needs root, to mount /proc with hidepid";
  }
  Child other = sleeper();
  constexpr int kCannotMount = 77;
  Child child([&] {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("proc", "/proc", "proc", 0, "hidepid=2") != 0) {
      ::_exit(kCannotMount);
    }
    if (::setgid(kOtherUser) != 0 || ::setuid(kOtherUser) != 0) {
      ::_exit(1);
    }
    const std::string why = refusal(find_process(other.pid(), kOtherUser, false));
    ::_exit(why.find("is hidden from the agent") != std::string::npos ? 0 : 2);
  });
  const int status = child.reap();
  if (WIFEXITED(status) && WEXITSTATUS(status) == kCannotMount) {
    GTEST_SKIP() << "may not mount /proc here";
  }
  EXPECT_EQ(status, 0);
}

TEST(Clocks, SleepIsBootTimeWithoutRunTime) {
  const std::int64_t asleep = asleep_ms();
  EXPECT_GE(asleep, 0);
  EXPECT_LE(asleep_ms() - asleep, 1) << "this machine has not been suspended meanwhile";
}

}  // namespace
}  // namespace limpet::liveness
