// Plays systemd's part for a real limpetd: hands over a listening socket and a queue for what it has to say, and hears
// that. The agent dies with the test.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace limpet::test {

class Manager {
 public:
  // Makes a temporary directory, and in it the queue and the API's socket, which listens from now on.
  Manager();
  ~Manager();
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;

  struct Start {
    int sockets = 1;                            // handed over: the API's; further ones are copies of it
    std::vector<std::string> environment = {};  // "NAME=value"
    bool journal = false;                       // JOURNAL_STREAM names the agent's log
    std::vector<std::string> arguments = {};
  };
  void start() { start(Start()); }
  void start(const Start& how);
  void signal(int number) const;
  // SIGKILL and reap.
  void kill();
  // The exit code; -1 where it does not end in time, or by a signal.
  int wait_exit();

  // Waits for a message with this line, or one that begins so where it ends in "*", and returns the line; empty where
  // none comes. What came before it is forgotten.
  std::string hear(const std::string& line);
  // All messages that are there now.
  std::vector<std::string> pending();
  // Leaves no room in the queue; hear() makes it again.
  void fill_queue();

  pid_t pid() const { return pid_; }
  std::string socket() const { return directory_ + "/api.sock"; }
  std::string directory() const { return directory_; }
  std::string log() const;

 private:
  std::string directory_;
  int queue_ = -1;
  int listening_ = -1;
  pid_t pid_ = -1;
};

}  // namespace limpet::test
