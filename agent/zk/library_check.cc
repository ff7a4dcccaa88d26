#include "agent/zk/library_check.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "agent/zk/hosts.h"
#include "agent/zk/library_log.h"
#include "agent/zk/parking.h"

namespace limpet::zk {
namespace {

using boost::asio::ip::address_v4;
using boost::asio::ip::tcp;

constexpr std::chrono::seconds kPatience{10};
constexpr std::chrono::milliseconds kPoll{2};
constexpr int kSessionTimeoutMs = 10'000;

void ignore_event(zhandle_t*, int, int, const char*, void*) {}

template <typename Done>
bool wait_until(Done done) {
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (!done()) {
    if (std::chrono::steady_clock::now() >= until) {
      return false;
    }
    std::this_thread::sleep_for(kPoll);
  }
  return true;
}

// A handle of the library's, on trial.
class TrialHandle {
 public:
  explicit TrialHandle(const tcp::endpoint& server)
      : log_(std::make_shared<LibraryLog>(LogSink())),
        lease_(log_),
        zh_(zookeeper_init2(to_string(server).c_str(), &ignore_event, kSessionTimeoutMs, nullptr, nullptr,
                            ZOO_NO_LOG_CLIENTENV, lease_.callback())) {}
  ~TrialHandle() { close(); }
  TrialHandle(const TrialHandle&) = delete;
  TrialHandle& operator=(const TrialHandle&) = delete;

  zhandle_t* get() const { return zh_; }  // null: there is none
  std::uint64_t losses() const { return log_->losses(); }
  void close() {
    if (zh_ != nullptr) {
      zookeeper_close(std::exchange(zh_, nullptr));
    }
  }

 private:
  const std::shared_ptr<LibraryLog> log_;
  const LogCallbackLease lease_;
  zhandle_t* zh_;
};

// A server on loopback for one connection: it welcomes its client to a session and reads what the client sends.
class OneClientServer {
 public:
  OneClientServer() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    endpoint_ = tcp::endpoint(address_v4::loopback(), 0);
    auto length = static_cast<socklen_t>(endpoint_.size());
    listens_ = listener_ >= 0 && ::bind(listener_, endpoint_.data(), length) == 0 && ::listen(listener_, 1) == 0 &&
               ::getsockname(listener_, endpoint_.data(), &length) == 0;
  }
  ~OneClientServer() {
    for (const int fd : {listener_, client_}) {
      if (fd >= 0) {
        ::close(fd);
      }
    }
  }
  OneClientServer(const OneClientServer&) = delete;
  OneClientServer& operator=(const OneClientServer&) = delete;

  bool listens() const { return listens_; }
  const tcp::endpoint& endpoint() const { return endpoint_; }

  // Takes the connection and reads the client's wish for a session.
  bool welcome() {
    if (!readable(listener_)) {
      return false;
    }
    client_ = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client_ < 0 || !read_frame()) {
      return false;
    }
    // Protocol version, time-out, session, password, and that it may write.
    std::string welcome = number(0, 4) + number(kSessionTimeoutMs, 4) + number(1, 8) + number(16, 4);
    welcome += std::string(16, 'p') + number(0, 1);
    welcome.insert(0, number(static_cast<std::int64_t>(welcome.size()), 4));
    return ::send(client_, welcome.data(), welcome.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(welcome.size());
  }

  // Reads to the end of the connection. Whether the client asked for its session to be ended; nothing where the end did
  // not come.
  std::optional<bool> was_asked_to_end_session() {
    constexpr std::string_view kCloseSession = "\xff\xff\xff\xf5";  // request type -11, behind the request's number
    bool asked = false;
    while (const std::optional<std::string> frame = read_frame()) {
      asked = asked || (frame->size() >= 8 && std::string_view(*frame).substr(4, 4) == kCloseSession);
    }
    return ended_ ? std::optional(asked) : std::nullopt;
  }

 private:
  static bool readable(int fd) {
    pollfd one{fd, POLLIN, 0};
    return ::poll(&one, 1, static_cast<int>(std::chrono::milliseconds(kPatience).count())) == 1;
  }
  // Highest byte first.
  static std::string number(std::int64_t value, int bytes) {
    std::string text;
    for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
      text.push_back(static_cast<char>(value >> shift));
    }
    return text;
  }

  bool read_to(std::size_t size) {
    while (read_.size() < size) {
      char bytes[512];
      if (!readable(client_)) {
        return false;
      }
      const ssize_t count = ::recv(client_, bytes, sizeof bytes, 0);
      if (count <= 0) {
        ended_ = count == 0 || errno == ECONNRESET;
        return false;
      }
      read_.append(bytes, static_cast<std::size_t>(count));
    }
    return true;
  }
  std::optional<std::string> read_frame() {
    constexpr std::uint32_t kLongest = 1024;
    if (!read_to(4)) {
      return std::nullopt;
    }
    std::uint32_t size = 0;
    for (std::size_t i = 0; i < 4; ++i) {
      size = size << 8 | static_cast<std::uint8_t>(read_[i]);
    }
    if (size > kLongest || !read_to(4 + size)) {
      return std::nullopt;
    }
    std::string frame = read_.substr(4, size);
    read_.erase(0, 4 + size);
    return frame;
  }

  const int listener_;
  int client_ = -1;
  bool listens_ = false;
  bool ended_ = false;  // the connection, by the client
  tcp::endpoint endpoint_;
  std::string read_;
};

}  // namespace

Finding try_log_of_losses() {
  const DeafAddress deaf(address_v4::loopback());
  const TrialHandle handle(deaf.endpoint());
  if (handle.get() == nullptr) {
    return Finding::untried;
  }
  return wait_until([&] { return handle.losses() != 0; }) ? Finding::holds : Finding::broken;
}

Finding try_parking() {
  OneClientServer server;
  if (!server.listens()) {
    return Finding::untried;
  }
  TrialHandle handle(server.endpoint());
  const Parking parking({server.endpoint()});
  // Closing a handle that is connected would wait for an answer of the server.
  const bool connected = handle.get() != nullptr && server.welcome() &&
                         wait_until([&] { return zoo_state(handle.get()) == ZOO_CONNECTED_STATE; });
  if (!connected || !parking.park(handle.get())) {
    return Finding::untried;  // ZkHandle::detach() looks at this by itself
  }
  handle.close();
  const std::optional<bool> asked = server.was_asked_to_end_session();
  return !asked ? Finding::untried : *asked ? Finding::broken : Finding::holds;
}

namespace {

bool is_broken(Finding (*attempt)(), std::atomic<bool>& holds) {
  const Finding finding = holds.load() ? Finding::holds : attempt();
  holds.store(finding == Finding::holds);
  return finding == Finding::broken;
}

}  // namespace

std::string broken_assumption() {
  static std::atomic<bool> tells_of_losses{false};
  static std::atomic<bool> parks{false};
  constexpr const char* kMend = ": install release 3.8 or 3.9 of it";
  if (is_broken(&try_log_of_losses, tells_of_losses)) {
    return std::string(
               "this release of the ZooKeeper library does not log a lost connection as releases 3.8 and 3.9 "
               "do, and without that limpet could not keep the order of changes") +
           kMend;
  }
  if (is_broken(&try_parking, parks)) {
    return std::string(
               "this release of the ZooKeeper library ends a session where releases 3.8 and 3.9 leave it, and "
               "limpet would lose its znodes with each new connection") +
           kMend;
  }
  return "";
}

}  // namespace limpet::zk
