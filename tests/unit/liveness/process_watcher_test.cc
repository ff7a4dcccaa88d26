// When processes are said to have ended, and what watching many of them costs.
#include "agent/liveness/process_watcher.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <filesystem>
#include <map>
#include <vector>

#include "tests/support/few_descriptors.h"
#include "tests/unit/liveness/child.h"

namespace limpet::liveness {
namespace {

using test::Child;
using test::sleeper;

constexpr int kLookUpEveryMs = 50;

ProcessWatcher::Bounds bounds(std::size_t max_pidfds) {
  return {max_pidfds, kLookUpEveryMs};
}

RegistrationId name(int i) {
  return {"web", std::to_string(i)};
}

ProcessId id_of(pid_t pid) {
  const auto found = find_process(pid, ::getuid(), true);
  EXPECT_TRUE(found.ok()) << found.status().message();
  return found.ok() ? *found : ProcessId{};
}

std::string name_of(pid_t pid) {
  return test::read_file("/proc/" + std::to_string(pid) + "/comm");
}

std::size_t entries_of(const char* folder) {
  const auto list = std::filesystem::directory_iterator(folder);
  return static_cast<std::size_t>(std::distance(begin(list), end(list)));
}

// With pidfds, and without: each behaves the same.
class Watching : public ::testing::TestWithParam<bool> {
 protected:
  static constexpr std::size_t kEnough = 10'000;

  void run_for(int ms) {
    io_.restart();
    io_.run_for(std::chrono::milliseconds(ms));
  }

  // Runs the event loop until that was told, for a minute at most.
  std::string ended(const RegistrationId& id) {
    for (int i = 0; i < 3000 && !told_.contains(id); ++i) {
      run_for(20);
    }
    return told_.contains(id) ? told_[id] : "still lives";
  }

  bool quiet() {
    run_for(5 * kLookUpEveryMs);
    return told_.empty();
  }

  boost::asio::io_context io_{1};
  std::map<RegistrationId, std::string> told_;
  std::map<RegistrationId, int> times_;
  ProcessWatcher watcher_{io_, bounds(GetParam() ? kEnough : 0),
                          [this](const RegistrationId& id, const std::string& how) {
                            told_[id] = how;
                            ++times_[id];
                          }};
};

INSTANTIATE_TEST_SUITE_P(, Watching, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "ByPidfd" : "ByProc"; });

std::string has_ended(pid_t pid) {
  return "pid " + std::to_string(pid) + " has ended";
}

TEST_P(Watching, TellsAnEnd) {
  Child child = sleeper();
  const pid_t pid = child.pid();
  watcher_.watch(name(1), id_of(pid));
  EXPECT_EQ(watcher_.use().pidfds, GetParam() ? 1u : 0u);
  ASSERT_TRUE(quiet());
  child.kill();
  child.reap();
  EXPECT_EQ(ended(name(1)), has_ended(pid));
  EXPECT_EQ(watcher_.use().processes, 0u);
  EXPECT_EQ(watcher_.use().pidfds, 0u);
}

TEST_P(Watching, AZombieHasEnded) {
  Child child = sleeper();
  watcher_.watch(name(1), id_of(child.pid()));
  child.kill(SIGTERM);
  ASSERT_TRUE(test::become_zombie(child.pid()));
  EXPECT_EQ(ended(name(1)), has_ended(child.pid()));
}

TEST_P(Watching, AStoppedOneLives) {
  Child child = sleeper();
  watcher_.watch(name(1), id_of(child.pid()));
  child.kill(SIGSTOP);
  EXPECT_TRUE(quiet());
  child.kill();
  EXPECT_EQ(ended(name(1)), has_ended(child.pid()));
}

TEST_P(Watching, ItLivesOnWithAnotherImage) {
  Child child([] {
    ::raise(SIGSTOP);
    ::execl("/bin/sleep", "sleep", "1000", nullptr);
  });
  ASSERT_TRUE(test::eventually([&] { return test::state_of(child.pid()) == 'T'; }));
  watcher_.watch(name(1), id_of(child.pid()));
  child.kill(SIGCONT);
  ASSERT_TRUE(test::eventually([&] { return name_of(child.pid()) == "sleep\n"; }));
  EXPECT_TRUE(quiet());
}

TEST_P(Watching, ItLivesOnWithAnImageThatASecondThreadStarted) {
  Child child([] {
    ::raise(SIGSTOP);
    pthread_t thread{};
    ::pthread_create(
        &thread, nullptr,
        [](void*) -> void* {
          ::execl("/bin/sleep", "sleep", "1000", nullptr);
          return nullptr;
        },
        nullptr);
    ::syscall(SYS_exit, 0);  // of this thread only
  });
  ASSERT_TRUE(test::eventually([&] { return test::state_of(child.pid()) == 'T'; }));
  watcher_.watch(name(1), id_of(child.pid()));
  child.kill(SIGCONT);
  ASSERT_TRUE(test::eventually([&] { return name_of(child.pid()) == "sleep\n"; }));
  EXPECT_TRUE(quiet());
}

TEST_P(Watching, ItLivesAsLongAsOneOfItsThreads) {
  Child child([] {
    pthread_t thread{};
    ::pthread_create(
        &thread, nullptr,
        [](void*) -> void* {
          while (true) {
            ::pause();
          }
        },
        nullptr);
    ::syscall(SYS_exit, 0);  // of this thread only
  });
  ASSERT_TRUE(test::become_zombie(child.pid())) << "that is what /proc says of the first thread";
  watcher_.watch(name(1), id_of(child.pid()));
  EXPECT_TRUE(quiet());
  child.kill();
  EXPECT_EQ(ended(name(1)), has_ended(child.pid()));
}

TEST_P(Watching, AParentThatForkedEndsByItself) {
  int grandchild[2];
  ASSERT_EQ(::pipe(grandchild), 0);
  Child parent([&] {
    ::raise(SIGSTOP);
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::pause();
    }
    ::_exit(::write(grandchild[1], &pid, sizeof pid) == sizeof pid ? 0 : 1);
  });
  ASSERT_TRUE(test::eventually([&] { return test::state_of(parent.pid()) == 'T'; }));
  watcher_.watch(name(1), id_of(parent.pid()));
  parent.kill(SIGCONT);
  EXPECT_EQ(ended(name(1)), has_ended(parent.pid()));
  pid_t pid = -1;
  ASSERT_EQ(::read(grandchild[0], &pid, sizeof pid), static_cast<ssize_t>(sizeof pid));
  EXPECT_EQ(::kill(pid, SIGKILL), 0) << "its child lived on";
  ::close(grandchild[0]);
  ::close(grandchild[1]);
}

