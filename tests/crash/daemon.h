// limpetd as these tests need it: under strace or with a library loaded first, with limits, killed and started again on
// the same state directory. Everything lies in a temporary directory, which goes with the object; the process dies with
// the test.
#pragma once

#include <sys/resource.h>
#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/unix_http.h"

namespace limpet::test {

struct Injection {
  std::vector<std::string> wrapper;                          // goes before limpetd's own words
  std::vector<std::string> environment;                      // "NAME=value", added
  std::vector<std::pair<__rlimit_resource, rlim_t>> limits;  // soft limits
};

class Daemon {
 public:
  // Starts nothing. `disk`: where the state directory is to be, if not with the rest.
  explicit Daemon(std::string zookeeper = kUnreachable, std::vector<std::string> arguments = {},
                  const std::string& disk = "");
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Starts it and waits until it serves. False where it ends first: exit_code() then says how.
  bool start(const Injection& injection = {});
  // SIGKILL and reap; nothing where it does not run.
  void kill();
  void signal(int number) const;
  // It has ended (and is reaped).
  bool ended();
  bool wait_ended(std::chrono::milliseconds limit);
  // Of the last run: the exit code, or minus the signal.
  int exit_code() const { return exit_code_; }

  pid_t pid() const { return pid_; }
  const std::string& socket() const { return socket_; }
  const std::string& data_dir() const { return data_dir_; }
  const std::string& directory() const { return directory_; }
  std::string log() const;
  nlohmann::json status() const;

  static constexpr char kUnreachable[] = "127.0.0.1:1";  // nobody listens there

 private:
  const std::string zookeeper_;
  const std::vector<std::string> arguments_;
  std::string directory_;
  std::string data_dir_;
  std::string socket_;
  std::atomic<pid_t> pid_ = -1;  // signal() may come from another thread
  int exit_code_ = 0;
};

// Bytes on disk of all files below `path`.
std::uint64_t bytes_below(const std::string& path);

// A number from the environment, such as LIMPET_CRASH_ROUNDS, or `otherwise`.
long number_from_environment(const char* name, long otherwise);

}  // namespace limpet::test
