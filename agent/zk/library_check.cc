#include "agent/zk/library_check.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>

#include "agent/zk/library_log.h"

namespace limpet::zk {
namespace {

constexpr std::chrono::seconds kPatience{10};
constexpr std::chrono::milliseconds kPoll{2};
constexpr int kSessionTimeoutMs = 10'000;

void ignore_event(zhandle_t*, int, int, const char*, void*) {}

// A port that is bound and not listened on: a connection to it is refused.
class DeafPort {
 public:
  DeafPort() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    if (socket_ >= 0 && ::bind(socket_, any, length) == 0 && ::getsockname(socket_, any, &length) == 0) {
      number_ = ntohs(address.sin_port);
    }
  }
  ~DeafPort() {
    if (socket_ >= 0) {
      ::close(socket_);
    }
  }
  DeafPort(const DeafPort&) = delete;
  DeafPort& operator=(const DeafPort&) = delete;

  std::uint16_t number() const { return number_; }

 private:
  int socket_;
  std::uint16_t number_ = 1;  // where no port could be bound: hardly anybody listens here
};

enum class Finding { untried, tells, silent };

Finding try_refused_connection() {
  const DeafPort port;
  const auto log = std::make_shared<LibraryLog>(LogSink());
  const LogCallbackLease lease(log);
  const std::string host = "127.0.0.1:" + std::to_string(port.number());
  zhandle_t* const handle = zookeeper_init2(host.c_str(), &ignore_event, kSessionTimeoutMs, nullptr, nullptr,
                                            ZOO_NO_LOG_CLIENTENV, lease.callback());
  if (handle == nullptr) {
    return Finding::untried;
  }
  const auto until = std::chrono::steady_clock::now() + kPatience;
  while (log->losses() == 0 && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(kPoll);
  }
  zookeeper_close(handle);  // it has no session
  return log->losses() != 0 ? Finding::tells : Finding::silent;
}

}  // namespace

bool library_tells_of_losses() {
  static std::atomic<bool> tells{false};
  if (tells.load()) {
    return true;
  }
  const Finding finding = try_refused_connection();
  tells.store(finding == Finding::tells);
  return finding != Finding::silent;
}

}  // namespace limpet::zk
