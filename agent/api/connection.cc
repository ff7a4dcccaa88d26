#include "agent/api/connection.h"

#include <time.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <utility>

namespace limpet::api {
namespace {

using boost::system::error_code;

constexpr std::size_t kFirstBufferBytes = 4 * 1024;
constexpr std::size_t kOutputHighBytes = 64 * 1024;  // answers are sent before more are made
constexpr std::size_t kKeptOutputBytes = 16 * 1024;
// Over all connections. A listing has megabytes: callers who ask for many and read none must not fill the memory.
constexpr std::size_t kMaxOutputBytes = 64 * 1024 * 1024;

}  // namespace

Connection::Connection(Socket socket, core::Caller caller, Routes& routes, const ConnectionLimits& limits, Host& host)
    : limits_(limits),
      routes_(routes),
      host_(host),
      socket_(std::move(socket)),
      reader_(request_, limits.request),
      in_(kFirstBufferBytes) {
  request_.caller = std::move(caller);
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  request_.connected_ms = now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

void Connection::start() {
  arm_read();
}

void Connection::refuse(const Problem& problem) {
  answer_and_close(problem);
  pump();
}

void Connection::finish() {
  if (closed_) {
    return;
  }
  assert(busy_);
  set_busy(false);
  append_answer(draining_ || !request_.keep_alive || (end_of_input_ && in_begin_ == in_end_));
  pump();
}

// Puts response_ behind what is still to be sent.
void Connection::append_answer(bool close) {
  last_answer_ = last_answer_ || close;
  count_answer();
  const Persistence persistence = close               ? Persistence::close
                                  : request_.http_1_0 ? Persistence::keep_alive
                                                      : Persistence::implied;
  const bool with_body = request_.method != Method::head;
  if (with_body && out_.empty() && response_.body.size() > kKeptOutputBytes) {
    // A page of many megabytes: no second copy of it.
    std::string head;
    host_.head.append(head, response_, persistence, host_.wall_ms());
    out_ = std::move(response_.body.insert(0, head));
    response_.body = std::string();
    return;
  }
  host_.head.append(out_, response_, persistence, host_.wall_ms());
  if (with_body) {
    out_ += response_.body;
  }
  if (response_.body.capacity() > kKeptOutputBytes) {
    response_.body = std::string();
  }
}

void Connection::answer_and_close(const Problem& problem) {
  request_.method = Method::other;  // whatever it was to be: this answer has a body
  response_.set_problem(problem);
  release_body();
  refused_ = true;
  append_answer(true);
}

// Does all that can be done without waiting. finish() called from within the routes ends here too, and then leaves the
// rest to the pump that is on the stack.
void Connection::pump() {
  if (pumping_ || closed_) {
    return;
  }
  const auto self = shared_from_this();
  pumping_ = true;
  starved_ = false;
  do {
    handle_buffered();
  } while (flush() && (stream_ ? fill_from_stream() : !busy_ && !last_answer_ && !starved_));
  pumping_ = false;
  if (!closed_) {
    settle();
  }
}

void Connection::handle_buffered() {
  while (!busy_ && !last_answer_ && !starved_ && out_.size() < kOutputHighBytes) {
    handle_one();
  }
}

void Connection::handle_one() {
  std::size_t used = 0;
  const auto result = reader_.read(std::string_view(in_.data() + in_begin_, in_end_ - in_begin_), used);
  in_begin_ += used;
  if (!count_body()) {
    Problem problem;
    problem.kind = ProblemKind::too_many_connections;
    problem.detail = "The requests that are still arriving hold as much memory as they may; try again.";
    return answer_and_close(problem);
  }
  switch (result) {
    case RequestReader::Result::need_more:
      starved_ = true;
      if (reader_.take_expects_continue()) {
        out_ += "HTTP/1.1 100 Continue\r\n\r\n";
      }
      return;
    case RequestReader::Result::refused:
      return answer_and_close(reader_.problem());
    case RequestReader::Result::complete:
      break;
  }
  if (host_.output_bytes > kMaxOutputBytes) {
    Problem problem;
    problem.kind = ProblemKind::too_many_connections;
    problem.detail = "Too many answers wait for callers who do not read them; try again.";
    return answer_and_close(problem);
  }
  deadline_kind_ = Deadline::none;
  set_busy(true);
  ++host_.counters.requests;
  response_.reset();
  complete_caller();
  routes_.handle(request_, std::static_pointer_cast<Exchange>(shared_from_this()));
  release_body();
}

// Sends what there is. Returns true when all of it is sent.
bool Connection::flush() {
  while (!closed_ && output_pending()) {
    error_code error;
    const std::size_t bytes = socket_.write_some(boost::asio::buffer(out_.data() + sent_, out_.size() - sent_), error);
    if (error == boost::asio::error::would_block) {
      return false;
    }
    if (error) {
      close();
      return false;
    }
    sent_ += bytes;
  }
  sent_ = 0;
  out_.clear();
  if (out_.capacity() > kKeptOutputBytes && !stream_) {
    out_.shrink_to_fit();
  }
  return !closed_;
}

void Connection::count_output() {
  host_.output_bytes += out_.size() - counted_;
  counted_ = out_.size();
}

// Nothing more can be done now: decides what to wait for, and until when.
void Connection::settle() {
  count_output();
  if (end_of_input_ && in_begin_ == in_end_) {
    report_gone();
  }
  if (output_pending()) {
    // A stream waits for its reader as long as it takes: it has a place of its own in what is to be read.
    if (deadline_kind_ != Deadline::write && !stream_) {
      set_deadline(Deadline::write, limits_.write_timeout);
    }
    return arm_write();
  }
  if (last_answer_) {
    return refused_ ? begin_linger() : close();
  }
  if (busy_) {
    deadline_kind_ = Deadline::none;
    return look_for_hangup_in_turn();
  }
  const bool in_request = reader_.in_request() || in_begin_ != in_end_;
  if (end_of_input_ || (draining_ && !in_request)) {
    return close();
  }
  if (!in_request) {
    deadline_kind_ = Deadline::none;
  } else if (deadline_kind_ != Deadline::request) {
    set_deadline(Deadline::request, limits_.request_timeout);
  }
  read_in_turn();
}

void Connection::set_busy(bool busy) {
  busy_ = busy;
  host_.unanswered += busy ? 1 : -1;
}

// Closing with something unread in the socket would break the caller's pipe before it has read why. So what it still
// sends is thrown away until it hangs up too, or too long.
void Connection::begin_linger() {
  if (lingering_) {
    return;
  }
  lingering_ = true;
  error_code ignored;
  socket_.shutdown(Socket::shutdown_send, ignored);
  if (end_of_input_) {
    return close();
  }
  set_deadline(Deadline::linger, limits_.linger_timeout);
  arm_read();
}

void Connection::arm_write() {
  if (writing_) {
    return;
  }
  writing_ = true;
  socket_.async_wait(Socket::wait_write, [self = shared_from_this()](const error_code& error) {
    self->writing_ = false;
    if (self->closed_) {
      return;
    }
    if (error) {
      return self->close();
    }
    self->deadline_kind_ = Deadline::none;  // the caller took something
    self->pump();
  });
}

void Connection::set_deadline(Deadline kind, std::chrono::milliseconds after) {
  deadline_kind_ = kind;
  deadline_ = Clock::now() + after;
  host_.watch_deadlines();
}

bool Connection::sweep(Clock::time_point now) {
  if (closed_ || deadline_kind_ == Deadline::none) {
    return false;
  }
  if (now < deadline_) {
    return true;
  }
  if (deadline_kind_ != Deadline::request) {
    close();
    return false;
  }
  Problem problem;
  problem.kind = ProblemKind::timeout;
  problem.detail =
      "The request was not complete " + std::to_string(limits_.request_timeout.count()) + " ms after its first byte.";
  answer_and_close(problem);
  pump();
  return !closed_ && deadline_kind_ != Deadline::none;
}

void Connection::drain() {
  draining_ = true;
  if (lingering_) {
    return close();
  }
  if (stream_) {
    fill_from_stream();
  }
  if (stream_) {
    end_stream();
  }
  pump();
}

void Connection::close() {
  if (closed_) {
    return;
  }
  const auto self = shared_from_this();
  closed_ = true;
  if (busy_) {
    set_busy(false);
  }
  host_.output_bytes -= counted_;
  stream_.reset();
  release_body();
  error_code ignored;
  socket_.close(ignored);
  report_gone();
  host_.closed(*this);
}

void Connection::report_gone() {
  if (!std::exchange(gone_, true)) {
    host_.caller_gone(*this);
  }
}

}  // namespace limpet::api
