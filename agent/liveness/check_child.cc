#include "agent/liveness/check_child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>
#include <string_view>

#include "agent/liveness/identity.h"
#include "agent/liveness/program.h"

namespace limpet::liveness {
namespace {

constexpr const char* kName = "limpet-check";
// limpet-check UID DESCRIPTORS AGENT CGROUP COMMAND…
constexpr int kUid = 1;
constexpr int kDescriptors = 2;
constexpr int kAgent = 3;
constexpr int kCgroup = 4;
constexpr int kFirstOfCommand = 5;
constexpr const char* kMaxProcesses = "256";  // of one command and all that it starts
// As a shell and env(1) have it.
constexpr int kCannotSetUp = 125;
constexpr int kCannotRun = 126;
constexpr int kNotFound = 127;
constexpr const char* kPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

int fail(int code, const std::string& what) {
  std::fprintf(stderr, "%s: %s\n", what.c_str(), std::strerror(errno));
  return code;
}

template <typename Number>
Number number(const char* text) {
  Number value{};
  std::from_chars(text, text + std::strlen(text), value);
  return value;
}

// A host that runs out of memory may spare the agent (systemd: OOMScoreAdjust), but not the commands of others.
void be_no_dearer_than_others() {
  if (const int fd = ::open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC); fd >= 0) {
    char sign = 0;
    if (::pread(fd, &sign, 1, 0) == 1 && sign == '-') {
      [[maybe_unused]] const auto ignored = ::pwrite(fd, "0", 1, 0);
    }
    ::close(fd);
  }
}

bool become(const Identity& identity) {
  // Left by a service manager that started the agent with some of root's rights.
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  if (::geteuid() != 0) {
    return ::geteuid() == identity.uid;
  }
  return ::setgroups(identity.groups.size(), identity.groups.data()) == 0 &&
         ::setresgid(identity.gid, identity.gid, identity.gid) == 0 &&
         ::setresuid(identity.uid, identity.uid, identity.uid) == 0 && (identity.uid == 0 || ::setuid(0) != 0);
}

void write_file(const std::string& path, const char* text) {
  if (const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC); fd >= 0) {
    [[maybe_unused]] const auto ignored = ::write(fd, text, std::strlen(text));
    ::close(fd);
  }
}

// The run's own cgroup, where the agent was given one to divide; without it the rest works all the same.
class RunCgroup {
 public:
  explicit RunCgroup(const std::string& parent) {
    if (parent.empty()) {
      return;
    }
    path_ = parent + "/" + std::to_string(::getpid());
    if (::mkdir(path_.c_str(), 0755) != 0) {
      path_.clear();
      return;
    }
    write_file(path_ + "/pids.max", kMaxProcesses);
  }
  void enter() const { write_file(path_ + "/cgroup.procs", "0"); }
  void kill() const { write_file(path_ + "/cgroup.kill", "1"); }
  bool remove() const { return path_.empty() || ::rmdir(path_.c_str()) == 0 || errno != EBUSY; }

 private:
  std::string path_;
};

// In the child of the supervisor.
[[noreturn]] void become_command(char** argv, pid_t supervisor, const RunCgroup& cgroup) {
  const auto leave = [](int code) {
    std::fflush(nullptr);
    ::_exit(code);
  };
  ::setsid();
  cgroup.enter();
  const Identity identity = identity_of(number<uid_t>(argv[kUid]));
  if (::chdir("/") != 0) {
    leave(fail(kCannotSetUp, "cannot go to /"));
  }
  if (!become(identity)) {
    leave(fail(kCannotSetUp, fmt::format("the agent may not act as uid {}", identity.uid)));
  }
  // Not to outlive the supervisor; a change of the user would undo it.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != supervisor) {
    leave(kCannotSetUp);
  }
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  std::vector<std::string> variables = {fmt::format("PATH={}", kPath), "HOME=" + identity.home, "LANG=C.UTF-8"};
  if (!identity.name.empty()) {
    variables.push_back("USER=" + identity.name);
    variables.push_back("LOGNAME=" + identity.name);
  }
  std::vector<char*> environment;
  for (std::string& variable : variables) {
    environment.push_back(variable.data());
  }
  environment.push_back(nullptr);
  char** command = argv + kFirstOfCommand;
  ::setenv("PATH", kPath, 1);  // by which execvpe looks for the program
  ::execvpe(command[0], command, environment.data());
  leave(fail(errno == ENOENT ? kNotFound : kCannotRun, fmt::format("cannot run {}", command[0])));
  ::abort();
}

