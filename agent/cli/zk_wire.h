// Just enough of ZooKeeper's protocol to look at one server: its four-letter words, a session of a moment, and reads.
//
// Not the C library, which starts threads and talks to an ensemble as a whole: here each server is asked by itself, and
// an answer is to come soon or never. Blocks, each step for the time-out at most. Owned by its user, one thread.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace limpet::cli {

struct ZnodeFacts {
  std::int64_t owner = 0;  // the session that it goes with; 0: persistent
  std::int32_t children = 0;
};

class ZkWire {
 public:
  ZkWire(const boost::asio::ip::tcp::endpoint& server, std::chrono::milliseconds timeout)
      : server_(server), timeout_(timeout) {}
  ~ZkWire();
  ZkWire(const ZkWire&) = delete;
  ZkWire& operator=(const ZkWire&) = delete;

  // Empty, or why there is no connection.
  std::string connect();

  // The answer to a four-letter word, which ends the connection.
  std::string ask(const std::string& word);

  // A session of its own; false where the server gives none, as one without a quorum does. `credentials`:
  // "user:password" of the digest scheme, or empty.
  bool open_session(const std::string& credentials = "");
  void close_session();

  // The children of each path, or nothing where it cannot be read. Fails as a whole (nothing) when the connection goes.
  using Children = std::optional<std::vector<std::string>>;
  std::optional<std::vector<Children>> children(const std::vector<std::string>& paths);
  // The facts of each path, likewise.
  std::optional<std::vector<std::optional<ZnodeFacts>>> facts(const std::vector<std::string>& paths);

 private:
  bool write(const std::string& bytes);
  bool read_exactly(std::size_t count, std::string& bytes);
  // One packet with its length in front; nothing where it does not come.
  std::optional<std::string> read_packet();
  // Sends one request a path and gives each answer behind its header, or nothing for an error of that path.
  std::optional<std::vector<std::optional<std::string>>> request_all(std::int32_t type,
                                                                     const std::vector<std::string>& paths);

  const boost::asio::ip::tcp::endpoint server_;
  const std::chrono::milliseconds timeout_;
  int fd_ = -1;
};

}  // namespace limpet::cli
