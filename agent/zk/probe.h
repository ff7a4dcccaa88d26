// Finds out, while there is no connection, what is wrong with each server: asks it for `srvr` on a socket of its own,
// at a slow pace and with jitter.
//
// Core thread only; nothing blocks. The io_context outlives the Prober.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <memory>
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
  std::string detail;  // of unreachable: the system's words
};

// What a server's answer to `srvr` says.
ServerState read_srvr(std::string_view answer);

// One sentence without a full stop: "2 of 3 servers refuse connections (a:1, b:1); c:1 answers but has no quorum".
// Precondition: at least one verdict.
std::string describe(const std::vector<Verdict>& verdicts);

class Prober {
 public:
  using Report = std::function<void(const std::vector<Verdict>&)>;

  struct Pace {
    std::int64_t first_ms = 1000;
    std::int64_t then_ms = 5000;  // a quarter more or less
    std::int64_t timeout_ms = 2000;
  };

  Prober(boost::asio::io_context& io, Pace pace, std::uint64_t seed, Report report);
  ~Prober();
  Prober(const Prober&) = delete;
  Prober& operator=(const Prober&) = delete;

  // Probes these from now on; `report` is called after each round, with a verdict on each, in the same order. Starts
  // over if it is probing already.
  void start(std::vector<Server> servers);

  // No report comes after this.
  void stop();

 private:
  class Round;

  void schedule(std::int64_t in_ms);
  void ended(const std::vector<Verdict>& verdicts);

  boost::asio::io_context& io_;
  const Pace pace_;
  const Report report_;
  std::mt19937_64 random_;
  boost::asio::steady_timer timer_;
  std::vector<Server> servers_;
  std::shared_ptr<Round> round_;
  std::shared_ptr<char> alive_;  // of the timer's handlers: one that is late finds it gone
};

}  // namespace limpet::zk
