#include "tests/service/manager.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

namespace limpet::test {

namespace {

constexpr std::chrono::seconds kPatience(60);
constexpr int kFirstInherited = 3;

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  return address;
}

int bound(int type, const std::string& path) {
  const int fd = ::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const sockaddr_un address = address_of(path);
  if (fd < 0 || ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    std::perror(path.c_str());
    std::abort();
  }
  return fd;
}

// Above those that a child is to get.
int moved_up(int fd) {
  const int moved = ::fcntl(fd, F_DUPFD_CLOEXEC, 100);
  ::close(fd);
  return moved;
}

}  // namespace

Manager::Manager() {
  char name[] = "/tmp/limpet-service-XXXXXX";
  directory_ = ::mkdtemp(name);
  queue_ = moved_up(bound(SOCK_DGRAM, directory_ + "/notify"));
  listening_ = moved_up(bound(SOCK_STREAM, socket()));
  ::listen(listening_, 64);
}

Manager::~Manager() {
  kill();
  ::close(queue_);
  ::close(listening_);
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

void Manager::start(const Start& how) {
  std::vector<std::string> words = {LIMPETD_PATH};
  words.insert(words.end(), how.arguments.begin(), how.arguments.end());
  const auto unless_given = [&](const std::string& flag, const std::string& value) {
    if (std::find(words.begin(), words.end(), flag) == words.end()) {
      words.insert(words.end(), {flag, value});
    }
  };
  unless_given("--config", directory_ + "/limpet.json");
  unless_given("--registrations-dir", "");
  unless_given("--data-dir", directory_ + "/state");
  unless_given("--socket", socket());
  std::ofstream(directory_ + "/limpet.json") << "{}";
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ != 0) {
    return;
  }
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int log = ::open((directory_ + "/log").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  ::dup2(log, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  ::setenv("NOTIFY_SOCKET", (directory_ + "/notify").c_str(), 1);
  ::unsetenv("JOURNAL_STREAM");
  if (struct stat found{}; how.journal && ::fstat(log, &found) == 0) {
    ::setenv("JOURNAL_STREAM", (std::to_string(found.st_dev) + ":" + std::to_string(found.st_ino)).c_str(), 1);
  }
  for (int i = 0; i < how.sockets; ++i) {
    ::dup2(listening_, kFirstInherited + i);
  }
  if (how.sockets > 0) {
    ::setenv("LISTEN_FDS", std::to_string(how.sockets).c_str(), 1);
    ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
  }
  for (const std::string& variable : how.environment) {
    const std::size_t equals = variable.find('=');
    ::setenv(variable.substr(0, equals).c_str(), variable.c_str() + equals + 1, 1);
  }
  std::vector<char*> argv;
  for (std::string& word : words) {
    argv.push_back(word.data());
  }
  argv.push_back(nullptr);
  if (::getppid() == parent) {
    ::execv(argv[0], argv.data());
  }
  ::_exit(127);
}

void Manager::signal(int number) const {
  if (pid_ > 0) {
    ::kill(pid_, number);
  }
}

void Manager::kill() {
  if (pid_ > 0) {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
}

int Manager::wait_exit() {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (std::chrono::steady_clock::now() < until) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return -1;
}

std::string Manager::hear(const std::string& line) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (std::chrono::steady_clock::now() < until) {
    pollfd query{queue_, POLLIN, 0};
    ::poll(&query, 1, 100);
    std::array<char, 4096> buffer;
    const ssize_t size = ::recv(queue_, buffer.data(), buffer.size(), 0);
    std::istringstream message(std::string(buffer.data(), size > 0 ? static_cast<std::size_t>(size) : 0));
    for (std::string said; std::getline(message, said);) {
      if (said == line || (line.ends_with('*') && said.starts_with(line.substr(0, line.size() - 1)))) {
        return said;
      }
    }
  }
  return "";
}

std::vector<std::string> Manager::pending() {
  std::vector<std::string> messages;
  std::array<char, 4096> buffer;
  for (ssize_t size; (size = ::recv(queue_, buffer.data(), buffer.size(), 0)) >= 0;) {
    messages.emplace_back(buffer.data(), static_cast<std::size_t>(size));
  }
  return messages;
}

void Manager::fill_queue() {
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const sockaddr_un address = address_of(directory_ + "/notify");
  ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
  while (::send(fd, "X=1", 3, 0) > 0) {
  }
  ::close(fd);
}

std::string Manager::log() const {
  std::ifstream stream(directory_ + "/log");
  std::stringstream text;
  text << stream.rdbuf();
  return text.str();
}

}  // namespace limpet::test
