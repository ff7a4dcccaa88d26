// The way to the agent: one blocking HTTP/1.1 request on the unix socket, on a connection of its own.
//
// Made in main, used by the one thread of the program. What the agent answers, an error status as well, is an Answer;
// where there is no answer, Unreachable says why in words that a newcomer can act on. Throws nothing.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace limpet::cli {

enum class Method { get, put, post, del };

struct Request {
  Method method = Method::get;
  std::string target;               // path and query, percent-encoded
  std::optional<std::string> body;  // JSON
  // How long the server was asked to wait; added to the time in which it has to answer.
  std::chrono::milliseconds server_wait{0};
};

struct Answer {
  unsigned status = 0;
  std::string body;
  std::string retry_after;  // the header, or empty

  bool ok() const { return status >= 200 && status < 300; }
};

struct Unreachable {
  std::string why;   // first line: what is wrong; further lines: what to do
  bool cut = false;  // the agent took the connection, and closed it without a word
};

class Client {
 public:
  // `origin` says where `socket_path` comes from, for messages: "--socket", "LIMPET_SOCKET", or empty for the default.
  Client(std::string socket_path, std::string origin, std::chrono::milliseconds answer_timeout)
      : path_(std::move(socket_path)), origin_(std::move(origin)), answer_timeout_(answer_timeout) {}

  const std::string& socket_path() const { return path_; }

  // Blocks until the answer is there, or for answer_timeout and the request's server_wait. Where the agent stops under
  // it, asks once more: it may be a restart, and the next agent have the answer.
  std::variant<Answer, Unreachable> call(const Request& request) const;

  // Gives each line of a stream to `on_line` as it comes, until that says false: then an Answer of 200. An Answer of
  // another status where there is no stream; Unreachable when there is no answer, or when the stream ends. Blocks.
  std::variant<Answer, Unreachable> follow(const Request& request,
                                           const std::function<bool(std::string_view)>& on_line) const;

 private:
  std::variant<Answer, Unreachable> call_once(const Request& request) const;

  // Constant after construction.
  const std::string path_;
  const std::string origin_;
  const std::chrono::milliseconds answer_timeout_;
};

}  // namespace limpet::cli
