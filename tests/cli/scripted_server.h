// A stand-in for limpetd: an HTTP server on a unix socket in a directory of its own that answers request after request
// as the test has said, and remembers what it was asked. One thread inside; the methods are for the test's thread.
#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace limpet::test {

struct SeenRequest {
  std::string line;     // "GET /v1/status HTTP/1.1"
  std::string headers;  // in lower case
  std::string body;
};

// A directory under /tmp that goes with this object.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// A unix socket bound to `path`, and listening where `backlog` >= 0. The caller closes it.
int bind_unix_socket(const std::string& path, int backlog);

class ScriptedServer {
 public:
  ScriptedServer();
  ~ScriptedServer();

  const std::string& socket() const { return socket_; }
  const std::string& directory() const { return directory_.path(); }

  // What the next request that is not provided for yet gets; anything beyond the script gets a 599.
  void answer(int status, const std::string& body, const std::string& more_headers = "");
  void send_raw(const std::string& bytes);
  void cut();                                                    // reads it and closes
  void hang();                                                   // reads it and does nothing, until the client goes
  void answer_before_body(int status, const std::string& body);  // as a server does that refuses what is too large

  // Everything asked so far.
  std::vector<SeenRequest> seen();

 private:
  struct Step {
    enum class Kind { send, hang, send_early } kind = Kind::send;
    std::string bytes;
  };

  void serve();
  void serve_one(int fd);
  Step next_step();

  TemporaryDirectory directory_;
  std::string socket_;
  int listener_ = -1;
  int stop_ = -1;  // an eventfd

  std::mutex mutex_;  // guards the next two
  std::deque<Step> script_;
  std::vector<SeenRequest> seen_;

  std::thread thread_;
};

}  // namespace limpet::test
