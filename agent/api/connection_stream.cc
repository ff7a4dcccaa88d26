// Connection: answers that are made piece by piece.
#include <cassert>
#include <charconv>

#include "agent/api/connection.h"

namespace limpet::api {
namespace {

// Up to this size an answer is made as a whole and sent with its length, as far as its user has room for that.
constexpr std::size_t kCollectedBytes = 2 * 1024 * 1024;

}  // namespace

void Connection::finish_in_pieces(std::shared_ptr<Stream> stream) {
  if (closed_) {
    return;
  }
  assert(busy_ && !stream_);
  stream_ = std::move(stream);
  stream_waits_ = false;
  answering_ = Answering::collecting;
  go_on();
}

void Connection::begin_stream(std::shared_ptr<Stream> stream) {
  if (closed_) {
    return;
  }
  assert(busy_ && !stream_);
  if (request_.method == Method::head || draining_) {
    return finish();
  }
  const Framing framing = request_.http_1_0 ? Framing::until_close : Framing::chunked;
  host_.head.append(out_, response_, Persistence::close, host_.wall_ms(), framing);
  stream_ = std::move(stream);
  stream_waits_ = false;
  answering_ = Answering::endless;
  go_on();
}

void Connection::resume_stream() {
  if (!closed_ && std::exchange(stream_waits_, false)) {
    take_turn_later();
  }
}

std::size_t Connection::collected_most() const {
  const bool ample = host_.output.of(request_.caller) <= host_.output.per_uid() / 2 &&
                     host_.output.ask(request_.caller, kCollectedBytes) == Shares::Answer::taken;
  return ample ? kCollectedBytes : kPieceBytes;
}

void Connection::collect_piece() {
  const std::size_t before = response_.body.size();
  switch (stream_->take(response_.body)) {
    case Stream::Next::more:
      stream_waits_ = response_.body.size() == before;
      if (response_.body.size() >= collected_most()) {
        begin_pieces();
      }
      return;
    case Stream::Next::broken:
      response_.set_problem(stream_->problem());
      break;
    case Stream::Next::end:
      break;
  }
  stream_.reset();
  answering_ = Answering::whole;
  finish();
}

// What is collected is the first piece.
void Connection::begin_pieces() {
  answering_ = Answering::pieces;
  give_back_body();
  count_answer();
  const bool close = closes_after_answer() || request_.http_1_0;
  const Framing framing = request_.http_1_0 ? Framing::until_close : Framing::chunked;
  host_.head.append(out_, response_, close ? Persistence::close : Persistence::implied, host_.wall_ms(), framing);
  const std::string body = std::exchange(response_.body, {});
  if (request_.method == Method::head) {
    stream_.reset();
    answering_ = Answering::whole;
    last_answer_ = last_answer_ || close;
    return set_busy(false);
  }
  append_chunk(body);
}

void Connection::send_piece() {
  std::string piece;
  const Stream::Next next = stream_->take(piece);
  append_chunk(piece);
  stream_waits_ = piece.empty();
  if (next == Stream::Next::broken) {
    return close();  // without the end that a whole answer has
  }
  if (next == Stream::Next::end) {
    end_stream();
  }
}

void Connection::append_chunk(std::string_view piece) {
  if (piece.empty() || request_.http_1_0) {
    out_ += piece;
    return;
  }
  char digits[16];
  out_.append(digits, std::to_chars(digits, digits + sizeof digits, piece.size(), 16).ptr);
  out_ += "\r\n";
  out_ += piece;
  out_ += "\r\n";
}

void Connection::end_stream() {
  if (!request_.http_1_0) {
    out_ += "0\r\n\r\n";
  }
  last_answer_ = last_answer_ || answering_ == Answering::endless || request_.http_1_0 || closes_after_answer();
  stream_.reset();
  stream_waits_ = false;
  answering_ = Answering::whole;
  set_busy(false);
}

}  // namespace limpet::api
