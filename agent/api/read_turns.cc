#include "agent/api/read_turns.h"

#include <boost/asio/post.hpp>
#include <chrono>
#include <utility>

#include "agent/api/connection.h"

namespace limpet::api {

namespace {

// Long beside what an answer takes, short beside what anybody notices of a hang-up.
constexpr std::chrono::milliseconds kAnswerTakesLonger(20);

}  // namespace

void ReadTurns::add(std::shared_ptr<Connection> connection) {
  if (cancelled_) {
    return;
  }
  idle_.push_back(std::move(connection));
  if (idle_.size() == 1) {
    boost::asio::post(io_, [this] { read(); });
  }
}

void ReadTurns::add_unanswered(std::shared_ptr<Connection> connection) {
  if (cancelled_) {
    return;
  }
  unanswered_.push_back(std::move(connection));
  if (unanswered_.size() == 1) {
    timer_.expires_after(kAnswerTakesLonger);
    timer_.async_wait([this](const boost::system::error_code& error) {
      if (!error) {
        look_for_hangups();
      }
    });
  }
}

void ReadTurns::cancel() {
  cancelled_ = true;
  timer_.cancel();
  idle_.clear();
  unanswered_.clear();
}

void ReadTurns::read() {
  for (const auto& connection : std::exchange(idle_, {})) {
    connection->read();
  }
}

void ReadTurns::look_for_hangups() {
  for (const auto& connection : std::exchange(unanswered_, {})) {
    connection->look_for_hangup();
  }
}

}  // namespace limpet::api
