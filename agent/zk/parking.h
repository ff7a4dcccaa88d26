// How a handle of the ZooKeeper library is brought to where closing it does not end its session.
//
// The library sends a request to end the session when it closes a handle that is connected, and it has no call that
// detaches. So the handle is given a list of servers that holds nothing but an address where nobody listens: it drops
// its connection by itself and tries that address for ever. Once the address is its current one it cannot become
// connected any more, and closing it sends nothing. library_check.h tries this on the library that is loaded.
#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <deque>
#include <vector>

struct _zhandle;  // zhandle_t of <zookeeper/zookeeper.h>

namespace limpet::zk {

// An address where nobody listens and nobody can: a port that is bound and not listened on.
class DeafAddress {
 public:
  explicit DeafAddress(const boost::asio::ip::address_v4& address);
  ~DeafAddress();
  DeafAddress(const DeafAddress&) = delete;
  DeafAddress& operator=(const DeafAddress&) = delete;

  // Its port is 1, where hardly anybody listens, if there was no descriptor for it.
  const boost::asio::ip::tcp::endpoint& endpoint() const { return endpoint_; }

 private:
  boost::asio::ip::tcp::endpoint endpoint_;
  const int socket_;
};

// Where a handle is parked. Keep it until the handle is closed. One thread, which may block.
class Parking {
 public:
  // `servers`: what the handle may be connected to.
  explicit Parking(const std::vector<boost::asio::ip::tcp::endpoint>& servers);

  // Blocks for some milliseconds. False: the library went on with its servers for ten seconds, and closing the handle
  // could end its session.
  bool park(_zhandle* zh) const;

 private:
  std::deque<DeafAddress> addresses_;  // two
};

}  // namespace limpet::zk
