// A ZooKeeper ensemble with one client of ours, others who write beside it, and faults: the fake one of the simulator
// or three real servers. A scenario is written once against this class and runs on both (parity.h), so that what the
// simulator believes of ZooKeeper is what ZooKeeper does.
//
// Owned by the test; one thread. Time passes only in run_until() and what is built on it: simulated time in the fake
// world, everybody's in the real one.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "agent/zk/ensemble.h"

namespace limpet::test {

// A znode as others see it, newer than all that anybody has been told.
struct Seen {
  std::string data;
  core::ZkStat stat;
};

class World {
 public:
  virtual ~World() = default;

  // ---- The client under test. After start() every event of it is kept, in order, until forget().
  // Opens a handle under an epoch of its own; any handle before it must have been stopped.
  void start(const std::optional<Session>& session = std::nullopt);
  void stop();
  // start(), and waits for the session. Fails the test and gives an empty session where there is none.
  Session connect(const std::optional<Session>& session = std::nullopt);
  core::OpId send(core::ZkVerb verb, const std::string& path, const std::string& data = "", std::int32_t version = -1);
  core::OpId send(core::ZkRequest request);
  // send(), and waits for the answer.
  core::ZkReply call(core::ZkVerb verb, const std::string& path, const std::string& data = "",
                     std::int32_t version = -1);
  // As one transaction.
  core::ZkReply call(std::vector<core::ZkRequest> batch);
  std::optional<core::ZkReply> reply_to(core::OpId op) const;
  void forget() { events_.clear(); }
  const std::vector<core::Event>& events() const { return events_; }
  template <typename Kind>
  std::vector<Kind> all() const {
    std::vector<Kind> found;
    for (const auto& event : events_) {
      if (const auto* one = std::get_if<Kind>(&event)) {
        found.push_back(*one);
      }
    }
    return found;
  }
  template <typename Kind>
  bool wait(std::size_t count = 1) {
    return run_until([&] { return all<Kind>().size() >= count; });
  }
  // The paths of which watches have fired, in order.
  std::vector<std::string> fired() const;
  // Every watch that anything has set off so far has come: answers come in the order of what the server saw.
  void settle() { call(core::ZkVerb::sync, "/"); }

  // Until `done`; false after a minute of this world's time.
  bool run_until(const std::function<bool()>& done) { return pass(done, 60'000); }
  void run_for(std::int64_t ms) {
    pass([] { return false; }, ms);
  }

  // ---- Others
  virtual std::optional<Seen> look(const std::string& path) = 0;
  virtual void others_create(const std::string& path, const std::string& data, bool ephemeral = false) = 0;
  virtual void others_set(const std::string& path, const std::string& data) = 0;
  virtual void others_remove(const std::string& path) = 0;
  // Nobody but the others may read, write or remove this znode, or create anything right below it.
  virtual void lock(const std::string& path) = 0;
  virtual void unlock_all() = 0;

  // ---- Faults
  virtual void cut() = 0;                      // our connection breaks; another can be had at once
  virtual void set_network(bool up) = 0;       // no server can be reached
  virtual void set_quorum(bool up) = 0;        // servers can be reached and serve nobody
  virtual void end_session(SessionId id) = 0;  // of one that connect() gave: its servers end it now
  virtual void hold_session(bool held) = 0;    // another process holds on to our session, or lets go of it
  virtual void wipe() = 0;                     // the servers lose all they have
  // Of the next create the connection breaks, after it was done or without. False: this world leaves that to chance.
  virtual bool lose_next_create(bool done) = 0;
  virtual std::string more_than_a_request_holds() const = 0;

 protected:
  virtual zk::Ensemble& ensemble() = 0;
  virtual bool pass(const std::function<bool()>& done, std::int64_t ms) = 0;
  void take(core::Event event) { events_.push_back(std::move(event)); }
  const std::vector<Session>& sessions() const { return sessions_; }

 private:
  core::Epoch epoch_;
  core::OpId op_;
  std::vector<core::Event> events_;
  std::vector<Session> sessions_;
};

// `seed` chooses what is left to chance.
std::unique_ptr<World> make_fake_world(std::int32_t session_timeout_ms, std::uint64_t seed);
// On servers that all real worlds of the program share, empty at first. One at a time.
std::unique_ptr<World> make_real_world(std::int32_t session_timeout_ms, std::uint64_t seed);

}  // namespace limpet::test
