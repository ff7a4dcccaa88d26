#include "tests/support/unix_http.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstring>

namespace limpet::test {

UnixHttp::~UnixHttp() {
  close();
}

void UnixHttp::close() {
  if (fd_ >= 0) {
    ::close(fd_);
    fd_ = -1;
  }
  buffer_.clear();
}

bool UnixHttp::connect() {
  if (fd_ >= 0) {
    return true;
  }
  fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path_.c_str(), sizeof address.sun_path - 1);
  if (::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    close();
    return false;
  }
  return true;
}

bool UnixHttp::write_all(const std::string& bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::send(fd_, bytes.data() + done, bytes.size() - done, MSG_NOSIGNAL);
    if (n <= 0) {
      return false;
    }
    done += static_cast<std::size_t>(n);
  }
  return true;
}

HttpAnswer UnixHttp::call(const std::string& method, const std::string& target, const std::string& body) {
  std::string request = method + " " + target + " HTTP/1.1\r\nHost: localhost\r\n";
  if (!body.empty() || method == "PUT" || method == "POST") {
    request += "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
  }
  return raw(request + "\r\n" + body);
}

HttpAnswer UnixHttp::raw(const std::string& bytes) {
  if (!connect()) {
    return {};
  }
  // A server that refuses early may close its reading side while we still write: its answer counts all the same.
  write_all(bytes);
  return read_answer();
}

bool UnixHttp::fill() {
  char bytes[65536];
  const ssize_t n = ::recv(fd_, bytes, sizeof bytes, 0);
  if (n > 0) {
    buffer_.append(bytes, static_cast<std::size_t>(n));
  }
  return n > 0;
}

bool UnixHttp::read_chunks(std::string& body) {
  for (std::size_t size = 1; size != 0;) {
    std::size_t end = 0;
    while ((end = buffer_.find("\r\n")) == std::string::npos) {
      if (!fill()) {
        return false;
      }
    }
    size = std::stoul(buffer_.substr(0, end), nullptr, 16);
    while (buffer_.size() < end + 2 + size + 2) {
      if (!fill()) {
        return false;
      }
    }
    body.append(buffer_, end + 2, size);
    buffer_.erase(0, end + 2 + size + 2);
  }
  return true;
}

HttpAnswer UnixHttp::read_answer() {
  std::size_t end = 0;
  while ((end = buffer_.find("\r\n\r\n")) == std::string::npos) {
    if (!fill()) {
      close();
      return {};
    }
  }
  std::string head = buffer_.substr(0, end + 2);
  buffer_.erase(0, end + 4);
  HttpAnswer answer;
  answer.status = std::atoi(head.c_str() + head.find(' ') + 1);
  std::transform(head.begin(), head.end(), head.begin(), [](unsigned char c) { return std::tolower(c); });
  const auto header = [&](const std::string& name) {
    const std::size_t at = head.find("\r\n" + name + ":");
    if (at == std::string::npos) {
      return std::string();
    }
    const std::size_t from = head.find_first_not_of(' ', at + name.size() + 3);
    return head.substr(from, head.find("\r\n", from) - from);
  };
  answer.content_type = header("content-type");
  if (header("transfer-encoding") == "chunked") {
    if (!read_chunks(answer.body)) {
      close();
      return {};
    }
    return answer;
  }
  const std::size_t length = static_cast<std::size_t>(std::atoll(("0" + header("content-length")).c_str()));
  while (buffer_.size() < length) {
    if (!fill()) {
      close();
      return {};
    }
  }
  answer.body = buffer_.substr(0, length);
  buffer_.erase(0, length);
  if (header("connection") == "close") {
    close();
  }
  return answer;
}

}  // namespace limpet::test
