// A connection to a unix socket that sends the bytes it is given and reads only when told to. Any thread.
#pragma once

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <string>
#include <tuple>

namespace limpet::test {

class RawConnection {
 public:
  explicit RawConnection(const std::string& path) : fd_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      ADD_FAILURE() << "cannot connect: " << std::strerror(errno);
    }
  }
  ~RawConnection() { ::close(fd_); }
  RawConnection(const RawConnection&) = delete;
  RawConnection& operator=(const RawConnection&) = delete;

  int fd() const { return fd_; }

  // Sends as much as the socket takes without waiting; the number of bytes.
  std::size_t send(const std::string& bytes) {
    const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent > 0 ? static_cast<std::size_t>(sent) : 0;
  }
  // Reads until the peer closes.
  std::string read_to_end() {
    std::string all;
    char buffer[4096];
    ssize_t bytes = 0;
    while ((bytes = ::recv(fd_, buffer, sizeof buffer, 0)) > 0) {
      all.append(buffer, static_cast<std::size_t>(bytes));
    }
    return all;
  }
  // Reads up to `most` bytes that are there already; empty where none are.
  std::string read_some(std::size_t most) {
    std::string bytes(most, '\0');
    const ssize_t read = ::recv(fd_, bytes.data(), bytes.size(), MSG_DONTWAIT);
    bytes.resize(read > 0 ? static_cast<std::size_t>(read) : 0);
    return bytes;
  }
  // Whether the peer has closed, as far as the kernel knows now; what is unread stays unread.
  bool closed_by_peer() const {
    pollfd state{fd_, POLLRDHUP, 0};
    return ::poll(&state, 1, 0) == 1 && (state.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
  }

 private:
  int fd_;
};

}  // namespace limpet::test
