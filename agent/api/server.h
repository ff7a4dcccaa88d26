// The API on its unix socket: takes connections, keeps them within limits, ends them in order.
//
// Owned by the agent; everything on the core thread, nothing blocks (but start(), for the file system). It has no
// thread of its own: it lives on the io_context that it is given. When nothing happens it does no more than look every
// two seconds whether the socket's file is still there: the timer that looks after time-outs runs only while one is
// pending.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <limits>
#include <memory>
#include <string>

#include "agent/api/connection.h"
#include "agent/api/service.h"
#include "storage/error.h"

namespace limpet::api {

struct ServerOptions {
  std::string socket_path = "/run/limpet/limpet.sock";
  std::string group = "limpet";  // of the socket, where there is such a group
  int listen_fd = -1;            // where not -1: this listening socket instead of one at socket_path
  // Called when the socket's file was found gone, or another in its place: ok where another was bound, otherwise why
  // not, once for each reason.
  std::function<void(const Status&)> socket_lost;
  std::size_t max_connections = 1'024;
  std::size_t max_connections_per_uid = 256;  // of a user who is neither root nor the agent's own
  // A connection whose descriptor has this number or a higher one is turned away: those are the agent's own.
  int descriptors_below = std::numeric_limits<int>::max();
  bool wants_groups = false;  // whether changes need Caller.groups
  ConnectionLimits limits;
  BodyLimits body;
  std::chrono::milliseconds stop_grace{2'000};  // for answers in progress when the server stops
};

class Server {
 public:
  // `io` and `service` must outlive this.
  Server(boost::asio::io_context& io, Service& service, ServerOptions options);
  // Closes everything at once, and removes the socket.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Opens the socket and begins to take connections. Once. Fails as Listener::open and Listener::adopt do.
  Status start();

  // From here on goes by what `options` says of connections, limits and bodies, and whether groups are wanted; all else
  // in it is ignored. Whoever is connected stays so.
  void set_limits(const ServerOptions& options);

  // Takes no more connections, lets answers in progress be finished for up to stop_grace, closes the rest, removes the
  // socket file, and calls `done` from the event loop. Once.
  void stop(std::function<void()> done);

  // Those within the limit, now.
  std::size_t connections() const;
  // There are connections, and each waits for an answer: no more requests come before one is given.
  bool everybody_waits() const;
  const Counters& counters() const;
  // Of answers that their callers have not taken, and of what these are made from.
  std::size_t output_bytes() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace limpet::api
