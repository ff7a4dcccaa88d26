// Takes HTTP/1.x requests out of a stream of bytes, piece by piece, within limits.
//
// The head is read by Boost.Beast's basic_parser, whole lines at a time and always from its start, so that the outcome
// does not depend on how the bytes came. The body is framed here: Beast 1.81's own chunk reader asserts on some partial
// inputs, and whatever two servers could read differently (two lengths, a length beside chunks, an unknown transfer
// coding) is refused. One reader for each connection; core thread.
#pragma once

#include <cstdint>
#include <string_view>

#include "agent/api/http_message.h"

namespace limpet::api {

// A body up to this size is not counted against the memory that bodies share, and its buffer is kept.
inline constexpr std::size_t kSmallBodyBytes = 16 * 1024;

struct RequestLimits {
  std::size_t max_header_bytes = 16 * 1024;
  std::size_t max_body_bytes = 1024 * 1024;
};

class RequestReader {
 public:
  enum class Result {
    need_more,  // everything useful was taken; what is left over must be presented again with more behind it
    complete,   // `request` is whole
    refused,    // problem() says why; the stream cannot be read any further
  };

  // `request` is filled in; it and `limits` must outlive this.
  RequestReader(Request& request, const RequestLimits& limits);
  RequestReader(const RequestReader&) = delete;
  RequestReader& operator=(const RequestReader&) = delete;

  // Reads on at the start of `bytes` and sets `used` to the number of bytes taken. After `complete` the next call
  // begins the next request.
  Result read(std::string_view bytes, std::size_t& used);

  // Takes the rest of this request's body without keeping it: the request will be `complete` without one.
  void discard_body();
  // True when some but not all of a request was taken.
  bool in_request() const { return stage_ != Stage::idle; }
  // True, once for each request, when its sender waits for "100 Continue" before it sends the body.
  bool take_expects_continue();
  const Problem& problem() const { return problem_; }

 private:
  class Head;
  enum class Stage { idle, head, sized_body, chunk_size, chunk_data, chunk_end, trailer };

  Result read_head(std::string_view bytes, std::size_t& used);
  Result begin_body(const Head& head);
  void take_body(std::string_view bytes);
  Result read_sized_body(std::string_view bytes, std::size_t& used);
  Result read_chunks(std::string_view bytes, std::size_t& used);
  // One line of at most `max_bytes` out of bytes[used…]: without its CRLF, `used` moved past it.
  enum class Line { whole, partial, bad };
  static Line take_line(std::string_view bytes, std::size_t& used, std::size_t max_bytes, std::string_view& line);
  bool parse_chunk_size(std::string_view line);
  Result refuse(ProblemKind kind, std::string detail);

  Request& request_;
  const RequestLimits& limits_;
  Stage stage_ = Stage::idle;
  std::size_t searched_ = 0;      // bytes of the head in which the end of a line was looked for
  std::size_t header_bytes_ = 0;  // of this request, with its trailer
  std::uint64_t body_left_ = 0;   // of the sized body or of the chunk
  std::size_t body_bytes_ = 0;    // of this request, so far
  bool discarding_ = false;       // body bytes are counted and not kept
  bool expects_continue_ = false;
  Problem problem_;
};

}  // namespace limpet::api
