// Gives the memory that a burst of work has left behind back to the system, when the burst is over. The allocator keeps
// what was freed for the next burst, which may never come: some MiB after the start, and after each outage.
//
// Owned by the agent; core thread only.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>

namespace limpet {

class IdleTrim {
 public:
  // So much work leaves enough behind to be worth the trouble.
  static constexpr std::uint64_t kBurst = 1'000;

  explicit IdleTrim(boost::asio::io_context& io) : timer_(io) {}

  // So many small things were done: events, changes. Cheap. Where they make a burst, what that left behind goes back
  // once no further one follows it.
  void worked(std::uint64_t count);
  // From now on nothing is given back any more.
  void stop() { timer_.cancel(); }

 private:
  void look_again();

  boost::asio::steady_timer timer_;
  bool waiting_ = false;
  std::uint64_t done_ = 0;  // since memory was given back last
  std::uint64_t seen_ = 0;  // of that, at the last look
};

}  // namespace limpet
