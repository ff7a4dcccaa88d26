// A real Server over a FakeService on a thread of its own, and a client that says exactly what it is told to.
#pragma once

#include <gtest/gtest.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <future>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>

#include "agent/api/server.h"
#include "tests/api/fake_service.h"
#include "tests/support/act_as.h"

namespace limpet::api {

using Json = nlohmann::ordered_json;
using test::ActAs;

struct Answer {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;

  Json json() const { return Json::parse(body); }
  std::string code() const { return json().value("code", ""); }
  std::string header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? "" : found->second;
  }
};

// A blocking socket. Nothing waits for longer than a time that only a hang can reach.
class Client {
 public:
  explicit Client(const std::string& path);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  bool connected() const { return fd_ >= 0; }
  // False where the other side hung up.
  bool send(std::string_view bytes);
  // The next answer, or of a stream of events its head; nullopt where the connection ends before it is whole. `head`:
  // it has no body.
  std::optional<Answer> receive(bool head = false);
  // After the head of an answer in chunks: the next line of what they hold, without its end; nullopt after the last.
  std::optional<std::string> next_line();
  // Bytes as they come; nullopt at the end of the connection.
  std::optional<std::string> receive_some();
  // True when the other side says no more and hangs up.
  bool at_end();
  void shutdown_send();
  void close();
  // Bytes received and not yet returned by receive().
  bool wait_readable();

  std::optional<Answer> call(std::string_view method, std::string_view target, std::string_view body = {},
                             std::string_view headers = {});

 private:
  bool fill();
  // Moves the next chunk from received_ to lines_. cut: the connection ended first.
  enum class Chunk { some, last, cut };
  Chunk fill_lines();

  int fd_ = -1;
  std::string received_;
  std::string lines_;  // out of chunks
};

std::string request_text(std::string_view method, std::string_view target, std::string_view body = {},
                         std::string_view headers = {});

// A directory that goes with it.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class ServerTest : public ::testing::Test {
 protected:
  void TearDown() override { stop(); }

  // Starts server and service. `options.socket_path` is set here.
  void start(ServerOptions options = {}, core::Options core_options = {});
  void stop();

  Client connect() { return Client(socket_path()); }
  std::string socket_path() const { return dir_.path() + "/limpet.sock"; }

  // Runs `work` on the thread of the server and returns what it returns.
  template <typename Work>
  auto on_server(Work work) {
    std::packaged_task<decltype(work())()> task(std::move(work));
    auto result = task.get_future();
    boost::asio::post(io_, [&task] { task(); });
    return result.get();
  }

  TempDir dir_;
  boost::asio::io_context io_{1};
  std::unique_ptr<FakeService> service_;
  std::unique_ptr<Server> server_;

 private:
  std::optional<boost::asio::executor_work_guard<boost::asio::io_context::executor_type>> work_;
  std::thread thread_;
};

// One request, one answer, in a connection of its own.
Answer call_once(const std::string& path, std::string_view method, std::string_view target, std::string_view body = {},
                 std::string_view headers = {});

// Every field of a problem is there, and says what it should.
void expect_problem(const std::optional<Answer>& answer, int status, std::string_view code);

}  // namespace limpet::api
