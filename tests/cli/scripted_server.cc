#include "tests/cli/scripted_server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>

namespace limpet::test {

namespace {

std::string message(int status, const std::string& body, const std::string& more_headers) {
  return "HTTP/1.1 " + std::to_string(status) +
         " Scripted\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
         more_headers + "\r\n" + body;
}

void send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) {
      return;
    }
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

// Reads on into `received` until it holds at least `size` bytes; false at the end of the stream.
bool read_up_to(int fd, std::string& received, std::size_t size) {
  std::array<char, 65536> chunk{};
  while (received.size() < size) {
    const ssize_t count = ::recv(fd, chunk.data(), chunk.size(), 0);
    if (count <= 0) {
      return false;
    }
    received.append(chunk.data(), static_cast<std::size_t>(count));
  }
  return true;
}

std::size_t content_length(const std::string& headers) {
  const std::size_t at = headers.find("content-length: ");
  return at == std::string::npos ? 0 : std::strtoul(headers.c_str() + at + 16, nullptr, 10);
}

}  // namespace

TemporaryDirectory::TemporaryDirectory() : path_("/tmp/limpet-cli-XXXXXX") {
  if (::mkdtemp(path_.data()) == nullptr) {
    throw std::runtime_error("mkdtemp failed");
  }
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

int bind_unix_socket(const std::string& path, int backlog) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  if (fd < 0 || ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      (backlog >= 0 && ::listen(fd, backlog) != 0)) {
    throw std::runtime_error("cannot bind " + path);
  }
  return fd;
}

ScriptedServer::ScriptedServer() : socket_(directory_.path() + "/limpet.sock") {
  listener_ = bind_unix_socket(socket_, 16);
  stop_ = ::eventfd(0, EFD_CLOEXEC);
  thread_ = std::thread([this] { serve(); });
}

ScriptedServer::~ScriptedServer() {
  ::eventfd_write(stop_, 1);
  thread_.join();
  ::close(listener_);
  ::close(stop_);
}

void ScriptedServer::answer(int status, const std::string& body, const std::string& more_headers) {
  send_raw(message(status, body, more_headers));
}

void ScriptedServer::send_raw(const std::string& bytes) {
  const std::lock_guard lock(mutex_);
  script_.push_back({Step::Kind::send, bytes});
}

void ScriptedServer::cut() {
  send_raw("");
}

void ScriptedServer::hang() {
  const std::lock_guard lock(mutex_);
  script_.push_back({Step::Kind::hang, ""});
}

void ScriptedServer::answer_before_body(int status, const std::string& body) {
  const std::lock_guard lock(mutex_);
  script_.push_back({Step::Kind::send_early, message(status, body, "Connection: close\r\n")});
}

std::vector<SeenRequest> ScriptedServer::seen() {
  const std::lock_guard lock(mutex_);
  return seen_;
}

ScriptedServer::Step ScriptedServer::next_step() {
  const std::lock_guard lock(mutex_);
  if (script_.empty()) {
    return {Step::Kind::send, message(599, R"({"title":"beyond the script"})", "")};
  }
  Step step = std::move(script_.front());
  script_.pop_front();
  return step;
}

void ScriptedServer::serve() {
  while (true) {
    std::array<pollfd, 2> ready{pollfd{listener_, POLLIN, 0}, pollfd{stop_, POLLIN, 0}};
    ::poll(ready.data(), ready.size(), -1);
    if (ready[1].revents != 0) {
      return;
    }
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd >= 0) {
      serve_one(fd);
      ::close(fd);
    }
  }
}

void ScriptedServer::serve_one(int fd) {
  std::string received;
  std::size_t end = std::string::npos;
  while ((end = received.find("\r\n\r\n")) == std::string::npos) {
    if (!read_up_to(fd, received, received.size() + 1)) {
      return;
    }
  }
  SeenRequest request;
  request.line = received.substr(0, received.find("\r\n"));
  request.headers = received.substr(0, end);
  std::transform(request.headers.begin(), request.headers.end(), request.headers.begin(), ::tolower);
  const Step step = next_step();
  if (step.kind != Step::Kind::send_early) {
    read_up_to(fd, received, end + 4 + content_length(request.headers));
  }
  request.body = received.substr(end + 4);
  {
    const std::lock_guard lock(mutex_);
    seen_.push_back(std::move(request));
  }
  if (step.kind == Step::Kind::hang) {
    std::array<pollfd, 2> ready{pollfd{fd, POLLIN, 0}, pollfd{stop_, POLLIN, 0}};
    ::poll(ready.data(), ready.size(), -1);
    return;
  }
  send_all(fd, step.bytes);
}

}  // namespace limpet::test
