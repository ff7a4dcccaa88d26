// Canaries: what limpet relies on of the real ZooKeeper library beyond its header. One that fails names the assumption
// that a new release of the library no longer meets.
#include "agent/zk/library_check.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

#include <chrono>
#include <memory>
#include <string>
#include <thread>

#include "agent/zk/library_log.h"

namespace limpet::zk {
namespace {

void ignore_event(zhandle_t*, int, int, const char*, void*) {}

// Listens on loopback, takes one connection after the other and cuts each.
class Cutter {
 public:
  Cutter() : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    if (::bind(listener_, any, length) != 0 || ::listen(listener_, 5) != 0 ||
        ::getsockname(listener_, any, &length) != 0) {
      std::abort();
    }
    host_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  }
  ~Cutter() { ::close(listener_); }
  Cutter(const Cutter&) = delete;
  Cutter& operator=(const Cutter&) = delete;

  const std::string& host() const { return host_; }
  void cut_one() const { ::close(::accept(listener_, nullptr, nullptr)); }

 private:
  int listener_;
  std::string host_;
};

TEST(ZooKeeperLibrary, TellsOfARefusedConnectionInItsLog) {
  zoo_set_debug_level(ZOO_LOG_LEVEL_WARN);
  EXPECT_EQ(try_log_of_losses(), Finding::holds);
}

TEST(ZooKeeperLibrary, EndsNoSessionWhenAParkedHandleIsClosed) {
  zoo_set_debug_level(ZOO_LOG_LEVEL_WARN);
  for (int round = 0; round < 20; ++round) {
    ASSERT_EQ(try_parking(), Finding::holds) << "round " << round;
  }
}

TEST(ZooKeeperLibrary, BreaksNoAssumption) {
  zoo_set_debug_level(ZOO_LOG_LEVEL_WARN);
  EXPECT_EQ(broken_assumption(), "");
  EXPECT_EQ(broken_assumption(), "") << "from memory";
}

TEST(ZooKeeperLibrary, WithoutADescriptorNothingIsSaidToBeBroken) {
  zoo_set_debug_level(ZOO_LOG_LEVEL_WARN);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const Finding parking = try_parking();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(parking, Finding::untried);
}

// LibraryLog::losses() is how ZkHandle::stands() knows that a connection is another one.
TEST(ZooKeeperLibrary, TellsOfEachConnectionThatIsCutInItsLog) {
  zoo_set_debug_level(ZOO_LOG_LEVEL_WARN);
  const Cutter server;
  const auto log = std::make_shared<LibraryLog>(LogSink());
  const LogCallbackLease lease(log);
  zhandle_t* const handle = zookeeper_init2(server.host().c_str(), &ignore_event, 10'000, nullptr, nullptr,
                                            ZOO_NO_LOG_CLIENTENV, lease.callback());
  ASSERT_NE(handle, nullptr);
  for (std::uint64_t cut = 1; cut <= 3; ++cut) {
    server.cut_one();
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (log->losses() < cut && std::chrono::steady_clock::now() < until) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    EXPECT_GE(log->losses(), cut);
  }
  zookeeper_close(handle);
}

}  // namespace
}  // namespace limpet::zk
