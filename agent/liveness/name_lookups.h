// Look-ups of host names, off the core thread. A look-up that hangs, as one does for half a minute where the name
// server is gone, holds a thread of its user's share, and the next question of that user for the same name gets the
// same answer.
//
// Owned by CheckSchedule; core thread only, answers are posted there. The io_context outlives it. Destruction waits for
// look-ups under way.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "agent/liveness/blocking_pool.h"
#include "storage/error.h"

namespace limpet::liveness {

class NameLookups {
 public:
  using Addresses = std::vector<boost::asio::ip::address>;
  using Begun = std::function<void()>;
  using Done = std::function<void(const Result<Addresses>&)>;

  explicit NameLookups(boost::asio::io_context& io) : io_(io), pool_({}) {}
  NameLookups(const NameLookups&) = delete;
  NameLookups& operator=(const NameLookups&) = delete;

  // Asks for the addresses of a name, at least one. `begun` is called when a thread takes it up, `done` once after
  // that; neither from within the call. An error is a few words for people; Errc::full: the agent is short of
  // something, and nothing is known.
  std::uint64_t ask(std::uint32_t uid, const std::string& name, Begun begun, Done done);
  // Nothing is called any more. A look-up that nobody waits for and that has not begun is dropped.
  void withdraw(std::uint64_t question);

 private:
  using Key = std::pair<std::uint32_t, std::string>;  // uid, name
  struct Waiter {
    Begun begun;
    Done done;
  };
  struct Lookup {
    BlockingPool::Ticket ticket;
    std::uint64_t number = 0;  // of its first question: tells it from a later one for the same name
    bool begun = false;
    std::map<std::uint64_t, Waiter> waiters;  // by question
  };

  void start(const Key& key, Lookup& lookup);
  void began(const Key& key, std::uint64_t number);
  void answered(const Key& key, std::uint64_t number, const Result<Addresses>& found);

  boost::asio::io_context& io_;
  std::map<Key, Lookup> lookups_;
  std::map<std::uint64_t, Key> questions_;
  std::uint64_t last_question_ = 0;
  std::shared_ptr<char> alive_ = std::make_shared<char>();  // of what is posted: it may come late
  BlockingPool pool_;                                       // last: its work is over before the rest goes
};

}  // namespace limpet::liveness
