// Finds out, while there is no connection, what is wrong with each server: asks one after the other for `srvr`, each on
// a socket of its own. Quickly at first and then more and more slowly, in proportion to how long it has been looking:
// an outage that is short ends soon for us, one that is long costs little, and hosts that lost their servers at the
// same time find them again spread over a while.
//
// Core thread only; nothing blocks. The io_context outlives the Prober.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "agent/zk/hosts.h"

namespace limpet::zk {

enum class ServerState {
  refuses,      // nobody listens
  unreachable,  // the network says no
  silent,       // no answer in time
  hangs_up,     // something listens and says nothing: a balancer without a server, a server with too many connections
  no_quorum,    // it runs and cannot serve
  serving,
  answers,  // something answers; it does not say whether it serves
};

struct Verdict {
  std::string label;
  ServerState state = ServerState::silent;
  std::string detail;                            // of unreachable: the system's words
  boost::asio::ip::tcp::endpoint endpoint = {};  // whose it is
  std::int64_t load = 0;                         // of serving: see read_load()
};

// A server that certainly does not serve, and one that may by its answer. A silent server is neither.
bool cannot_serve(const Verdict& verdict);
bool may_serve(const Verdict& verdict);

// What a server's answer to `srvr` says.
ServerState read_srvr(std::string_view answer);

// How many connections it has by that, and how many requests that it has not answered yet; 0 where it does not say.
std::int64_t read_load(std::string_view answer);

// One sentence without a full stop: "2 of 3 servers refuse connections (a:1, b:1); c:1 answers but has no quorum".
// Precondition: at least one verdict.
std::string describe(const std::vector<Verdict>& verdicts);

class Prober {
 public:
  using Report = std::function<void(const std::vector<Verdict>&)>;

  struct Pace {
    std::int64_t first_ms = 50;   // between two looks, at first; a quarter more or less
    std::int64_t then_ms = 5000;  // between two looks at the same server, in the end
    std::int64_t timeout_ms = 2000;
  };

  Prober(boost::asio::io_context& io, Pace pace, std::uint64_t seed, Report report);
  ~Prober();
  Prober(const Prober&) = delete;
  Prober& operator=(const Prober&) = delete;

  // Looks at these from now on. `report` is called after each look, with the newest verdict on each in the same order,
  // once all have been looked at; before that, where one serves, with those on which there is one. Starts over if it is
  // looking already.
  void start(std::vector<Server> servers);

  // Looks at these servers instead, at the pace reached so far; new servers come first.
  void follow(std::vector<Server> servers);

  // No report comes after this.
  void stop();

 private:
  class Look;
  struct Watched {
    Server server;
    std::optional<Verdict> verdict = {};
    std::shared_ptr<Look> look = {};  // on its way
  };

  void watch(std::vector<Server> servers);
  void schedule();
  void look_at_next();
  void looked(std::size_t which, Verdict verdict);

  boost::asio::io_context& io_;
  const Pace pace_;
  const Report report_;
  std::mt19937_64 random_;
  boost::asio::steady_timer timer_;
  std::vector<Watched> watched_;
  std::size_t next_ = 0;
  std::chrono::steady_clock::time_point began_;
  std::shared_ptr<char> alive_;  // of the timer's handlers: one that is late finds it gone
};

}  // namespace limpet::zk
