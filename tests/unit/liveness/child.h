// Processes for the tests: started by fork, ended and reaped at the latest with their owner.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <thread>

namespace limpet::liveness::test {

class Child {
 public:
  // Runs `body` in a process of its own, then ends it.
  explicit Child(const std::function<void()>& body) : pid_(::fork()) {
    if (pid_ == 0) {
      body();
      ::_exit(0);
    }
  }
  ~Child() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      reap();
    }
  }
  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}

  pid_t pid() const { return pid_; }
  void kill(int signal = SIGKILL) const { ::kill(pid_, signal); }
  int reap() {
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return status;
  }

 private:
  pid_t pid_;
};

// One that lives until it is killed.
inline Child sleeper() {
  return Child([] {
    while (true) {
      ::pause();
    }
  });
}

inline std::string read_file(const std::string& path) {
  std::ifstream stream(path);
  std::ostringstream text;
  text << stream.rdbuf();
  return text.str();
}

// The state letter of /proc/PID/stat; '-' where there is no such process.
inline char state_of(pid_t pid) {
  const std::string stat = read_file("/proc/" + std::to_string(pid) + "/stat");
  const std::size_t at = stat.rfind(") ");
  return at == std::string::npos ? '-' : stat[at + 2];
}

// Waits, as long as it takes up to half a minute, until `holds`.
inline bool eventually(const std::function<bool()>& holds) {
  for (int i = 0; i < 3000; ++i) {
    if (holds()) {
      return true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

inline bool become_zombie(pid_t pid) {
  return eventually([pid] { return state_of(pid) == 'Z'; });
}

}  // namespace limpet::liveness::test
