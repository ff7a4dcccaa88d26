// What other threads have to say to the core thread: functions that it calls, in the order in which they were left.
//
// boost::asio::post does the same, but wakes the sleeper while it holds the lock that the sleeper takes first: at one
// request at a time, every answer of the disk would cost two more turns of the scheduler. Here the lock is let go
// first, and whatever gathers is one wakeup. Owned by the agent; it must outlive the threads that leave something.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

namespace limpet {

class Mailbox {
 public:
  using Letter = std::function<void()>;

  // Core thread, as is the destructor: what is still in the box is dropped. Throws boost::system::system_error where
  // there is no descriptor to be had.
  explicit Mailbox(boost::asio::io_context& io);

  // `letter` is called on the core thread, from the event loop. Any thread; never blocks.
  void leave(Letter letter);

 private:
  void wait();
  void empty();

  // Core thread only.
  boost::asio::posix::stream_descriptor bell_;
  std::uint64_t rung_ = 0;
  std::vector<Letter> reading_;

  // Shared, under mutex_.
  std::mutex mutex_;
  std::vector<Letter> letters_;
};

}  // namespace limpet
