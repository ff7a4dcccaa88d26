// Two ordinary users, both in the socket's group, beside root on one real agent. A fixture for the promise that no
// member of the group can delay, withdraw or deregister what belongs to another. Only for root; skipped otherwise.
#pragma once

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "tests/support/agent_process.h"
#include "tests/support/real_ensemble.h"

namespace limpet::test {

inline constexpr gid_t kSocketGroup = 4710;
inline constexpr uid_t kAlice = 4711;
inline constexpr uid_t kBob = 4712;

// Makes the calling thread user `uid` in group kSocketGroup, for the kernel's checks of files too, for as long as it
// lives. The system calls themselves, because the library's functions change every thread. Only for root; not nested.
class ActAsMember {
 public:
  explicit ActAsMember(uid_t uid, gid_t group = kSocketGroup) {
    ::syscall(SYS_setgroups, 1, &group);
    ::syscall(SYS_setresgid, -1, uid, -1);  // a group of the user's own
    ::syscall(SYS_setresuid, -1, uid, -1);
  }
  ~ActAsMember() {
    ::syscall(SYS_setresuid, -1, 0, -1);
    ::syscall(SYS_setresgid, -1, 0, -1);
    ::syscall(SYS_setgroups, 0, nullptr);
  }
  ActAsMember(const ActAsMember&) = delete;
  ActAsMember& operator=(const ActAsMember&) = delete;
};

class TwoUsers : public ::testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) {
      GTEST_SKIP() << "only root can act as two users";
    }
  }
  void TearDown() override {
    while (!processes_.empty()) {
      end_process(processes_.back());
    }
  }

  // A ZooKeeper server for all tests of this process, for those that need a session.
  static std::string standalone_server() {
    static RealEnsemble server([] {
      RealEnsemble::Options options;
      options.servers = 1;
      return options;
    }());
    static const RealEnsemble& started = RealEnsemble::started(server);
    return started.connect_string();
  }

  // Makes the agent without starting it: for a test that writes its configuration or wraps its command.
  AgentProcess& make_agent(std::vector<std::string> arguments = {}, std::string zookeeper = "127.0.0.1:1") {
    agent_ = std::make_unique<AgentProcess>(std::move(zookeeper), std::move(arguments));
    EXPECT_EQ(::chmod(agent_->directory().c_str(), 0755), 0);
    return *agent_;
  }
  // Starts it, and gives its socket to the group.
  void start_agent() {
    ASSERT_TRUE(agent_->start()) << agent_->log();
    ASSERT_EQ(::chown(agent_->socket().c_str(), 0, kSocketGroup), 0);
  }
  void start(std::vector<std::string> arguments = {}, std::string zookeeper = "127.0.0.1:1") {
    make_agent(std::move(arguments), std::move(zookeeper));
    start_agent();
  }

  // One call on a connection of its own, as root or as another user.
  HttpAnswer call(const std::string& method, const std::string& target, const std::string& body = "") {
    UnixHttp http(agent_->socket());
    return http.call(method, target, body);
  }
  HttpAnswer call_as(uid_t uid, const std::string& method, const std::string& target, const std::string& body = "") {
    const ActAsMember who(uid);
    return call(method, target, body);
  }
  static std::string code(const HttpAnswer& answer) { return answer.json().value("code", ""); }

  // A connection that `uid` makes: whoever uses it later speaks for that user.
  std::unique_ptr<UnixHttp> connect_as(uid_t uid) {
    const ActAsMember who(uid);
    auto http = std::make_unique<UnixHttp>(agent_->socket());
    EXPECT_EQ(http->get("/healthz").status, 200);
    return http;
  }

  // A process of `uid` in every respect, which runs `work`, or sleeps until it is killed. Returns once it is that
  // user's; it ends with the test.
  pid_t start_process(uid_t uid, const std::function<void()>& work = {}) {
    int ready[2] = {-1, -1};
    EXPECT_EQ(::pipe2(ready, O_CLOEXEC), 0);
    const pid_t pid = ::fork();
    if (pid == 0) {
      const gid_t group = kSocketGroup;
      if (::setgroups(1, &group) != 0 || ::setresgid(uid, uid, uid) != 0 || ::setresuid(uid, uid, uid) != 0) {
        ::_exit(126);
      }
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // a change of the user would clear it
      ::close(ready[0]);
      ::close(ready[1]);
      if (work) {
        work();
        ::_exit(0);
      }
      for (;;) {
        ::pause();
      }
    }
    processes_.push_back(pid);
    char byte = 0;
    ::close(ready[1]);
    std::ignore = ::read(ready[0], &byte, 1);  // the end of the file: the child has closed it
    ::close(ready[0]);
    return pid;
  }
  void end_process(pid_t pid) {
    std::erase(processes_, pid);
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }

  std::unique_ptr<AgentProcess> agent_;

 private:
  std::vector<pid_t> processes_;
};

}  // namespace limpet::test
