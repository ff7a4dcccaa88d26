#include "agent/api/turns.h"

#include <boost/asio/post.hpp>
#include <utility>

namespace limpet::api {
namespace {

// Long beside what an answer takes, short beside what anybody notices of a hang-up.
constexpr std::chrono::milliseconds kAnswerTakesLonger(20);
constexpr std::size_t kKeptQueues = 16;

}  // namespace

void Turns::add(std::shared_ptr<TurnTaker> taker) {
  if (cancelled_) {
    return;
  }
  enqueue(std::move(taker));
  ask_for_a_round();
}

void Turns::enqueue(std::shared_ptr<TurnTaker> taker) {
  const std::uint32_t user = taker->turn_user();
  Queue& queue = queues_[user];
  if (queue.empty()) {
    users_.push_back(user);
  }
  queue.push_back(std::move(taker));
}

void Turns::ask_for_a_round() {
  if (!std::exchange(round_asked_for_, true)) {
    boost::asio::post(io_, [this] { run_round(); });
  }
}

void Turns::run_round() {
  round_asked_for_ = false;
  const TurnTime begun = clock_();
  TurnTime now = begun;
  while (!users_.empty() && now < begun + kRound) {
    const std::uint32_t user = users_.front();
    Queue& queue = queues_.at(user);
    const std::shared_ptr<TurnTaker> taker = std::move(queue.front());
    queue.pop_front();
    users_.pop_front();
    if (!queue.empty()) {
      users_.push_back(user);
    } else if (queues_.size() > kKeptQueues) {
      queues_.erase(user);
    }
    if (taker->take_turn(Turn(clock_, now + kSlice)) && !cancelled_) {
      enqueue(taker);
    }
    now = clock_();
  }
  if (!users_.empty()) {
    ask_for_a_round();
  }
}

void Turns::add_unanswered(std::shared_ptr<TurnTaker> taker) {
  if (cancelled_) {
    return;
  }
  unanswered_.push_back(std::move(taker));
  if (unanswered_.size() == 1) {
    timer_.expires_after(kAnswerTakesLonger);
    timer_.async_wait([this](const boost::system::error_code& error) {
      if (!error) {
        look_for_hangups();
      }
    });
  }
}

void Turns::cancel() {
  cancelled_ = true;
  timer_.cancel();
  queues_.clear();
  users_.clear();
  unanswered_.clear();
}

void Turns::look_for_hangups() {
  for (const auto& taker : std::exchange(unanswered_, {})) {
    taker->look_for_hangup();
  }
}

}  // namespace limpet::api
