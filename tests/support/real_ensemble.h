// Real ZooKeeper servers for tests: Debian's jars, one JVM each, on 127.0.0.1, .2, .3 … with ports of their own.
//
// Nothing is installed or configured outside a temporary directory, which goes with the object. The servers die with
// the thread that started them, also when the test is killed: construct it on the main thread. Every wait is bounded
// and polls. One thread at a time.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace limpet::test {

class RealEnsemble {
 public:
  struct Options {
    int servers = 3;    // 1: standalone
    int tick_ms = 500;  // sessions may ask for 2 to 20 ticks
    int heap_mb = 128;
    std::string four_letter_words = "srvr,mntr,ruok,stat,dump";  // empty: none but the server's default
    std::vector<std::string> config_lines;                       // added to each server's configuration
    std::vector<std::string> java_options;                       // such as "-Djute.maxbuffer=100000"
    std::string clock_shim;  // a library (tests/faults/clock_shim.c) that makes each server's clock_file() hold
  };

  // Lays out directories and ports; starts nothing. Aborts the test program where that is not possible.
  RealEnsemble() : RealEnsemble(Options()) {}
  explicit RealEnsemble(Options options);
  ~RealEnsemble();
  RealEnsemble(const RealEnsemble&) = delete;
  RealEnsemble& operator=(const RealEnsemble&) = delete;

  // Started and serving, or an end of the test program that says what went wrong.
  static RealEnsemble& started(RealEnsemble& ensemble);

  int size() const { return static_cast<int>(servers_.size()); }
  std::string connect_string() const;    // "127.0.0.1:1234,127.0.0.2:1235,127.0.0.3:1236"
  std::string address(int index) const;  // "127.0.0.1:1234"
  std::string data_directory(int index) const { return at(index).directory + "/data"; }
  std::string clock_file(int index) const { return at(index).directory + "/clock"; }
  pid_t pid(int index) const { return servers_.at(static_cast<std::size_t>(index)).pid; }  // 0: not running

  // From 0. Each does nothing where it is so already.
  void start(int index);
  void start_all();
  void kill(int index);  // SIGKILL, and waits for its end
  void kill_all();
  void stop(int index);  // SIGSTOP
  void cont(int index);  // SIGCONT

  // Kills the leader and as many more as it takes to leave a minority (of one server: that one). Precondition: serving.
  void kill_quorum();
  // Starts what does not run, continues what is stopped, and waits until all serve.
  bool restore();

  // Kills it and gives it another loopback address for clients, with the port that it had; start() starts it there. The
  // address, without the port.
  std::string move(int index);

  // Kills all and removes everything they have stored: they come back as a new, empty ensemble.
  void wipe();

  // The answer to a four-letter word; empty where there is none within a second.
  std::string ask(int index, const std::string& word) const;
  bool serves(int index) const;
  std::optional<int> leader() const;

  static constexpr std::chrono::seconds kPatience{60};
  // Until all that run (and are not stopped) serve, and one of them leads. False: not in time.
  bool wait_serving(std::chrono::milliseconds patience = kPatience) const;
  // Until none serves.
  bool wait_not_serving(std::chrono::milliseconds patience = kPatience) const;

  // What the servers wrote to their consoles, for messages.
  std::string console() const;

 private:
  struct Server {
    std::string ip;         // for the other servers
    std::string client_ip;  // for clients
    std::uint16_t client_port = 0;
    std::uint16_t quorum_port = 0;
    std::uint16_t election_port = 0;
    std::string directory;
    std::vector<int> reservations;  // sockets that keep the ports ours while the server is down
    pid_t pid = 0;
    bool stopped = false;
  };

  void write_files(const Server& server, int id) const;
  Server& at(int index) { return servers_.at(static_cast<std::size_t>(index)); }
  const Server& at(int index) const { return servers_.at(static_cast<std::size_t>(index)); }

  const Options options_;
  std::string directory_;
  std::vector<Server> servers_;
};

// Calls `done` until it says true; false when the time is up. Polls every 10 ms.
template <typename Done>
bool poll_until(Done done, std::chrono::milliseconds patience = RealEnsemble::kPatience);

}  // namespace limpet::test

#include <thread>

template <typename Done>
bool limpet::test::poll_until(Done done, std::chrono::milliseconds patience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  for (;;) {
    if (done()) {
      return true;
    }
    if (std::chrono::steady_clock::now() >= until) {
      return false;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}
