// Waits for children that the agent did not start. As the first process of a container it becomes the parent of every
// process there whose own parent has ended, and what it does not wait for stays a zombie.
//
// Core thread only. Owned by Liveness; the io_context outlives it.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <functional>
#include <memory>

namespace limpet::liveness {

class Orphans {
 public:
  // Whether this program has such children. It is so or not for as long as it runs.
  static bool may_come();
  // Blocks SIGCHLD, which this class reads from a descriptor. Main thread, before there are others.
  static void prepare();

  // `own`: whether the pid is that of a child that somebody else waits for.
  Orphans(boost::asio::io_context& io, std::function<bool(std::int32_t pid)> own);
  Orphans(const Orphans&) = delete;
  Orphans& operator=(const Orphans&) = delete;

  void stop();

 private:
  void await_signal();
  void reap();

  const std::function<bool(std::int32_t pid)> own_;
  boost::asio::posix::stream_descriptor signals_;  // a signalfd
  boost::asio::steady_timer retry_timer_;
  std::shared_ptr<char> alive_ = std::make_shared<char>();  // of the handlers: one that is late finds it gone
};

}  // namespace limpet::liveness
