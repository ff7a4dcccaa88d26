// A TCP proxy in front of one ZooKeeper server, which understands the frames of its protocol: it passes on, cuts,
// swallows, slows down, loses or replaces a single reply, and counts what clients ask for.
//
// It listens on an address of its own as long as it lives, and runs on a thread of its own; all calls are for any other
// thread. A proxy that is made without being told otherwise passes everything on.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace limpet::test {

// ZooKeeper's numbers of requests (ZooDefs.OpCode).
enum class ZkOpcode : std::int32_t {
  create = 1,
  remove = 2,
  exists = 3,
  get_data = 4,
  set_data = 5,
  sync = 9,
  ping = 11,
  multi = 14,
  create2 = 15,
  set_watches = 101,
  close_session = -11,
};

class ZkProxy {
 public:
  struct Counts {
    std::uint64_t connections = 0;                   // accepted, for whatever use
    std::uint64_t handshakes = 0;                    // of which asked for a session
    std::uint64_t words = 0;                         // of which were four-letter words
    std::map<std::int32_t, std::uint64_t> requests;  // opcode -> passed on or swallowed
    std::uint64_t fired = 0;                         // what it was told to do to requests and welcomes, and did

    std::uint64_t of(ZkOpcode opcode) const;
    // Creates, sets, removes and multis: what would change something.
    std::uint64_t writes() const;
  };

  enum class Mode {
    pass,
    refuse,  // closes each connection as soon as it is accepted
    stall,   // half-open: accepts, reads and drops everything, both ways, on connections old and new
  };

  // `server`: "ip:port". `last_byte`: it listens on 127.0.1.<last_byte>, at this port, or a free one.
  ZkProxy(const std::string& server, int last_byte, std::uint16_t port = 0);
  ~ZkProxy();
  ZkProxy(const ZkProxy&) = delete;
  ZkProxy& operator=(const ZkProxy&) = delete;

  std::string address() const;  // "ip:port"

  void set_mode(Mode mode);
  // Closes all connections.
  void cut();
  // As one address before several servers: each new connection goes to the next of them.
  void set_servers(const std::vector<std::string>& servers);
  // Each piece of bytes, either way, is this much late, plus or minus the jitter; order is kept. 0: at once.
  void set_latency(int ms, int jitter_ms);
  // Each way of each connection. 0: unlimited.
  void set_bytes_per_second(int bytes);

  // Passes on the n-th request (from 1) from now with one of these opcodes, drops what the server sends from its reply
  // on, and cuts. With `swallow` the request is not passed on either.
  void lose_reply(std::vector<ZkOpcode> opcodes, int n, bool swallow = false);
  // Answers the next `count` requests of these opcodes itself with this error, in their place; they never happen.
  void answer(std::vector<ZkOpcode> opcodes, int count, std::int32_t error);

  // As a server that does not take requests of these opcodes: answers with the error, if there is one, and closes the
  // connection right behind it; each time, until forget().
  void reject(std::vector<ZkOpcode> opcodes, std::optional<std::int32_t> error);
  // Replaces the time-out and the number of each session that the server gives, until forget().
  void set_welcome(std::optional<std::int32_t> timeout_ms, std::optional<std::int64_t> session);

  // The above, and deny_session(), are over.
  void forget();
  // Tells the next client that wants to go on with a session that it has expired, which it has not.
  void deny_session();

  // Sends these bytes to every client that has been welcomed, between two frames of its server's. How many that were.
  int inject(const std::string& bytes);

  Counts counts() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace limpet::test
