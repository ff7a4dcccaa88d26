#include "agent/zk/trouble.h"

#include <chrono>

namespace limpet::zk {
namespace {

constexpr std::chrono::seconds kPause{1};

}  // namespace

Trouble::Trouble(boost::asio::io_context& io, Tell tell) : tell_(std::move(tell)), timer_(io) {}

void Trouble::tell(bool no_quorum, std::string text) {
  waiting_ = Text(no_quorum, std::move(text));
  if (!pausing_) {
    pass_on();
  }
}

void Trouble::reset() {
  waiting_ = std::nullopt;
  last_ = std::nullopt;
}

void Trouble::pass_on() {
  pausing_ = false;
  if (!waiting_ || waiting_ == last_) {
    waiting_ = std::nullopt;
    return;
  }
  last_ = std::exchange(waiting_, std::nullopt);
  pausing_ = true;
  timer_.expires_after(kPause);
  timer_.async_wait([this, alive = std::weak_ptr<char>(alive_)](const boost::system::error_code& error) {
    if (!error && !alive.expired()) {
      pass_on();
    }
  });
  // Last: it may call back.
  tell_(last_->first, std::string(last_->second));
}

}  // namespace limpet::zk
