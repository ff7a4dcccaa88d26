// A ZkClient on a bench: its event loop, what it reported, and waits that run the loop. For tests of agent/zk.
//
// One thread: the test's is the core thread.
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/zk/zk_client.h"

namespace limpet::test {

class ZkBench {
 public:
  static constexpr std::chrono::seconds kPatience{60};

  explicit ZkBench(zk::ZkClient::Options options)
      : work_(io_.get_executor()), client_(std::in_place, io_, std::move(options), [this](core::Event event) {
          events_.push_back(std::move(event));
        }) {}

  static zk::ZkClient::Options options(const std::string& hosts) {
    zk::ZkClient::Options options;
    options.hosts = hosts;
    options.session_timeout_ms = 6000;
    options.seed = 42;
    options.probe = {100, 300, 1000};
    return options;
  }

  zk::ZkClient& client() { return *client_; }
  boost::asio::io_context& io() { return io_; }
  const std::vector<core::Event>& events() const { return events_; }
  void forget() { events_.clear(); }
  void destroy_client() { client_.reset(); }

  core::Epoch start(std::optional<Session> session = std::nullopt) {
    ++epoch_.value;
    forget();
    client_->start({epoch_, session});
    return epoch_;
  }
  void stop() { client_->stop({epoch_}); }

  // Runs the event loop until `done`; false when the time is up.
  template <typename Done>
  bool run_until(Done done, std::chrono::milliseconds patience = kPatience) {
    const auto until = std::chrono::steady_clock::now() + patience;
    while (!done()) {
      const auto now = std::chrono::steady_clock::now();
      if (now >= until) {
        return false;
      }
      io_.run_one_for(until - now);
    }
    return true;
  }
  void run_for(std::chrono::milliseconds time) {
    run_until([] { return false; }, time);
  }

  // All events of one kind, so far.
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
  bool wait(std::size_t count = 1, std::chrono::milliseconds patience = kPatience) {
    return run_until([&] { return all<Kind>().size() >= count; }, patience);
  }

  // Starts, and waits for the session.
  std::optional<Session> connect(std::optional<Session> session = std::nullopt) {
    start(session);
    if (!wait<core::ZkConnected>()) {
      return std::nullopt;
    }
    return all<core::ZkConnected>().back().session;
  }

  core::OpId send(core::ZkRequest request) {
    ++op_.value;
    client_->send({epoch_, op_, std::move(request)});
    return op_;
  }
  std::optional<core::ZkReply> reply_to(core::OpId op) const {
    for (const auto& replied : all<core::ZkReplied>()) {
      if (replied.op == op) {
        return replied.reply;
      }
    }
    return std::nullopt;
  }
  core::ZkReply call(core::ZkRequest request) {
    const core::OpId op = send(std::move(request));
    run_until([&] { return reply_to(op).has_value(); });
    return reply_to(op).value_or(core::ZkReply{core::ZkCode::unknown_outcome, {}, "", "no answer in the test's time"});
  }

  std::string last_trouble() const {
    const auto troubles = all<core::ZkTrouble>();
    return troubles.empty() ? "" : troubles.back().message;
  }

 private:
  boost::asio::io_context io_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  std::vector<core::Event> events_;
  core::Epoch epoch_;
  core::OpId op_;
  std::optional<zk::ZkClient> client_;
};

}  // namespace limpet::test
