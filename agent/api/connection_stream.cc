// Connection: answers that are streams.
#include <boost/asio/post.hpp>
#include <cassert>
#include <charconv>

#include "agent/api/connection.h"

namespace limpet::api {

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
  pump();
}

void Connection::resume_stream() {
  if (closed_ || std::exchange(resuming_, true)) {
    return;
  }
  boost::asio::post(socket_.get_executor(), [self = shared_from_this()] {
    self->resuming_ = false;
    self->pump();
  });
}

// Takes what the stream has. Returns true where there is something to send again.
bool Connection::fill_from_stream() {
  std::string piece;
  const bool goes_on = stream_->take(piece);
  if (!piece.empty() && request_.http_1_0) {
    out_ += piece;
  } else if (!piece.empty()) {
    char digits[16];
    out_.append(digits, std::to_chars(digits, digits + sizeof digits, piece.size(), 16).ptr);
    out_ += "\r\n";
    out_ += piece;
    out_ += "\r\n";
  }
  if (!goes_on) {
    end_stream();
  }
  return output_pending() || !goes_on;
}

void Connection::end_stream() {
  if (!request_.http_1_0) {
    out_ += "0\r\n\r\n";
  }
  stream_.reset();
  set_busy(false);
  last_answer_ = true;
}

}  // namespace limpet::api
