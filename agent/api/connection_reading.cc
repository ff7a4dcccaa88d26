// Connection: when it reads, what it does with what came, and how it notices that its caller hung up.
#include <poll.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <cstring>
#include <utility>

#include "agent/api/connection.h"

namespace limpet::api {

using boost::system::error_code;

void Connection::take_turn_later() {
  if (!closed_ && !std::exchange(turn_queued_, true)) {
    host_.turns().add(shared_from_this());
  }
}

void Connection::look_for_hangup_in_turn() {
  if (!reading_ && !std::exchange(looks_soon_, true)) {
    host_.turns().add_unanswered(shared_from_this());
  }
}

void Connection::look_for_hangup() {
  looks_soon_ = false;
  if (!busy_ || closed_) {
    return;
  }
  if (!output_pending() && !last_answer_ && receive()) {
    return look_for_hangup_in_turn();
  }
  if (!reading_) {
    watch_for_hangup();
  }
}

// Makes space for a read where there is none. False: there must be no more now.
bool Connection::make_room() {
  if (lingering_ && !hears_renewal_) {
    in_begin_ = in_end_ = 0;
    return true;
  }
  if (in_begin_ == in_end_) {
    in_begin_ = in_end_ = 0;
  } else if (in_begin_ != 0 && in_end_ == in_.size()) {
    std::memmove(in_.data(), in_.data() + in_begin_, in_end_ - in_begin_);
    in_end_ -= in_begin_;
    in_begin_ = 0;
  }
  // A body passes through in pieces; only a head has to fit as a whole.
  const std::size_t most = 2 * limits_.request.max_header_bytes;
  if ((in_end_ == in_.size() || reader_.in_request()) && in_.size() < most) {
    in_.resize(std::min(in_.size() * 4, most));
  }
  return in_end_ != in_.size();
}

// Reads once something is there: in a turn, because what came is a request.
void Connection::arm_read() {
  if (reading_ || end_of_input_ || closed_ || !make_room()) {
    return;
  }
  reading_ = true;
  socket_.async_wait(Socket::wait_read, [self = shared_from_this()](const error_code& error) {
    self->reading_ = false;
    if (self->closed_ || error) {
      return;
    }
    if (self->lingering_) {
      self->receive();
    } else {
      self->readable_ = true;
      self->take_turn_later();
    }
  });
}

// Reads what is there; waits where that is nothing. True where something came.
bool Connection::receive() {
  readable_ = false;
  if (reading_ || end_of_input_ || closed_ || !make_room()) {
    return false;
  }
  error_code error;
  const std::size_t bytes = socket_.read_some(boost::asio::buffer(in_.data() + in_end_, in_.size() - in_end_), error);
  if (error == boost::asio::error::would_block) {
    arm_read();
    return false;
  }
  return take(error, bytes);
}

bool Connection::take(const error_code& error, std::size_t bytes) {
  if (error && error != boost::asio::error::eof) {
    close();
    return false;
  }
  end_of_input_ = error == boost::asio::error::eof;
  in_end_ += bytes;
  starved_ = starved_ && bytes == 0;
  if (lingering_) {
    take_after_refusal();
    end_of_input_ ? close() : arm_read();
    return false;
  }
  if (end_of_input_ && busy_) {
    if (in_begin_ == in_end_) {
      report_gone();
    }
    // Half closed, or gone altogether? The first still gets its answer.
    watch_for_hangup();
  }
  return bytes != 0;
}

// The caller was refused for want of room. A heartbeat that it sends all the same is a sign of life.
void Connection::take_after_refusal() {
  if (!hears_renewal_) {
    return;
  }
  std::size_t used = 0;
  const auto result = reader_.read(std::string_view(in_.data() + in_begin_, in_end_ - in_begin_), used);
  in_begin_ += used;
  if (result == RequestReader::Result::complete) {
    routes_.renew(request_);
  }
  hears_renewal_ = result == RequestReader::Result::need_more;
}

bool Connection::hung_up() {
  pollfd state{socket_.native_handle(), 0, 0};
  return ::poll(&state, 1, 0) == 1 && (state.revents & (POLLHUP | POLLERR)) != 0;
}

void Connection::watch_for_hangup() {
  if (hung_up()) {
    return close();
  }
  if (watching_) {
    return;
  }
  watching_ = true;
  socket_.async_wait(Socket::wait_error, [self = shared_from_this()](const error_code& error) {
    // Not armed again: urgent data wakes this too, and whoever sends that need not be told that its caller went.
    self->watching_ = false;
    if (!self->closed_ && !error && self->hung_up()) {
      self->close();
    }
  });
}

}  // namespace limpet::api
