// A server for the tests, on the test's own event loop: says one thing to whoever connects.
#pragma once

#include <boost/asio/buffer.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/write.hpp>
#include <list>
#include <memory>
#include <string>

namespace limpet::liveness::test {

template <typename Protocol>
class Server {
 public:
  // Says `answer` once it was asked something, and hangs up unless `holds_on`. An empty answer: says nothing.
  Server(boost::asio::io_context& io, const typename Protocol::endpoint& at, std::string answer, bool holds_on = false)
      : acceptor_(io, at), answer_(std::move(answer)), holds_on_(holds_on) {
    accept();
  }

  typename Protocol::endpoint endpoint() const { return acceptor_.local_endpoint(); }
  int connections() const { return connections_; }
  const std::string& asked() const { return asked_; }
  void say(std::string answer) { answer_ = std::move(answer); }

 private:
  using Socket = typename Protocol::socket;

  void accept() {
    acceptor_.async_accept([this](boost::system::error_code error, Socket socket) {
      if (error) {
        return;
      }
      ++connections_;
      sockets_.push_back(std::move(socket));
      Socket& peer = sockets_.back();
      peer.async_read_some(boost::asio::buffer(buffer_),
                           [this, &peer](boost::system::error_code failed, std::size_t n) {
                             if (failed) {
                               return;
                             }
                             asked_.assign(buffer_, n);
                             boost::asio::async_write(peer, boost::asio::buffer(answer_),
                                                      [this, &peer](boost::system::error_code, std::size_t) {
                                                        if (!holds_on_) {
                                                          boost::system::error_code ignored;
                                                          peer.close(ignored);
                                                        }
                                                      });
                           });
      accept();
    });
  }

  typename Protocol::acceptor acceptor_;
  std::string answer_;
  const bool holds_on_;
  std::list<Socket> sockets_;
  char buffer_[4096];
  std::string asked_;
  int connections_ = 0;
};

using TcpServer = Server<boost::asio::ip::tcp>;
using UnixServer = Server<boost::asio::local::stream_protocol>;

}  // namespace limpet::liveness::test
