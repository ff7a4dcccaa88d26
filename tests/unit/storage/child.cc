#include "child.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <map>

namespace limpet::test {

namespace {

constexpr char kRoleVariable[] = "LIMPET_TEST_ROLE";
constexpr char kArgumentVariable[] = "LIMPET_TEST_ARGUMENT";
constexpr int kReportFd = 3;

std::map<std::string, Role>& roles() {
  static std::map<std::string, Role> all;
  return all;
}

void report(std::uint64_t number) {
  // At most PIPE_BUF bytes: written whole or not at all, also if we are killed.
  if (write(kReportFd, &number, sizeof(number)) != sizeof(number)) {
    _exit(99);
  }
}

// In the child, takes over before the first test.
class ChildEnvironment : public ::testing::Environment {
 public:
  void SetUp() override {
    const char* name = std::getenv(kRoleVariable);
    const char* argument = std::getenv(kArgumentVariable);
    if (name != nullptr && argument != nullptr) {
      const auto role = roles().find(name);
      _exit(role == roles().end() ? 98 : role->second(argument, report));
    }
  }
};

const ::testing::Environment* const kEnvironment = ::testing::AddGlobalTestEnvironment(new ChildEnvironment);

[[noreturn]] void become(const char* role, const std::string& argument, int report_fd) {
  setenv(kRoleVariable, role, 1);
  setenv(kArgumentVariable, argument.c_str(), 1);
  unsetenv("GTEST_FILTER");
  unsetenv("GTEST_OUTPUT");
  dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
  dup2(report_fd, kReportFd);  // without close-on-exec
  execl("/proc/self/exe", "storage_tests", static_cast<char*>(nullptr));
  _exit(97);
}

}  // namespace

RegisterRole::RegisterRole(const char* name, Role role) {
  roles()[name] = role;
}

Child::Child(const char* role, const std::string& argument) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    std::abort();
  }
  // The write end must not be the report's own number, or dup2 would leave close-on-exec set.
  const int write_end = fcntl(ends[1], F_DUPFD_CLOEXEC, kReportFd + 1);
  close(ends[1]);
  pipe_ = ends[0];
  pid_ = fork();
  if (pid_ == 0) {
    become(role, argument, write_end);
  }
  close(write_end);
}

Child::~Child() {
  kill();
  close(pipe_);
}

std::optional<std::uint64_t> Child::next() {
  std::uint64_t number = 0;
  return read(pipe_, &number, sizeof(number)) == sizeof(number) ? std::optional(number) : std::nullopt;
}

void Child::kill() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    wait();
  }
}

int Child::wait() {
  int status = 0;
  const bool ended = pid_ > 0 && waitpid(pid_, &status, 0) == pid_;
  pid_ = -1;
  return ended && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace limpet::test
