// Whose process is bound to, where its number says little: another one has it by now, it has none that the agent sees,
// somebody else uses its connection. The real limpetd, without ZooKeeper.
#include <gtest/gtest.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <functional>
#include <thread>

#include "tests/support/act_as.h"
#include "tests/support/agent_process.h"

namespace limpet::test {
namespace {

constexpr uid_t kSomebody = 4711;
constexpr const char* kProcessTarget = "/v1/registrations/web/i-1";
constexpr const char* kBound = R"({"data":"x","bind":"process"})";

[[noreturn]] void sleep_until_killed() {
  for (;;) {
    ::pause();
  }
}

void end(pid_t pid) {
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

// A process that connects, and a child of it that shares the connection and sends a PUT on it when it is told to.
class Sharers {
 public:
  // `may_go`: the one that connected ends as soon as it has its child.
  Sharers(const std::string& socket, bool may_go) : may_go_(may_go) {
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);  // the child is ours to reap when its parent has gone
    if (::pipe(go_) != 0 || ::pipe(told_) != 0) {
      std::abort();
    }
    connector_ = ::fork();
    if (connector_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      UnixHttp http(socket);
      http.get("/v1/status");
      if (const pid_t child = ::fork(); child != 0) {
        tell(std::to_string(child));
        may_go ? ::_exit(0) : sleep_until_killed();
      }
      char word = 0;
      if (::read(go_[0], &word, 1) == 1) {
        const HttpAnswer answer = http.put(kProcessTarget, kBound);
        tell(std::to_string(answer.status) + " " + answer.body);
      }
      sleep_until_killed();
    }
    sharer_ = static_cast<pid_t>(std::stol(next_line()));
  }
  ~Sharers() {
    end(sharer_);
    may_go_ ? static_cast<void>(::waitpid(connector_, nullptr, 0)) : end(connector_);
    for (const int fd : {go_[0], go_[1], told_[0], told_[1]}) {
      ::close(fd);
    }
  }
  Sharers(const Sharers&) = delete;
  Sharers& operator=(const Sharers&) = delete;

  pid_t connector() const { return connector_; }
  void end_sharer() const { end(sharer_); }
  HttpAnswer put() {
    EXPECT_EQ(::write(go_[1], "x", 1), 1);
    const std::string line = next_line();
    return {std::atoi(line.c_str()), line.substr(line.find(' ') + 1), ""};
  }

 private:
  void tell(const std::string& line) {
    if (::write(told_[1], (line + "\n").data(), line.size() + 1) < 0) {
      ::_exit(1);
    }
  }
  std::string next_line() {
    std::string line;
    for (char c = 0; ::read(told_[0], &c, 1) == 1 && c != '\n';) {
      line.push_back(c);
    }
    return line;
  }

  const bool may_go_;
  int go_[2];
  int told_[2];
  pid_t connector_ = 0;
  pid_t sharer_ = 0;
};

// A process with that number, which must be free. -1 where that is not allowed; errno says why.
pid_t fork_as(pid_t number) {
  clone_args args{};
  args.exit_signal = SIGCHLD;
  args.set_tid = reinterpret_cast<std::uint64_t>(&number);
  args.set_tid_size = 1;
  const auto pid = static_cast<pid_t>(::syscall(SYS_clone3, &args, sizeof args));
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    sleep_until_killed();
  }
  return pid;
}

class Processes : public ::testing::Test {
 protected:
  void start() { ASSERT_TRUE(agent_.start()) << agent_.log(); }
  HttpAnswer get() { return UnixHttp(agent_.socket()).get(kProcessTarget); }
  bool gone() {
    for (int i = 0; i < 1'500; ++i) {
      if (get().status == 404) {
        return true;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return false;
  }
  bool stays() {
    std::this_thread::sleep_for(std::chrono::milliseconds(1'200));  // those without a pidfd are looked up once a second
    return get().status == 200;
  }
  static std::string pointer(const HttpAnswer& answer) {
    const auto problem = answer.json();
    return problem.contains("errors") ? problem["errors"][0].value("pointer", "") : "";
  }

  AgentProcess agent_{"127.0.0.1:1"};
};

TEST_F(Processes, D10_ANumberThatAnotherProcessHasByNowIsNotBoundTo) {
  start();
  Sharers sharers(agent_.socket(), true);
  const pid_t number = sharers.connector();
  ::waitpid(number, nullptr, 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // the kernel notes starts in hundredths of a second
  const pid_t other = fork_as(number);
  if (other < 0) {
    GTEST_SKIP() << "no process can be given a number here: " << std::strerror(errno);
  }
  const HttpAnswer answer = sharers.put();
  EXPECT_EQ(answer.status, 422) << answer.body;
  EXPECT_EQ(pointer(answer), "/pid");
  EXPECT_NE(answer.body.find("is another one"), std::string::npos) << answer.body;
  EXPECT_EQ(get().status, 404);
  end(other);
}

TEST_F(Processes, D10_ACallerThatHasEndedIsNotBoundTo) {
  start();
  Sharers sharers(agent_.socket(), true);
  ::waitpid(sharers.connector(), nullptr, 0);
  const HttpAnswer answer = sharers.put();
  EXPECT_EQ(answer.status, 422) << answer.body;
  EXPECT_EQ(pointer(answer), "/pid");
  EXPECT_EQ(get().status, 404);
}

TEST_F(Processes, D12_AConnectionHandedOnIsBoundToWhoeverMadeIt) {
  start();
  Sharers sharers(agent_.socket(), false);
  const HttpAnswer answer = sharers.put();
  ASSERT_EQ(answer.status, 202) << answer.body;
  EXPECT_EQ(answer.json()["owner"]["pid"], sharers.connector());
  sharers.end_sharer();
  EXPECT_TRUE(stays()) << "who used the connection is not who it is bound to";
  ::kill(sharers.connector(), SIGKILL);
  EXPECT_TRUE(gone());
}

TEST_F(Processes, D12_AConnectionHandedOnSpeaksForTheUserWhoMadeIt) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "only root can act as another user";
  }
  start();
  ASSERT_EQ(UnixHttp(agent_.socket()).put(kProcessTarget, "{}").status, 202);
  UnixHttp theirs(agent_.socket());
  {
    const ActAs who(kSomebody);
    ASSERT_EQ(theirs.get("/v1/status").status, 200);
  }
  const HttpAnswer refused = theirs.put(kProcessTarget, R"({"data":"y"})");
  EXPECT_EQ(refused.json().value("code", ""), "not_owner") << refused.body;
  const HttpAnswer made = theirs.put("/v1/registrations/web/i-2", "{}");
  EXPECT_EQ(made.json()["owner"]["uid"], kSomebody) << made.body;
  // Nor does root's process become one that they may bind to.
  EXPECT_NE(theirs.put("/v1/registrations/web/i-3", kBound).status, 202);
}

// As a program does that replaces itself without an interruption: its successor registers before it ends.
TEST_F(Processes, APidHandedOverKeepsTheRegistration) {
  start();
  const auto spawn = [] {
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      sleep_until_killed();
    }
    return pid;
  };
  const auto bound_to = [](pid_t pid) { return R"({"data":"x","bind":"process","pid":)" + std::to_string(pid) + "}"; };
  UnixHttp http(agent_.socket());
  const pid_t old = spawn();
  const pid_t successor = spawn();
  const auto first = http.put(kProcessTarget, bound_to(old));
  ASSERT_EQ(first.status, 202) << first.body;
  ASSERT_EQ(http.put(kProcessTarget, bound_to(successor)).status, 202);
  end(old);
  EXPECT_TRUE(stays());
  EXPECT_EQ(get().json()["process"]["pid"], successor);
  // Also where the agent was away when the old one ended.
  agent_.kill();
  http.close();
  ASSERT_TRUE(agent_.start());
  EXPECT_TRUE(stays());
  end(successor);
  EXPECT_TRUE(gone());
}

TEST_F(Processes, D11_ACallerInAPidNamespaceOfItsOwnIsSeenFromOutside) {
  start();
  int told[2];
  ASSERT_EQ(::pipe(told), 0);
  const pid_t outside = ::fork();
  if (outside == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const bool had = ::unshare(CLONE_NEWPID) == 0;
    const pid_t caller = had ? ::fork() : -1;
    if (caller == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      const int status = ::getpid() == 1 ? UnixHttp(agent_.socket()).put(kProcessTarget, kBound).status : 0;
      std::ignore = ::write(told[1], &status, sizeof status);
      sleep_until_killed();
    }
    std::ignore = ::write(told[1], &caller, sizeof caller);
    sleep_until_killed();
  }
  int words[2] = {-1, -1};  // in whatever order
  ASSERT_EQ(::read(told[0], words, sizeof *words), static_cast<ssize_t>(sizeof *words));
  if (words[0] < 0) {
    end(outside);
    GTEST_SKIP() << "no pid namespace can be made here";
  }
  ASSERT_EQ(::read(told[0], words + 1, sizeof *words), static_cast<ssize_t>(sizeof *words));
  const pid_t caller = words[0] == 202 ? words[1] : words[0];
  EXPECT_TRUE(words[0] == 202 || words[1] == 202) << words[0] << " " << words[1];
  EXPECT_EQ(get().json()["owner"]["pid"], caller);
  EXPECT_TRUE(stays());
  ::kill(caller, SIGKILL);
  EXPECT_TRUE(gone());
  end(outside);
  ::close(told[0]);
  ::close(told[1]);
}

TEST_F(Processes, D11_AnAgentInAPidNamespaceOfItsOwnSaysWhatItCannotSee) {
  agent_.wrapper = {"unshare", "--pid", "--fork", "--kill-child", "--mount-proc"};
  if (std::system("unshare --pid --fork --kill-child --mount-proc true 2>/dev/null") != 0) {
    GTEST_SKIP() << "no pid namespace can be made here";
  }
  start();
  UnixHttp http(agent_.socket());
  const HttpAnswer refused = http.put(kProcessTarget, kBound);
  EXPECT_EQ(refused.status, 422) << refused.body;
  EXPECT_EQ(pointer(refused), "/pid");
  EXPECT_NE(refused.body.find("another pid namespace"), std::string::npos) << refused.body;
  EXPECT_EQ(get().status, 404);
  EXPECT_EQ(http.put(kProcessTarget, R"({"data":"x","bind":"connection"})").status, 202);
  http.close();
  EXPECT_TRUE(gone()) << "connections it does see";
}

}  // namespace
}  // namespace limpet::test