TEST_P(Watching, WhatEndedWhileNobodyWatchedIsToldAtOnce) {
  Child child = sleeper();
  const ProcessId gone = id_of(child.pid());
  child.kill();
  child.reap();
  ProcessId earlier_boot = id_of(::getpid());
  earlier_boot.boot_id = "00000000-0000-0000-0000-000000000000";
  ProcessId earlier_process = id_of(::getpid());
  --earlier_process.start_ticks;
  watcher_.watch(name(1), gone);
  watcher_.watch(name(2), earlier_boot);
  watcher_.watch(name(3), earlier_process);
  EXPECT_TRUE(told_.empty()) << "not from within the call";
  const std::string self = "pid " + std::to_string(::getpid());
  EXPECT_EQ(ended(name(1)), has_ended(gone.pid));
  EXPECT_EQ(ended(name(2)), self + " ended with the machine's last boot");
  EXPECT_EQ(ended(name(3)), self + " has ended; another process has that number now");
}

TEST_P(Watching, ManyHoldersShareOneProcess) {
  Child child = sleeper();
  for (int i = 0; i < 100; ++i) {
    watcher_.watch(name(i), id_of(child.pid()));
  }
  EXPECT_EQ(watcher_.use().processes, 1u);
  EXPECT_EQ(watcher_.use().pidfds, GetParam() ? 1u : 0u);
  watcher_.unwatch(name(7));
  child.kill();
  for (int i = 0; i < 100; ++i) {
    if (i != 7) {
      EXPECT_EQ(ended(name(i)), has_ended(child.pid()));
      EXPECT_EQ(times_[name(i)], 1);
    }
  }
  EXPECT_FALSE(told_.contains(name(7)));
}

TEST_P(Watching, OnlyTheNewestProcessOfANameCounts) {
  Child first = sleeper();
  Child second = sleeper();
  watcher_.watch(name(1), id_of(first.pid()));
  watcher_.watch(name(1), id_of(second.pid()));
  EXPECT_EQ(watcher_.use().processes, 1u);
  first.kill();
  EXPECT_TRUE(quiet());
  second.kill();
  EXPECT_EQ(ended(name(1)), has_ended(second.pid()));
}

TEST_P(Watching, NothingIsToldAfterUnwatchOrStop) {
  Child child = sleeper();
  watcher_.watch(name(1), id_of(child.pid()));
  watcher_.watch(name(2), id_of(child.pid()));
  child.kill();
  child.reap();
  watcher_.unwatch(name(1));
  EXPECT_EQ(ended(name(2)).substr(0, 4), "pid ");
  watcher_.watch(name(3), id_of(::getpid()));
  ProcessId gone = id_of(::getpid());
  ++gone.start_ticks;
  watcher_.watch(name(4), gone);
  watcher_.stop();
  run_for(20);
  EXPECT_EQ(told_.size(), 1u);
}

