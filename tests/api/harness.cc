#include "tests/api/harness.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

namespace limpet::api {
namespace {

constexpr int kHangMs = 60'000;

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

}  // namespace

Client::Client(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
  if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    close();
  }
}

Client::~Client() {
  close();
}

void Client::close() {
  if (fd_ >= 0) {
    ::close(fd_);
    fd_ = -1;
  }
}

bool Client::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) {
      return false;
    }
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

void Client::shutdown_send() {
  ::shutdown(fd_, SHUT_WR);
}

bool Client::wait_readable() {
  pollfd state{fd_, POLLIN, 0};
  return ::poll(&state, 1, kHangMs) == 1;
}

bool Client::fill() {
  if (!wait_readable()) {
    ADD_FAILURE() << "nothing came; so far: " << received_.substr(0, 500);
    return false;
  }
  char buffer[65'536];
  const ssize_t bytes = ::recv(fd_, buffer, sizeof buffer, 0);
  if (bytes <= 0) {
    return false;
  }
  received_.append(buffer, static_cast<std::size_t>(bytes));
  return true;
}

std::optional<std::string> Client::receive_some() {
  if (received_.empty() && !fill()) {
    return std::nullopt;
  }
  return std::exchange(received_, {});
}

bool Client::at_end() {
  while (received_.empty()) {
    if (!fill()) {
      return received_.empty();
    }
  }
  return false;
}

std::optional<Answer> Client::receive(bool head) {
  std::size_t end = 0;
  while ((end = received_.find("\r\n\r\n")) == std::string::npos) {
    if (!fill()) {
      return std::nullopt;
    }
  }
  Answer answer;
  answer.status = std::stoi(received_.substr(9, 3));
  std::size_t line = received_.find("\r\n") + 2;
  while (line < end) {
    const std::size_t colon = received_.find(": ", line);
    const std::size_t stop = received_.find("\r\n", line);
    answer.headers[lower(received_.substr(line, colon - line))] = received_.substr(colon + 2, stop - colon - 2);
    line = stop + 2;
  }
  received_.erase(0, end + 4);
  const bool chunked = answer.header("transfer-encoding") == "chunked";
  if (head || answer.status < 200 || (chunked && answer.header("content-type") == "application/x-ndjson")) {
    return answer;
  }
  if (chunked) {
    Chunk chunk = Chunk::some;
    while (chunk == Chunk::some) {
      chunk = fill_lines();
    }
    answer.body = std::exchange(lines_, {});
    return chunk == Chunk::last ? std::optional(std::move(answer)) : std::nullopt;
  }
  const std::size_t length = std::stoul(answer.header("content-length"));
  while (received_.size() < length) {
    if (!fill()) {
      return std::nullopt;
    }
  }
  answer.body = received_.substr(0, length);
  received_.erase(0, length);
  return answer;
}

Client::Chunk Client::fill_lines() {
  std::size_t end = 0;
  while ((end = received_.find("\r\n")) == std::string::npos) {
    if (!fill()) {
      return Chunk::cut;
    }
  }
  const std::size_t size = std::stoul(received_.substr(0, end), nullptr, 16);
  while (received_.size() < end + 2 + size + 2) {
    if (!fill()) {
      return Chunk::cut;
    }
  }
  EXPECT_EQ(received_.substr(end + 2 + size, 2), "\r\n");
  lines_.append(received_, end + 2, size);
  received_.erase(0, end + 2 + size + 2);
  return size != 0 ? Chunk::some : Chunk::last;
}

std::optional<std::string> Client::next_line() {
  std::size_t end = 0;
  while ((end = lines_.find('\n')) == std::string::npos) {
    if (fill_lines() != Chunk::some) {
      EXPECT_EQ(lines_, "");
      return std::nullopt;
    }
  }
  std::string line = lines_.substr(0, end);
  lines_.erase(0, end + 1);
  return line;
}

std::string request_text(std::string_view method, std::string_view target, std::string_view body,
                         std::string_view headers) {
  std::string text = std::string(method) + " " + std::string(target) + " HTTP/1.1\r\nHost: localhost\r\n";
  text += headers;
  if (!body.empty() || method == "PUT" || method == "POST") {
    text += "Content-Length: " + std::to_string(body.size()) + "\r\n";
  }
  return text + "\r\n" + std::string(body);
}

std::optional<Answer> Client::call(std::string_view method, std::string_view target, std::string_view body,
                                   std::string_view headers) {
  send(request_text(method, target, body, headers));
  return receive(method == "HEAD");
}

TempDir::TempDir() {
  std::string name = (std::filesystem::temp_directory_path() / "limpet-api-XXXXXX").string();
  EXPECT_NE(::mkdtemp(name.data()), nullptr);
  path_ = name;
}

TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void ServerTest::start(ServerOptions options, core::Options core_options) {
  options.socket_path = socket_path();
  service_ = std::make_unique<FakeService>(io_, std::move(core_options));
  server_ = std::make_unique<Server>(io_, *service_, std::move(options));
  const Status status = server_->start();
  ASSERT_TRUE(status.ok()) << status.message();
  work_.emplace(io_.get_executor());
  thread_ = std::thread([this] { io_.run(); });
}

void ServerTest::stop() {
  if (!thread_.joinable()) {
    return;
  }
  on_server([this] { server_.reset(); });
  work_.reset();
  io_.stop();
  thread_.join();
}

Answer call_once(const std::string& path, std::string_view method, std::string_view target, std::string_view body,
                 std::string_view headers) {
  Client client(path);
  auto answer = client.call(method, target, body, headers);
  EXPECT_TRUE(answer) << method << " " << target;
  return answer.value_or(Answer());
}

void expect_problem(const std::optional<Answer>& answer, int status, std::string_view code) {
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, status) << answer->body;
  EXPECT_EQ(answer->header("content-type"), "application/problem+json");
  const Json problem = Json::parse(answer->body, nullptr, false);
  ASSERT_TRUE(problem.is_object()) << answer->body;
  EXPECT_EQ(problem.value("code", ""), code) << answer->body;
  EXPECT_EQ(problem.value("type", ""), "urn:limpet:problem:" + std::string(code));
  EXPECT_EQ(problem.value("status", 0), status);
  EXPECT_FALSE(problem.value("title", "").empty());
  EXPECT_FALSE(problem.value("detail", "").empty());
  EXPECT_TRUE(problem.at("retryable").is_boolean());
}

}  // namespace limpet::api
