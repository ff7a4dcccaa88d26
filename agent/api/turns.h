// Which connection works next: those with something to do take turns, by user.
//
// A turn is a slice of time in which a connection handles at least one request, or makes one piece of a page, and more
// while the slice lasts. Users take turns with each other, however many connections each of them has, and so do the
// connections of one user. So one user's pipelined requests delay the next request of another user by a slice, or by a
// single request that takes longer. A round of turns has an end too: then the event loop sees to timers, the disk and
// ZooKeeper before the next one.
//
// A caller sends its next request after the answer, so a connection that reads as soon as its answer is written asks
// the kernel for what cannot be there yet. A connection whose request is answered therefore takes a turn at the end of
// what the event loop has at hand: by then the first callers have asked again, and one call of the kernel does what
// took three (an empty read, a wait, a read). Owned by the server; core thread only.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

namespace limpet::api {

using TurnTime = std::chrono::steady_clock::time_point;
using TurnClock = std::function<TurnTime()>;

// The slice that a connection has.
class Turn {
 public:
  Turn(const TurnClock& clock, TurnTime until) : clock_(clock), until_(until) {}
  bool over() const { return clock_() >= until_; }

 private:
  const TurnClock& clock_;
  const TurnTime until_;
};

// What takes turns: a connection.
class TurnTaker {
 public:
  virtual ~TurnTaker() = default;
  virtual std::uint32_t turn_user() const = 0;
  // Works until the turn is over, at least once. True: there is more to do, in another turn.
  virtual bool take_turn(const Turn& turn) = 0;
  // Looks whether the caller hung up while its request is with the routes.
  virtual void look_for_hangup() = 0;
};

class Turns {
 public:
  static constexpr std::chrono::microseconds kSlice{1'000};
  static constexpr std::chrono::microseconds kRound{8'000};

  // `io` must outlive this, and this whatever was added, or cancel() has been called.
  explicit Turns(boost::asio::io_context& io, TurnClock clock = std::chrono::steady_clock::now)
      : io_(io), clock_(std::move(clock)), timer_(io) {}

  // Gives `taker` a turn, from the event loop. Not again before it has begun.
  void add(std::shared_ptr<TurnTaker> taker);
  // Calls look_for_hangup() after some milliseconds. Not again before it was called.
  void add_unanswered(std::shared_ptr<TurnTaker> taker);
  // Lets go of everything that was added, and takes no more.
  void cancel();

  // Gives turns for one round, and asks the event loop for another where some are left. Called by the event loop.
  void run_round();

 private:
  using Queue = std::deque<std::shared_ptr<TurnTaker>>;

  void enqueue(std::shared_ptr<TurnTaker> taker);
  void ask_for_a_round();
  void look_for_hangups();

  boost::asio::io_context& io_;
  const TurnClock clock_;
  boost::asio::steady_timer timer_;
  std::unordered_map<std::uint32_t, Queue> queues_;  // by user; some empty ones are kept for the next time
  std::deque<std::uint32_t> users_;                  // whose queue is not empty, in the order of their turns
  std::vector<std::shared_ptr<TurnTaker>> unanswered_;
  bool round_asked_for_ = false;
  bool cancelled_ = false;
};

}  // namespace limpet::api