TEST_P(Watching, WhoIsToldMayWatchAndUnwatch) {
  Child child = sleeper();
  Child next = sleeper();
  std::vector<RegistrationId> told;
  std::unique_ptr<ProcessWatcher> watcher;
  const ProcessId gone = id_of(child.pid());
  watcher = std::make_unique<ProcessWatcher>(io_, bounds(GetParam() ? kEnough : 0),
                                             [&](const RegistrationId& id, const std::string&) {
                                               told.push_back(id);
                                               watcher->unwatch(name(1));
                                               watcher->unwatch(name(2));
                                               watcher->watch(name(3), gone);
                                               watcher->watch(name(4), id_of(next.pid()));
                                               if (told.size() == 3) {
                                                 watcher = nullptr;
                                               }
                                             });
  watcher->watch(name(1), gone);
  watcher->watch(name(2), gone);
  child.kill();
  child.reap();
  for (int i = 0; i < 3000 && watcher != nullptr; ++i) {
    run_for(20);
  }
  ASSERT_EQ(told.size(), 3u);
  EXPECT_TRUE(told[0] == name(1) || told[0] == name(2));
  EXPECT_EQ(told[1], name(3));
  EXPECT_EQ(told[2], name(3));
}

class ManyProcesses : public ::testing::Test {
 protected:
  boost::asio::io_context io_{1};
  std::map<RegistrationId, std::string> told_;
  ProcessWatcher::Ended tell_ = [this](const RegistrationId& id, const std::string& how) { told_[id] = how; };
};

TEST_F(ManyProcesses, CostADescriptorEachAndNoThread) {
  constexpr int kProcesses = 500;
  constexpr int kRegistrations = 5000;
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  if (limit.rlim_cur < kProcesses + 200) {
    GTEST_SKIP() << "needs " << kProcesses << " file descriptors; RLIMIT_NOFILE is " << limit.rlim_cur;
  }
  std::vector<Child> children;
  for (int i = 0; i < kProcesses; ++i) {
    children.push_back(sleeper());
  }
  ProcessWatcher watcher(io_, bounds(1000), tell_);
  const std::size_t threads = entries_of("/proc/self/task");
  const std::size_t descriptors = entries_of("/proc/self/fd");
  for (int i = 0; i < kRegistrations; ++i) {
    watcher.watch(name(i), id_of(children[i % kProcesses].pid()));
  }
  io_.run_for(std::chrono::milliseconds(20));
  EXPECT_EQ(entries_of("/proc/self/task"), threads);
  EXPECT_EQ(entries_of("/proc/self/fd"), descriptors + kProcesses);
  EXPECT_EQ(watcher.use().pidfds, std::size_t{kProcesses});
  for (const Child& child : children) {
    child.kill();
  }
  for (int i = 0; i < 3000 && told_.size() < kRegistrations; ++i) {
    io_.restart();
    io_.run_for(std::chrono::milliseconds(20));
  }
  EXPECT_EQ(told_.size(), std::size_t{kRegistrations});
  EXPECT_EQ(entries_of("/proc/self/fd"), descriptors);
}

TEST_F(ManyProcesses, BeyondTheirShareOfDescriptorsAreLookedUp) {
  Child a = sleeper();
  Child b = sleeper();
  ProcessWatcher watcher(io_, bounds(1), tell_);
  watcher.watch(name(1), id_of(a.pid()));
  watcher.watch(name(2), id_of(b.pid()));
  watcher.watch(name(3), id_of(::getpid()));
  EXPECT_EQ(watcher.use().pidfds, 1u);
  b.kill();
  for (int i = 0; i < 3000 && told_.empty(); ++i) {
    io_.restart();
    io_.run_for(std::chrono::milliseconds(20));
  }
  EXPECT_EQ(told_[name(2)], has_ended(b.pid()));
  watcher.unwatch(name(1));
  EXPECT_EQ(watcher.use().pidfds, 0u);
  for (int i = 0; i < 3000 && watcher.use().pidfds == 0; ++i) {
    io_.restart();
    io_.run_for(std::chrono::milliseconds(20));
  }
  EXPECT_EQ(watcher.use().pidfds, 1u) << "the one that was looked up takes the place";
}

TEST_F(ManyProcesses, NoneIsTakenForDeadWhereDescriptorsRunOut) {
  Child child = sleeper();
  const ProcessId process = id_of(child.pid());
  ProcessWatcher watcher(io_, bounds(1000), tell_);
  ProcessWatcher::Use use;
  {
    const limpet::test::FewDescriptors none(0);
    watcher.watch(name(1), process);
    io_.run_for(std::chrono::milliseconds(5 * kLookUpEveryMs));
    use = watcher.use();
  }
  EXPECT_EQ(use.pidfds, 0u);
  EXPECT_EQ(use.processes, 1u);
  EXPECT_TRUE(told_.empty());
  for (int i = 0; i < 3000 && watcher.use().pidfds == 0; ++i) {
    io_.restart();
    io_.run_for(std::chrono::milliseconds(20));
  }
  EXPECT_EQ(watcher.use().pidfds, 1u);
}

}  // namespace
}  // namespace limpet::liveness
