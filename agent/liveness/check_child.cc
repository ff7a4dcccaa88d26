#include "agent/liveness/check_child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "agent/liveness/identity.h"
#include "agent/liveness/program.h"

namespace limpet::liveness {
namespace {

constexpr const char* kName = "limpet-check";
constexpr int kFirstOfCommand = 3;
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

}  // namespace

bool is_check_child(int argc, char** argv) {
  return argc > kFirstOfCommand && std::string_view(argv[0]) == kName;
}

std::vector<std::string> check_child_arguments(const std::vector<std::string>& command, std::uint32_t uid) {
  std::vector<std::string> arguments = {kName, std::to_string(uid), std::to_string(descriptor_limit_of_children())};
  arguments.insert(arguments.end(), command.begin(), command.end());
  return arguments;
}

int run_check_child(int, char** argv) {
  const Identity identity = identity_of(number<uid_t>(argv[1]));
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    limit.rlim_cur = std::min<rlim_t>(number<rlim_t>(argv[2]), limit.rlim_max);
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
  ::umask(022);
  be_no_dearer_than_others();
  if (::chdir("/") != 0) {
    return fail(kCannotSetUp, "cannot go to /");
  }
  if (!become(identity)) {
    return fail(kCannotSetUp, fmt::format("the agent may not act as uid {}", identity.uid));
  }
  // Not to outlive the agent; a change of the user would undo it.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
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
  return fail(errno == ENOENT ? kNotFound : kCannotRun, fmt::format("cannot run {}", command[0]));
}

}  // namespace limpet::liveness
