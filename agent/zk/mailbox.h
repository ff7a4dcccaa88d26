// The way from the ZooKeeper library's threads to the core thread: a queue that wakes the core thread once for however
// much gathers while it is busy.
//
// push() is for any thread; the rest is for the core thread. Shared by the client and its handles; the io_context lives
// until shut() at least.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "agent/core/event.h"

namespace limpet::zk {

struct Request;  // zk_handle.h

struct Mail {
  std::uint64_t handle = 0;    // whose it is: ZkHandle::id()
  Request* request = nullptr;  // answered by this; to be released
  bool internal = false;       // a request of the client's own
  std::uint64_t losses = 0;    // of ZkConnected: connections lost before this one
  core::Event event = {};
  std::string complaint = {};                  // in place of an event: why the session that `server` gave is of no use
  boost::asio::ip::tcp::endpoint server = {};  // of a complaint
};

class Mailbox : public std::enable_shared_from_this<Mailbox> {
 public:
  using Open = std::function<void(std::vector<Mail>&)>;

  // `open` is given what arrived, in its order, on the core thread and from the event loop.
  Mailbox(boost::asio::io_context& io, Open open);

  void push(Mail mail);

  // From here on nothing is delivered, and push() does not touch the io_context.
  void shut();

 private:
  void deliver();

  boost::asio::io_context& io_;

  // Core thread only.
  Open open_;
  std::vector<Mail> reading_;

  // Shared, under mutex_.
  std::mutex mutex_;
  std::vector<Mail> arrived_;
  bool shut_ = false;
};

}  // namespace limpet::zk
