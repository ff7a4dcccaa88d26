#include "agent/cli/client.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <cerrno>
#include <cstring>
#include <thread>

#include "agent/cli/times.h"
#include "agent/cli/unreachable.h"

namespace limpet::cli {

namespace {

namespace beast = boost::beast;
namespace http = beast::http;
using Protocol = boost::asio::local::stream_protocol;
using Stream = beast::basic_stream<Protocol>;

// Long enough for any wait that makes sense, short enough for the clocks' arithmetic.
constexpr std::chrono::hours kLongestWait{24 * 365};
constexpr std::uint32_t kHeaderLimit = 64 * 1024;

http::verb verb_of(Method method) {
  switch (method) {
    case Method::get:
      return http::verb::get;
    case Method::put:
      return http::verb::put;
    case Method::post:
      return http::verb::post;
    case Method::del:
      return http::verb::delete_;
  }
  return http::verb::get;
}

// Connects `fd`; returns 0 or the errno. Not by Asio: a unix socket whose backlog is full makes a non-blocking connect
// fail with EAGAIN, which Asio takes for "in progress". The kernel heeds SO_SNDTIMEO here, so it cannot block for ever.
int connect_to(int fd, const std::string& path, std::chrono::milliseconds timeout) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) {
    return ENAMETOOLONG;
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  const auto timeout_ms = std::max<std::int64_t>(timeout.count(), 1);
  timeval limit{};
  limit.tv_sec = static_cast<time_t>(timeout_ms / 1000);
  limit.tv_usec = static_cast<suseconds_t>(timeout_ms % 1000 * 1000);
  if (::setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0) {
    return errno;
  }
  while (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    if (errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

http::request<http::string_body> to_http(const Request& request) {
  http::request<http::string_body> result(verb_of(request.method), request.target, 11);
  result.set(http::field::host, "localhost");
  result.set(http::field::user_agent, "limpet/" LIMPET_VERSION);
  result.set(http::field::accept, "application/json");
  result.keep_alive(false);
  if (request.body) {
    result.set(http::field::content_type, "application/json");
    result.body() = *request.body;
  }
  result.prepare_payload();
  return result;
}

// Closed without a word of an answer.
bool means_cut(const beast::error_code& failure) {
  return failure == http::error::end_of_stream || failure == boost::asio::error::connection_reset ||
         failure == boost::asio::error::broken_pipe || failure == boost::asio::error::eof;
}

std::string explain(const beast::error_code& failure, std::chrono::milliseconds patience) {
  const std::string unknown_outcome =
      "Whether a change was accepted is not known; the same command again is safe. See `systemctl status limpet` and "
      "`journalctl -u limpet`.";
  if (failure == beast::error::timeout) {
    return fmt::format("the agent accepted the connection, but did not answer within {}.\n{}",
                       format_duration(patience.count()), unknown_outcome);
  }
  if (means_cut(failure) || failure == http::error::partial_message) {
    return fmt::format("the agent closed the connection without an answer: it is stopping, or died.\n{}",
                       unknown_outcome);
  }
  return fmt::format("what listens there does not answer as limpetd does ({}).\nIs this limpetd's socket?",
                     failure.message());
}

// One request on a connection of its own, step by step.
class Exchange {
 public:
  explicit Exchange(const std::string& path) : path_(path), stream_(io_) {}

  // Connects and writes the request; what failed, in words. `patience` is for all of it until the answer's head.
  std::optional<Unreachable> send(const Request& request, const std::string& origin, std::chrono::milliseconds connect,
                                  std::chrono::milliseconds patience) {
    beast::error_code failure;
    stream_.socket().open(Protocol(), failure);
    if (failure) {
      return Unreachable{fmt::format("cannot make a socket: {}", failure.message())};
    }
    if (const int error_number = connect_to(stream_.socket().native_handle(), path_, connect); error_number != 0) {
      return Unreachable{explain_connect_failure(error_number, path_, origin)};
    }
    patience_ = patience;
    stream_.expires_after(patience);
    const http::request<http::string_body> message = to_http(request);
    // A server that refuses a request early (413) answers and closes before it has read everything: that the write
    // failed does not mean that there is no answer.
    http::async_write(stream_, message, [this](beast::error_code ec, std::size_t) { failure_ = ec; });
    return run() == beast::error::timeout ? std::optional(lost(failure_)) : std::nullopt;
  }

  template <typename Parser>
  beast::error_code read_head(Parser& parser) {
    http::async_read_header(stream_, buffer_, parser, [this](beast::error_code ec, std::size_t) { failure_ = ec; });
    return run();
  }
  template <typename Parser>
  beast::error_code read_all(Parser& parser) {
    http::async_read(stream_, buffer_, parser, [this](beast::error_code ec, std::size_t) { failure_ = ec; });
    return run();
  }
  template <typename Parser>
  beast::error_code read_some(Parser& parser) {
    http::async_read_some(stream_, buffer_, parser, [this](beast::error_code ec, std::size_t) { failure_ = ec; });
    return run();
  }
  void without_time_limit() { stream_.expires_never(); }

  Unreachable lost(const beast::error_code& failure) const {
    return Unreachable{fmt::format("{}: {}", path_, explain(failure, patience_)), means_cut(failure)};
  }

 private:
  beast::error_code run() {
    failure_ = {};
    io_.restart();
    io_.run();
    return failure_;
  }

  const std::string& path_;
  boost::asio::io_context io_;
  Stream stream_;
  beast::flat_buffer buffer_;
  beast::error_code failure_;  // of the last step
  std::chrono::milliseconds patience_{0};
};

Answer to_answer(http::response<http::string_body> response) {
  Answer answer;
  answer.status = response.result_int();
  answer.retry_after = std::string(response[http::field::retry_after]);
  answer.body = std::move(response.body());
  return answer;
}

// Hands out the whole lines of what comes in.
class Lines {
 public:
  explicit Lines(const std::function<bool(std::string_view)>& on_line) : on_line_(on_line) {}
  // False when the reader has had enough.
  bool add(std::string_view bytes) {
    rest_ += bytes;
    std::size_t start = 0;
    for (std::size_t end = 0; (end = rest_.find('\n', start)) != std::string::npos; start = end + 1) {
      if (end > start && !on_line_(std::string_view(rest_).substr(start, end - start))) {
        return false;
      }
    }
    rest_.erase(0, start);
    return true;
  }

 private:
  const std::function<bool(std::string_view)>& on_line_;
  std::string rest_;
};

// The agent went while it had the request, and asking again does no harm: it did nothing, or the same again changes
// nothing. (Of a DELETE that was cut off, the second would be told that there is nothing to delete.)
bool stopped_under(const Request& request, const std::variant<Answer, Unreachable>& outcome) {
  if (const auto* unreachable = std::get_if<Unreachable>(&outcome)) {
    return unreachable->cut && (request.method == Method::get || request.method == Method::put);
  }
  const auto& answer = std::get<Answer>(outcome);
  return answer.status == 503 && answer.body.find(R"("code":"shutting_down")") != std::string::npos;
}

}  // namespace

std::variant<Answer, Unreachable> Client::call(const Request& request) const {
  auto outcome = call_once(request);
  if (!stopped_under(request, outcome)) {
    return outcome;
  }
  // Until the old one has let go of the socket; where systemd holds it, the request waits in there for the next.
  constexpr std::chrono::milliseconds kPause(200);
  std::this_thread::sleep_for(kPause);
  auto again = call_once(request);
  return std::holds_alternative<Answer>(again) ? again : outcome;
}

std::variant<Answer, Unreachable> Client::call_once(const Request& request) const {
  const auto patience = answer_timeout_ + std::min<std::chrono::milliseconds>(request.server_wait, kLongestWait);
  Exchange exchange(path_);
  if (auto unreachable = exchange.send(request, origin_, answer_timeout_, patience)) {
    return *std::move(unreachable);
  }
  http::response_parser<http::string_body> parser;
  parser.body_limit(boost::none);
  parser.header_limit(kHeaderLimit);
  if (const beast::error_code failure = exchange.read_all(parser)) {
    return exchange.lost(failure);
  }
  return to_answer(parser.release());
}

std::variant<Answer, Unreachable> Client::follow(const Request& request,
                                                 const std::function<bool(std::string_view)>& on_line) const {
  Exchange exchange(path_);
  if (auto unreachable = exchange.send(request, origin_, answer_timeout_, answer_timeout_)) {
    return *std::move(unreachable);
  }
  http::response_parser<http::empty_body> head;
  head.body_limit(boost::none);
  head.header_limit(kHeaderLimit);
  if (const beast::error_code failure = exchange.read_head(head)) {
    return exchange.lost(failure);
  }
  if (head.get().result() != http::status::ok) {
    http::response_parser<http::string_body> refusal(std::move(head));
    if (const beast::error_code failure = exchange.read_all(refusal)) {
      return exchange.lost(failure);
    }
    return to_answer(refusal.release());
  }
  http::response_parser<http::buffer_body> parser(std::move(head));
  exchange.without_time_limit();
  Lines lines(on_line);
  std::array<char, 16 * 1024> chunk{};
  while (!parser.is_done()) {
    parser.get().body().data = chunk.data();
    parser.get().body().size = chunk.size();
    const beast::error_code failure = exchange.read_some(parser);
    const std::size_t count = chunk.size() - parser.get().body().size;
    if (!lines.add(std::string_view(chunk.data(), count))) {
      return Answer{200, "", ""};
    }
    if (failure && failure != http::error::need_buffer) {
      break;
    }
  }
  return Unreachable{fmt::format("{}: the agent ended the stream: it is stopping, or died.", path_)};
}

}  // namespace limpet::cli
