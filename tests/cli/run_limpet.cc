#include "tests/cli/run_limpet.h"

#include <fcntl.h>
#include <grp.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <ctime>
#include <stdexcept>

namespace limpet::test {

namespace {

constexpr uid_t kNobody = 65534;

// A file in memory that holds `content`, positioned at its start.
int memory_file(const std::string& content) {
  const int fd = ::memfd_create("limpet-test", MFD_CLOEXEC);
  if (fd < 0 || ::pwrite(fd, content.data(), content.size(), 0) != static_cast<ssize_t>(content.size())) {
    throw std::runtime_error("cannot make a file in memory");
  }
  return fd;
}

// Everything in the file, or everything that the terminal still gives.
std::string read_all(int fd, bool rewind) {
  if (rewind) {
    ::lseek(fd, 0, SEEK_SET);
  }
  std::string content;
  std::array<char, 65536> chunk{};
  ssize_t count = 0;
  while ((count = ::read(fd, chunk.data(), chunk.size())) > 0) {
    content.append(chunk.data(), static_cast<std::size_t>(count));
  }
  return content;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (std::string& string : strings) {
    result.push_back(string.data());
  }
  result.push_back(nullptr);
  return result;
}

struct Output {
  int child = -1;   // what the program writes to
  int reader = -1;  // where we read it; may be the same
};

Output open_output(const Setting& setting) {
  Output output;
  if (setting.tty_width) {
    winsize size{};
    size.ws_col = *setting.tty_width;
    size.ws_row = 24;
    if (::openpty(&output.reader, &output.child, nullptr, nullptr, &size) != 0) {
      throw std::runtime_error("cannot open a terminal");
    }
    ::fcntl(output.reader, F_SETFD, FD_CLOEXEC);
  } else if (setting.output_reader_gone) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
      throw std::runtime_error("cannot make a pipe");
    }
    ::close(ends[0]);
    output.child = ends[1];
  } else if (!setting.output_file.empty()) {
    output.child = ::open(setting.output_file.c_str(), O_WRONLY | O_CLOEXEC);
  } else {
    output.child = output.reader = memory_file("");
  }
  return output;
}

// In the child, between fork and exec. The program is opened before the user changes: nobody may be shut out of the
// directory that it lies in.
[[noreturn]] void become_limpet(int program, int in, int out, int err, bool as_nobody, char* const* arguments,
                                char* const* environment) {
  ::dup2(in, STDIN_FILENO);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(err, STDERR_FILENO);
  std::signal(SIGPIPE, SIG_DFL);
  if (as_nobody && (::setgroups(0, nullptr) != 0 || ::setgid(kNobody) != 0 || ::setuid(kNobody) != 0)) {
    ::_exit(126);
  }
  ::fexecve(program, arguments, environment);
  ::_exit(127);
}

}  // namespace

Outcome run_limpet(const std::vector<std::string>& arguments, const Setting& setting) {
  std::vector<std::string> words{"limpet"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<std::string> environment = setting.environment;
  const std::vector<char*> argv = pointers(words);
  const std::vector<char*> envp = pointers(environment);
  const int program = ::open(LIMPET_PATH, O_RDONLY | O_CLOEXEC);
  const int in = memory_file(setting.standard_input);
  const int err = memory_file("");
  const Output output = open_output(setting);

  const pid_t child = ::fork();
  if (child == 0) {
    become_limpet(program, in, output.child, err, setting.as_nobody, argv.data(), envp.data());
  }
  Outcome outcome;
  if (setting.tty_width) {
    ::close(output.child);
    outcome.out = read_all(output.reader, false);  // until the program has let go of the terminal
    outcome.out.erase(std::remove(outcome.out.begin(), outcome.out.end(), '\r'), outcome.out.end());
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  outcome.exit = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  outcome.err = read_all(err, true);
  if (output.reader == output.child) {
    outcome.out = read_all(output.reader, true);
  } else if (!setting.tty_width) {
    ::close(output.child);
  }
  for (const int fd : {program, in, err, output.reader}) {
    if (fd >= 0) {
      ::close(fd);
    }
  }
  return outcome;
}

std::string seconds_ago(long seconds) {
  const std::time_t time =
      std::chrono::system_clock::to_time_t(std::chrono::system_clock::now() - std::chrono::seconds(seconds));
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S.000Z", &parts);
  return text.data();
}

}  // namespace limpet::test
