#include "agent/cli/client.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <cerrno>
#include <cstring>

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

std::string explain(const beast::error_code& failure, std::chrono::milliseconds patience) {
  const std::string unknown_outcome =
      "Whether a change was accepted is not known; the same command again is safe. See `systemctl status limpetd` and "
      "`journalctl -u limpetd`.";
  if (failure == beast::error::timeout) {
    return fmt::format("the agent accepted the connection, but did not answer within {}.\n{}",
                       format_duration(patience.count()), unknown_outcome);
  }
  const bool cut = failure == http::error::end_of_stream || failure == http::error::partial_message ||
                   failure == boost::asio::error::connection_reset || failure == boost::asio::error::broken_pipe ||
                   failure == boost::asio::error::eof;
  if (cut) {
    return fmt::format("the agent closed the connection without an answer: it is stopping, or died.\n{}",
                       unknown_outcome);
  }
  return fmt::format("what listens there does not answer as limpetd does ({}).\nIs this limpetd's socket?",
                     failure.message());
}

}  // namespace

std::variant<Answer, Unreachable> Client::call(const Request& request) const {
  boost::asio::io_context io;
  Stream stream(io);
  beast::error_code failure;
  stream.socket().open(Protocol(), failure);
  if (failure) {
    return Unreachable{fmt::format("cannot make a socket: {}", failure.message())};
  }
  if (const int error_number = connect_to(stream.socket().native_handle(), path_, answer_timeout_); error_number != 0) {
    return Unreachable{explain_connect_failure(error_number, path_, origin_)};
  }

  const http::request<http::string_body> message = to_http(request);
  const auto patience = answer_timeout_ + std::min<std::chrono::milliseconds>(request.server_wait, kLongestWait);
  stream.expires_after(patience);
  // A server that refuses a request early (413) answers and closes before it has read everything: that the write failed
  // does not mean that there is no answer.
  beast::error_code write_failure;
  http::async_write(stream, message, [&](beast::error_code ec, std::size_t) { write_failure = ec; });
  io.run();

  http::response_parser<http::string_body> parser;
  parser.body_limit(boost::none);
  parser.header_limit(64 * 1024);
  beast::flat_buffer buffer;
  if (write_failure != beast::error::timeout) {
    io.restart();
    http::async_read(stream, buffer, parser, [&](beast::error_code ec, std::size_t) { failure = ec; });
    io.run();
  } else {
    failure = write_failure;
  }
  if (failure) {
    return Unreachable{fmt::format("{}: {}", path_, explain(failure, patience))};
  }
  http::response<http::string_body> response = parser.release();
  Answer answer;
  answer.status = response.result_int();
  answer.retry_after = std::string(response[http::field::retry_after]);
  answer.body = std::move(response.body());
  return answer;
}

}  // namespace limpet::cli
