// A small blocking HTTP/1.1 client over a unix socket, for tests that talk to the real agent. One request at a time on
// one kept connection, which is opened anew when it broke. Not thread-safe: one per thread.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace limpet::test {

struct HttpAnswer {
  int status = 0;  // 0: no answer (connection refused or cut)
  std::string body;
  std::string content_type;
  nlohmann::json json() const { return nlohmann::json::parse(body, nullptr, false); }
};

class UnixHttp {
 public:
  explicit UnixHttp(std::string socket_path) : path_(std::move(socket_path)) {}
  ~UnixHttp();
  UnixHttp(const UnixHttp&) = delete;
  UnixHttp& operator=(const UnixHttp&) = delete;

  HttpAnswer get(const std::string& target) { return call("GET", target, ""); }
  HttpAnswer put(const std::string& target, const std::string& body) { return call("PUT", target, body); }
  HttpAnswer post(const std::string& target, const std::string& body) { return call("POST", target, body); }
  HttpAnswer del(const std::string& target) { return call("DELETE", target, ""); }
  HttpAnswer call(const std::string& method, const std::string& target, const std::string& body);

  // Writes `bytes` as they are and reads one answer.
  HttpAnswer raw(const std::string& bytes);
  void close();

 private:
  bool connect();
  bool write_all(const std::string& bytes);
  bool fill();
  // The chunks of a body, put together. False: the connection broke.
  bool read_chunks(std::string& body);
  HttpAnswer read_answer();

  std::string path_;
  std::string buffer_;
  int fd_ = -1;
};

}  // namespace limpet::test
