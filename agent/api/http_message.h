// A request and its answer, as they pass between a connection (connection.h) and the routes (routes.h).
//
// All on the core thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "agent/api/peer.h"
#include "agent/api/problem.h"
#include "agent/core/types.h"

namespace limpet::api {

enum class Method { get, head, put, post, delete_, other };

// One complete request. Its strings are the connection's and keep their capacity from one request to the next.
struct Request {
  Method method = Method::other;
  std::string target;        // as it was sent
  std::string content_type;  // empty: none was given
  std::string body;
  bool keep_alive = true;
  bool http_1_0 = false;
  core::Caller caller;
  std::int64_t connected_ms = 0;  // when its connection was accepted, by the clock that counts from the machine's boot
};

struct Response {
  int status = 200;
  std::string_view content_type = "application/json";  // static text
  std::string allow;                                   // of a 405
  int retry_after_s = 0;                               // 0: no such header
  std::optional<ProblemKind> problem;                  // which it tells of, if it does
  std::string body;

  // Back to an empty 200; keeps the body's capacity.
  void reset();
  // Makes it the answer that says so.
  void set_problem(const Problem& told);
};

// An answer that is made piece by piece as its reader takes it.
class Stream {
 public:
  enum class Next { more, end, broken };

  virtual ~Stream() = default;
  // Appends the next piece, of kPieceBytes or little more. Where that is nothing, Exchange::resume_stream() says when
  // to ask again. `end`: nothing will ever come after it. `broken`: the rest cannot be made, and problem() says why.
  virtual Next take(std::string& out) = 0;
  // How much it keeps in memory between two pieces.
  virtual std::size_t held_bytes() const { return 0; }
  virtual Problem problem() const { return {}; }
};
inline constexpr std::size_t kPieceBytes = 64 * 1024;

// The answering side of one request. Held by shared_ptr; whoever answers later keeps a weak_ptr, because the caller may
// hang up in between.
class Exchange {
 public:
  virtual ~Exchange() = default;
  // Empty until filled.
  virtual Response& response() = 0;
  // Sends response(). Once for each request.
  virtual void finish() = 0;
  // In place of finish(), for what may be large: sends response() with the body that `stream` makes; with its length in
  // front where it is short, in chunks otherwise. A broken stream is answered by its problem, or cuts the connection
  // where part of the answer was sent. Holds `stream` until its end.
  virtual void finish_in_pieces(std::shared_ptr<Stream> stream) = 0;
  // Where the caller runs. Looks into /proc.
  virtual PeerPlace place_of_caller() = 0;
  // In place of finish(): sends the head of response() and then what `stream` gives, until it ends, the caller hangs up
  // or the server stops; the connection ends with it. Holds `stream` until then.
  virtual void begin_stream(std::shared_ptr<Stream> stream) = 0;
  // Whether this caller may be given a large answer: those of its user that are not read yet leave room for one.
  virtual bool has_room() const = 0;
  // There is something to take from the stream. Does not call it at once. Idempotent.
  virtual void resume_stream() = 0;
};

// What an answer says of its connection: nothing, as HTTP/1.1 goes on by itself, or one of these.
enum class Persistence { implied, keep_alive, close };

// How an answer's end is known: by its length, by chunks, or (HTTP/1.0) by the end of the connection.
enum class Framing { sized, chunked, until_close };

// Makes the head of answers. Keeps the text of the Date header for as long as its second lasts.
class ResponseHead {
 public:
  // Appends status line and headers, up to and with the empty line.
  void append(std::string& out, const Response& response, Persistence persistence, WallMs now,
              Framing framing = Framing::sized);

 private:
  std::int64_t date_s_ = -1;
  std::string date_;
};

}  // namespace limpet::api