// Waits for the end of `command`, or for SIGTERM. The wait status, or nothing where it was told to end.
std::optional<int> await_end(pid_t command, const sigset_t& signals) {
  for (;;) {
    int status = 0;
    for (pid_t ended = 0; (ended = ::waitpid(-1, &status, WNOHANG)) > 0;) {
      if (ended == command) {
        return status;
      }
    }
    if (::sigwaitinfo(&signals, nullptr) == SIGTERM) {
      return std::nullopt;
    }
  }
}

// All children, among which are those whose parent has ended. CONFIG_PROC_CHILDREN, proc(5).
std::vector<pid_t> children() {
  std::ifstream stream("/proc/thread-self/children");
  std::vector<pid_t> found;
  for (pid_t pid = 0; stream >> pid;) {
    found.push_back(pid);
  }
  return found;
}

// Until nothing is left: what loses its parent becomes a child of ours, and is killed next.
void kill_all(const RunCgroup& cgroup, const sigset_t& signals) {
  constexpr timespec kPause{0, 20'000'000};
  for (;;) {
    cgroup.kill();
    for (const pid_t child : children()) {
      ::kill(child, SIGKILL);
    }
    pid_t ended = 0;
    while ((ended = ::waitpid(-1, nullptr, WNOHANG)) > 0) {
    }
    if (ended < 0 && errno == ECHILD && cgroup.remove()) {
      return;
    }
    ::sigtimedwait(&signals, nullptr, &kPause);
  }
}

}  // namespace

bool is_check_child(int argc, char** argv) {
  return argc > kFirstOfCommand && std::string_view(argv[0]) == kName;
}

std::vector<std::string> check_child_arguments(const std::vector<std::string>& command, std::uint32_t uid,
                                               const std::string& cgroup) {
  std::vector<std::string> arguments = {kName, std::to_string(uid), std::to_string(descriptor_limit_of_children()),
                                        std::to_string(::getpid()), cgroup};
  arguments.insert(arguments.end(), command.begin(), command.end());
  return arguments;
}

int run_check_child(int, char** argv) {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGCHLD);
  ::sigaddset(&signals, SIGTERM);
  ::sigprocmask(SIG_BLOCK, &signals, nullptr);
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != number<pid_t>(argv[kAgent])) {
    return kCannotSetUp;
  }
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = std::min<rlim_t>(number<rlim_t>(argv[kDescriptors]), limit.rlim_max);
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
  ::umask(022);
  be_no_dearer_than_others();
  const RunCgroup cgroup(argv[kCgroup]);
  const pid_t supervisor = ::getpid();
  const pid_t command = ::fork();
  if (command < 0) {
    return fail(kCannotSetUp, "cannot fork");
  }
  if (command == 0) {
    become_command(argv, supervisor, cgroup);
  }
  const std::optional<int> status = await_end(command, signals);
  kill_all(cgroup, signals);
  if (status && WIFSIGNALED(*status)) {
    const rlimit no_core{0, 0};
    ::setrlimit(RLIMIT_CORE, &no_core);
    ::signal(WTERMSIG(*status), SIG_DFL);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::raise(WTERMSIG(*status));
  }
  return status ? WEXITSTATUS(*status) : 0;
}

}  // namespace limpet::liveness
