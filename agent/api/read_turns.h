// When connections begin to read again: not each for itself, but together, at the end of what the event loop has at
// hand.
//
// A caller sends its next request after the answer, so who reads as soon as a request is read, or its answer written,
// asks the kernel for what cannot be there yet. While a request is with the routes, reading only tells that the caller
// hangs up: that may wait until it is plain that the answer takes longer. When the answer has been written, other
// callers are being answered too, and by the end of that the first of them have asked again: then one call of the
// kernel does what took three (an empty read, a wait, a read). Owned by the server; core thread only.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>
#include <vector>

namespace limpet::api {

class Connection;

class ReadTurns {
 public:
  // `io` must outlive this, and this whatever was added, or cancel() has been called.
  explicit ReadTurns(boost::asio::io_context& io) : io_(io), timer_(io) {}

  // Calls connection->read() at the end of this turn of the loop. Not again before it was called.
  void add(std::shared_ptr<Connection> connection);
  // Calls connection->look_for_hangup() after some milliseconds. Not again before it was called.
  void add_unanswered(std::shared_ptr<Connection> connection);
  // Lets go of all connections, and takes no more.
  void cancel();

 private:
  void read();
  void look_for_hangups();

  boost::asio::io_context& io_;
  boost::asio::steady_timer timer_;
  std::vector<std::shared_ptr<Connection>> idle_;
  std::vector<std::shared_ptr<Connection>> unanswered_;
  bool cancelled_ = false;
};

}  // namespace limpet::api
