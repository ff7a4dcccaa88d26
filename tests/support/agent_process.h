// The real limpetd as a child of the test: its own state directory and socket in a temporary directory, which goes with
// it. It dies with the test.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "tests/support/unix_http.h"

namespace limpet::test {

class AgentProcess {
 public:
  // Does not start it. `arguments` go behind --zookeeper (left out where empty), --data-dir and --socket. Its
  // configuration is directory()/limpet.json, which is empty unless the test writes it.
  explicit AgentProcess(std::string zookeeper, std::vector<std::string> arguments = {});
  ~AgentProcess();
  AgentProcess(const AgentProcess&) = delete;
  AgentProcess& operator=(const AgentProcess&) = delete;

  // Starts it and waits until it serves. False where it ends first.
  bool start();
  void signal(int number);
  // SIGKILL and reap.
  void kill();
  // SIGTERM; the exit code, or -1 where it does not end in time.
  int terminate();
  // Waits for its end; the exit code, or -1.
  int wait_exit(std::chrono::seconds limit = std::chrono::seconds(20));

  pid_t pid() const { return pid_; }
  const std::string& socket() const { return socket_; }
  const std::string& data_dir() const { return data_dir_; }
  const std::string& directory() const { return directory_; }
  // Where it looks for registrations by file; not there unless the test makes it.
  std::string registrations_dir() const { return directory_ + "/registrations.d"; }
  std::string log() const;
  std::string zookeeper;
  // From the next start on: "NAME=value", added; and what goes before limpetd's own words, such as another program that
  // starts it and is then what pid() tells.
  std::vector<std::string> environment;
  std::vector<std::string> wrapper;

  // User and system time of the process so far.
  std::chrono::milliseconds cpu_time() const;
  std::size_t resident_bytes() const;

  nlohmann::json status();
  // Polls until `done(status)` holds; false when `limit` is over.
  bool wait_status(const std::function<bool(const nlohmann::json&)>& done,
                   std::chrono::seconds limit = std::chrono::seconds(30));
  bool wait_connected();
  // Connected, and nothing waits.
  bool wait_settled(std::chrono::seconds limit = std::chrono::seconds(30));

 private:
  std::string directory_;
  std::string data_dir_;
  std::string socket_;
  std::vector<std::string> arguments_;
  pid_t pid_ = -1;
};

}  // namespace limpet::test
