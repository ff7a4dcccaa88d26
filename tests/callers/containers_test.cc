// Callers in namespaces of their own, as containers have them: what they may do, and which process they are. And the
// programs as the first process of a container. The real limpetd, without ZooKeeper; namespaces by unshare(2), as root.
#include <sched.h>
#include <sys/mount.h>
#include <sys/xattr.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include "tests/support/two_users.h"

namespace limpet::test {
namespace {

constexpr const char* kContainerTarget = "/v1/registrations/web/i-1";

class Containers : public TwoUsers {
 protected:
  // What `work` returns in a process of its own that is in new namespaces (CLONE_NEW…), as their first one where that
  // is a pid namespace. Empty where they cannot be made here.
  std::string inside(int namespaces, const std::function<std::string()>& work) {
    int told[2] = {-1, -1};
    EXPECT_EQ(::pipe2(told, O_CLOEXEC), 0);
    const pid_t outer = ::fork();
    if (outer == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::unshare(namespaces) != 0 || ((namespaces & CLONE_NEWUSER) != 0 && !map_root())) {
        ::_exit(0);
      }
      const pid_t inner = ::fork();  // into the pid namespace
      if (inner == 0) {
        const std::string text = work();
        std::ignore = ::write(told[1], text.data(), text.size());
        ::_exit(0);
      }
      ::waitpid(inner, nullptr, 0);
      ::_exit(0);
    }
    ::close(told[1]);
    std::string text;
    char buffer[65536];
    for (ssize_t size = 0; (size = ::read(told[0], buffer, sizeof buffer)) > 0;) {
      text.append(buffer, static_cast<std::size_t>(size));
    }
    ::close(told[0]);
    ::waitpid(outer, nullptr, 0);
    return text;
  }
  static bool map_root() {
    std::ofstream("/proc/self/setgroups") << "deny";
    std::ofstream uids("/proc/self/uid_map");
    std::ofstream gids("/proc/self/gid_map");
    return (uids << "0 0 1" << std::flush) && (gids << "0 0 1" << std::flush);
  }
  // "status body" of a call.
  std::string answer(const std::string& method, const std::string& target, const std::string& body = "") {
    const HttpAnswer answer = call(method, target, body);
    return std::to_string(answer.status) + " " + answer.body;
  }
  bool eventually(const std::function<bool()>& holds) {
    for (int i = 0; i < 1200; ++i) {
      if (holds()) {
        return true;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return false;
  }
};

constexpr const char* kNone = "no such namespace can be made here";

// ---- Privilege

class ContainersRoot : public Containers, public ::testing::WithParamInterface<int> {};

TEST_P(ContainersRoot, HasNoPrivilege) {
  start();
  ASSERT_EQ(call("PUT", kContainerTarget, R"({"data":"the host's"})").status, 202);
  const std::string answers = inside(GetParam(), [&] {
    std::string all;
    all += answer("POST", "/v1/leave") + "\n";
    all += answer("PUT", "/v1/maintenance", "{}") + "\n";
    all += answer("POST", "/v1/reload") + "\n";
    all += answer("DELETE", kContainerTarget) + "\n";
    all += answer("PUT", kContainerTarget, R"({"data":"mine"})") + "\n";
    all += answer("PUT", "/v1/registrations/web/own", R"({"data":"1"})") + "\n";
    all += answer("PUT", "/v1/registrations/web/own", R"({"data":"2"})") + "\n";
    all += answer("DELETE", "/v1/registrations/web/own") + "\n";
    return all;
  });
  if (answers.empty()) {
    GTEST_SKIP() << kNone;
  }
  std::istringstream lines(answers);
  std::vector<std::string> statuses;
  for (std::string line; std::getline(lines, line);) {
    statuses.push_back(line.substr(0, 3));
  }
  EXPECT_EQ(statuses, (std::vector<std::string>{"403", "403", "403", "403", "403", "202", "202", "202"})) << answers;
  EXPECT_NE(answers.find("another user or pid namespace"), std::string::npos) << answers;
  EXPECT_EQ(call("GET", kContainerTarget).json()["data"], "the host's");
  EXPECT_EQ(call("POST", "/v1/leave").status, 202) << "the host's root has it";
}

TEST_P(ContainersRoot, HasNoCommandsRun) {
  start({"--command-checks", "true"});
  const std::string body = R"({"data":"x","checks":[{"type":"command","command":["/bin/true"]}]})";
  const std::string told = inside(GetParam(), [&] { return answer("PUT", kContainerTarget, body); });
  if (told.empty()) {
    GTEST_SKIP() << kNone;
  }
  EXPECT_EQ(told.substr(0, 3), "403") << told;
  EXPECT_NE(told.find("not_allowed"), std::string::npos) << told;
  EXPECT_EQ(call("PUT", kContainerTarget, body).status, 202);
}

INSTANTIATE_TEST_SUITE_P(, ContainersRoot,
                         ::testing::Values(CLONE_NEWPID, CLONE_NEWUSER, CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUSER),
                         [](const auto& test) {
                           return std::string(test.param & CLONE_NEWUSER ? "User" : "") +
                                  (test.param & CLONE_NEWPID ? "Pid" : "") + (test.param & CLONE_NEWNS ? "Mount" : "");
                         });

TEST_F(Containers, OwnRegistrationsOfTheirRootStayTheirsOverARestart) {
  start();
  const std::string made = inside(CLONE_NEWPID, [&] { return answer("PUT", kContainerTarget, R"({"data":"1"})"); });
  if (made.empty()) {
    GTEST_SKIP() << kNone;
  }
  ASSERT_EQ(made.substr(0, 3), "202") << made;
  agent_->kill();
  start_agent();
  EXPECT_EQ(call("GET", kContainerTarget).json()["owner"]["contained"], true);
  EXPECT_EQ(inside(CLONE_NEWPID, [&] { return answer("DELETE", kContainerTarget); }).substr(0, 3), "202");
}

// As a service manager starts it.
TEST_F(Containers, AnAgentWithAMountNamespaceOfItsOwnObeysTheHostsRoot) {
  if (std::system("unshare --mount true 2>/dev/null") != 0) {
    GTEST_SKIP() << kNone;
  }
  make_agent().wrapper = {"unshare", "--mount"};
  start_agent();
  EXPECT_EQ(call("POST", "/v1/reload").status, 200);
}

TEST_F(Containers, AnAgentThatIsNotRootTellsTheHostsRootFromAnother) {
  constexpr uid_t kAgent = 4713;
  AgentProcess& agent = make_agent();
  if (::chown(agent.directory().c_str(), kAgent, kAgent) != 0 ||
      std::system("setpriv --reuid 4713 --regid 4713 --clear-groups " LIMPETD_PATH " --version >/dev/null 2>&1") != 0) {
    GTEST_SKIP() << "limpetd cannot be run as another user here";
  }
  agent.wrapper = {"setpriv", "--reuid", "4713", "--regid", "4713", "--clear-groups"};
  start_agent();
  EXPECT_EQ(call("POST", "/v1/reload").status, 200);
  const auto told_inside = [&](int namespaces) {
    return inside(namespaces, [&] { return answer("POST", "/v1/reload"); }).substr(0, 3);
  };
  for (const int namespaces : {CLONE_NEWPID, CLONE_NEWUSER}) {
    const std::string told = told_inside(namespaces);
    EXPECT_TRUE(told.empty() || told == "403") << told;
  }
  const std::string told = told_inside(CLONE_NEWNS);
  EXPECT_TRUE(told.empty() || told == "200") << "mounts alone make no other host: " << told;
}

// ---- Pids

TEST_F(Containers, ThatNameAPidAreBoundToThemselvesOnly) {
  start();
  const std::string told = inside(CLONE_NEWPID, [&] {
    std::string all = answer("PUT", kContainerTarget, R"({"data":"x","bind":"process","pid":2})") + "\n";
    all += answer("PUT", kContainerTarget, R"({"data":"x","bind":"process","pid":1})") + "\n";
    return all + answer("GET", kContainerTarget);
  });
  if (told.empty()) {
    GTEST_SKIP() << kNone;
  }
  EXPECT_EQ(told.substr(0, 3), "422") << told;
  EXPECT_NE(told.find("another pid namespace"), std::string::npos) << told;
  const std::string bound = told.substr(told.find('\n') + 1);
  EXPECT_EQ(bound.substr(0, 3), "202") << told;
  const auto shown = nlohmann::json::parse(bound.substr(bound.rfind("\n200 ") + 5));
  EXPECT_EQ(shown["process"]["pid"], shown["owner"]["pid"]) << shown;
  EXPECT_NE(shown["process"]["pid"], 1) << "that is the host's first process";
  EXPECT_TRUE(eventually([&] { return call("GET", kContainerTarget).status == 404; })) << "it ended";
}

TEST_F(Containers, BesideTheAgentsCannotNameAPidOfIt) {
  if (std::system("unshare --pid --fork --kill-child --mount-proc true 2>/dev/null") != 0) {
    GTEST_SKIP() << kNone;
  }
  make_agent().wrapper = {"unshare", "--pid", "--fork", "--kill-child", "--mount-proc"};
  start_agent();
  const HttpAnswer refused = call("PUT", kContainerTarget, R"({"data":"x","bind":"process","pid":1})");
  EXPECT_EQ(refused.status, 422) << refused.body;
  EXPECT_EQ(refused.json()["errors"][0]["pointer"], "/pid");
}

// ---- As the first process

std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream stream(entry.path() / "stat");
    std::string text;
    std::getline(stream, text);
    std::istringstream fields(text.substr(std::min(text.rfind(')') + 1, text.size())));
    char state = 0;
    pid_t ppid = 0;
    if (fields >> state >> ppid && ppid == parent) {
      found.push_back(static_cast<pid_t>(std::stol(entry.path().filename())));
    }
  }
  return found;
}

TEST_F(Containers, AnAgentAsTheFirstProcessWaitsForOrphans) {
  if (std::system("unshare --pid --fork --kill-child --mount-proc true 2>/dev/null") != 0) {
    GTEST_SKIP() << kNone;
  }
  make_agent({"--command-checks", "true"}).wrapper = {"unshare", "--pid", "--fork", "--kill-child", "--mount-proc"};
  start_agent();
  const std::vector<pid_t> below = children_of(agent_->pid());
  ASSERT_EQ(below.size(), 1u);
  const pid_t first = below.front();
  const std::string script =
      "nsenter --target " + std::to_string(first) +
      " --pid sh -c 'for i in 1 2 3 4 5 6 7 8 9; do (sleep 0.3 & sleep 0.3 &); done' 2>/dev/null";
  ASSERT_EQ(std::system(script.c_str()), 0);
  EXPECT_TRUE(eventually([&] { return children_of(first).empty(); })) << children_of(first).size() << " are left";
}

TEST_F(Containers, LimpetRunAsTheFirstProcessWaitsForOrphansAndPassesSignalsOn) {
  if (std::system("unshare --pid --fork --kill-child --mount-proc true 2>/dev/null") != 0) {
    GTEST_SKIP() << kNone;
  }
  start();
  const std::string ready = agent_->directory() + "/ready";
  const std::string script =
      "trap 'exit 42' TERM; (sleep 0.2 & sleep 0.2 &); (sleep 0.2 &); touch " + ready + "; while :; do sleep 0.1; done";
  const pid_t outer = ::fork();
  if (outer == 0) {
    ::execlp("unshare", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", LIMPET_PATH, "--socket",
             agent_->socket().c_str(), "run", "web", "i-1", "--", "sh", "-c", script.c_str(), nullptr);
    ::_exit(127);
  }
  ASSERT_TRUE(eventually([&] { return std::filesystem::exists(ready); }));
  EXPECT_EQ(call("GET", kContainerTarget).status, 200);
  const std::vector<pid_t> below = children_of(outer);
  ASSERT_EQ(below.size(), 1u);
  const pid_t first = below.front();
  EXPECT_TRUE(eventually([&] { return children_of(first).size() == 1; })) << "its command alone";
  ::kill(first, SIGTERM);
  int status = 0;
  ::waitpid(outer, &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 42);
  EXPECT_TRUE(eventually([&] { return call("GET", kContainerTarget).status == 404; }));
}

// ---- Commands in a cgroup

TEST_F(Containers, ACommandRunsInACgroupOfItsOwnWhereOneIsDelegated) {
  std::string mount;
  for (const char* path : {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}) {
    mount = std::filesystem::exists(std::string(path) + "/cgroup.procs") && mount.empty() ? path : mount;
  }
  const std::string cgroup = mount + "/limpet-test-" + std::to_string(::getpid());
  if (mount.empty() || ::mkdir(cgroup.c_str(), 0755) != 0 ||
      ::setxattr(cgroup.c_str(), "user.delegate", "1", 1, 0) != 0) {
    ::rmdir(cgroup.c_str());
    GTEST_SKIP() << "no cgroup of version 2 can be made and marked as delegated here";
  }
  make_agent({}, standalone_server()).wrapper = {"/bin/sh", "-c", "echo $$ >" + cgroup + "/cgroup.procs; exec \"$@\"",
                                                 "sh"};
  std::filesystem::create_directory(agent_->registrations_dir());
  const std::string script = "setsid sleep 1000 & grep '^0:' /proc/self/cgroup; exit 1";
  std::ofstream(agent_->registrations_dir() + "/a.json") << nlohmann::json{
      {"service", "web"},
      {"instance", "i-1"},
      {"data", "x"},
      {"checks", nlohmann::json::array({{{"type", "command"}, {"command", {"/bin/sh", "-c", script}}, {"fall", 1}}})}};
  start_agent();
  EXPECT_TRUE(eventually([&] { return call("GET", kContainerTarget).json()["state"] == "unhealthy"; }));
  const std::string shown = call("GET", kContainerTarget).json()["reason"].dump();
  EXPECT_NE(shown.find("/checks/"), std::string::npos) << shown;
  const auto runs_left = [&] {
    std::size_t found = 0;
    for (const auto& entry : std::filesystem::directory_iterator(cgroup + "/checks")) {
      found += entry.is_directory() ? 1 : 0;
    }
    return found;
  };
  EXPECT_TRUE(eventually([&] { return runs_left() == 0; })) << "what left its session is gone, and the cgroup with it";
  agent_->kill();
  for (const char* part : {"/checks", "/agent", ""}) {
    EXPECT_TRUE(eventually([&] { return ::rmdir((cgroup + part).c_str()) == 0 || errno == ENOENT; })) << part;
  }
}

}  // namespace
}  // namespace limpet::test
