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
  hears_renewal_ = problem.kind == ProblemKind::too_many_connections;
  answer_and_close(problem);
  go_on();
}

void Connection::finish() {
  if (closed_) {
    return;
  }
  assert(busy_ && !stream_);
  set_busy(false);
  append_answer(closes_after_answer());
  go_on();
}

bool Connection::closes_after_answer() const {
  return draining_ || !request_.keep_alive || (end_of_input_ && in_begin_ == in_end_);
}

// Puts response_ behind what is still to be sent.
void Connection::append_answer(bool close) {
  last_answer_ = last_answer_ || close;
  give_back_body();
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
  free_body();
  refused_ = true;
  append_answer(true);
}

bool Connection::take_turn(const Turn& turn) {
  turn_queued_ = false;
  if (!closed_ && (readable_ || !has_work()) && !output_pending() && !last_answer_) {
    receive();
  }
  if (!pump(&turn) || turn_queued_) {
    return false;
  }
  turn_queued_ = true;
  return true;
}

// Sends what there is and, within a turn, does what there is to do. True: there is more to do, in another turn. What
// calls it from within, as finish() does within the routes, leaves everything to the pump that is on the stack.
bool Connection::pump(const Turn* turn) {
  if (pumping_ || closed_) {
    return false;
  }
  const auto self = shared_from_this();
  pumping_ = true;
  bool over = turn == nullptr;
  do {
    while (!over && has_work() && out_.size() < kOutputHighBytes) {
      work();
      over = turn->over();
    }
  } while (flush() && has_work() && !over);
  pumping_ = false;
  if (closed_) {
    return false;
  }
  count_output();
  if (!output_pending() && has_work()) {
    return true;
  }
  settle();
  return false;
}

// Outside of a turn.
void Connection::go_on() {
  if (pump(nullptr)) {
    take_turn_later();
  }
}

bool Connection::has_work() const {
  if (closed_ || stream_) {
    return !closed_ && !stream_waits_;
  }
  return !busy_ && !last_answer_ && !starved_ && in_begin_ != in_end_;
}

void Connection::work() {
  switch (answering_) {
    case Answering::whole:
      return handle_one();
    case Answering::collecting:
      return collect_piece();
    case Answering::pieces:
    case Answering::endless:
      return send_piece();
  }
}

void Connection::handle_one() {
  std::size_t used = 0;
  const auto result = reader_.read(std::string_view(in_.data() + in_begin_, in_end_ - in_begin_), used);
  in_begin_ += used;
  if (result != RequestReader::Result::refused && !body_refused_ && !count_body()) {
    body_refused_ = true;
    free_body();
    reader_.discard_body();
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
  deadline_kind_ = Deadline::none;
  ++host_.counters.requests;
  response_.reset();
  if (std::exchange(body_refused_, false)) {
    Problem problem;
    problem.kind = ProblemKind::too_many_connections;
    problem.detail =
        "The user's requests that are still arriving or not answered yet, and answers that are not read, hold as much "
        "memory as one user's may; read the answers and try again.";
    response_.set_problem(problem);
    return append_answer(closes_after_answer());
  }
  set_busy(true);
  complete_caller();
  routes_.handle(request_, std::static_pointer_cast<Exchange>(shared_from_this()));
  free_body();
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
    taken_ += bytes;
  }
  sent_ = 0;
  out_.clear();
  if (out_.capacity() > kKeptOutputBytes && !stream_) {
    out_.shrink_to_fit();
  }
  return !closed_;
}

void Connection::count_output() {
  const std::size_t bytes = out_.size() + (answering_ == Answering::collecting ? response_.body.size() : 0) +
                            (stream_ ? stream_->held_bytes() : 0);
  if (bytes > counted_) {
    host_.output.add(request_.caller, bytes - counted_);
  } else {
    host_.output.give_back(request_.caller, counted_ - bytes);
  }
  counted_ = bytes;
}

bool Connection::has_room() const {
  return host_.output.ask(request_.caller, kPieceBytes) == Shares::Answer::taken;
}

// Nothing more can be done now: decides what to wait for, and until when.
void Connection::settle() {
  if (end_of_input_ && in_begin_ == in_end_) {
    report_gone();
  }
  if (output_pending()) {
    // An endless stream has a place of its own in what is to be read, and may wait as long as it takes.
    if (answering_ != Answering::endless) {
      demand_rate();
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
  if (!reading_) {
    take_turn_later();
  }
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
    self->go_on();
  });
}

void Connection::set_deadline(Deadline kind, std::chrono::milliseconds after) {
  deadline_kind_ = kind;
  deadline_ = Clock::now() + after;
  host_.watch_deadlines();
}

// Of a caller who takes little by little: each write_bytes within the time, however much is still to come.
void Connection::demand_rate() {
  if (deadline_kind_ != Deadline::write || taken_ >= limits_.write_bytes) {
    set_deadline(Deadline::write, limits_.write_timeout);
    taken_ = 0;
  }
}

bool Connection::sweep(Clock::time_point now) {
  if (closed_ || deadline_kind_ == Deadline::none) {
    return false;
  }
  const bool waits_for_us = turn_queued_ && deadline_kind_ != Deadline::linger;
  if (now < deadline_ || waits_for_us) {
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
  go_on();
  return !closed_ && deadline_kind_ != Deadline::none;
}

void Connection::drain() {
  draining_ = true;
  if (lingering_) {
    return close();
  }
  if (answering_ == Answering::endless) {
    send_piece();
  }
  if (answering_ == Answering::endless) {
    end_stream();
  }
  go_on();
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
  stream_.reset();
  answering_ = Answering::whole;
  host_.output.give_back(request_.caller, std::exchange(counted_, 0));
  free_body();
  give_back_body();
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
