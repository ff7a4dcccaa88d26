// Health checks of applications that need ZooKeeper themselves, through the loss of a quorum.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "tests/end_to_end/fixture.h"

namespace limpet::test {

namespace {

// An application's /health: 200, or 503 while its own connection to ZooKeeper is down.
class Application {
 public:
  Application() : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(fd_, 64), 0);
    socklen_t size = sizeof address;
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~Application() {
    stop_ = true;
    thread_.join();
    ::close(fd_);
  }

  void set_away(bool away) { away_ = away; }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/health"; }

 private:
  void serve() {
    while (!stop_) {
      pollfd ready{fd_, POLLIN, 0};
      if (::poll(&ready, 1, 50) != 1) {
        continue;
      }
      const int peer = ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
      char request[4096];
      if (::recv(peer, request, sizeof request, 0) > 0) {
        const std::string answer = std::string("HTTP/1.1 ") + (away_ ? "503 Service Unavailable" : "200 OK") +
                                   "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        [[maybe_unused]] const ssize_t sent = ::send(peer, answer.data(), answer.size(), MSG_NOSIGNAL);
      }
      ::close(peer);
    }
  }

  const int fd_;
  int port_ = 0;
  std::atomic<bool> away_ = false;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

class ChecksInAnOutage : public EndToEnd {
 protected:
  static constexpr int kRegistrations = 20;

  static bool eventually(const std::function<bool()>& done) {
    for (int i = 0; i < 6'000; ++i) {
      if (done()) {
        return true;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }
  static bool failing(UnixHttp& http, int count) {
    const std::string line = "\nlimpet_checks{state=\"failing\"} " + std::to_string(count) + "\n";
    return http.get("/metrics").body.find(line) != std::string::npos;
  }
  void register_all(UnixHttp& http, const Application& application) {
    for (int i = 0; i < kRegistrations; ++i) {
      const nlohmann::json body = {
          {"data", "x"},
          {"checks",
           {{{"type", "http"}, {"url", application.url()}, {"interval", "1s"}, {"timeout", "1s"}, {"fall", 5}}}}};
      const HttpAnswer answer = http.put(target("web", "i-" + std::to_string(i)) + "?wait=60s", body.dump());
      ASSERT_EQ(answer.status, 200) << answer.body;
    }
  }
};

TEST_F(ChecksInAnOutage, QuorumComesBackAndNoZnodeIsRemoved) {
  Application application;
  AgentProcess agent(ensemble().connect_string(), flags());
  ASSERT_TRUE(agent.start()) << agent.log();
  UnixHttp http(agent.socket());
  register_all(http, application);
  const auto before = registered(*std::make_unique<ZkObserver>(ensemble().connect_string()));
  ASSERT_EQ(before.size(), static_cast<std::size_t>(kRegistrations));

  ensemble().kill_quorum();
  application.set_away(true);
  ASSERT_TRUE(agent.wait_status([](const auto& status) { return status["zookeeper"]["state"] != "connected"; }));
  ASSERT_TRUE(eventually([&] { return failing(http, kRegistrations); })) << agent.status().dump();
  EXPECT_EQ(agent.status()["registrations"]["unhealthy"], 0) << "their znodes stand";
  ASSERT_TRUE(ensemble().restore());
  ASSERT_TRUE(agent.wait_connected());
  application.set_away(false);
  ASSERT_TRUE(eventually([&] { return failing(http, 0); }));
  ASSERT_TRUE(agent.wait_settled());

  ZkObserver observer(ensemble().connect_string());
  observer.sync();
  EXPECT_EQ(registered(observer), before) << "a znode was removed, and made again";
}

TEST_F(ChecksInAnOutage, CheckThatGoesOnFailingWithdrawsWhenZooKeeperIsBack) {
  Application application;
  AgentProcess agent(ensemble().connect_string(), flags());
  ASSERT_TRUE(agent.start()) << agent.log();
  UnixHttp http(agent.socket());
  register_all(http, application);
  ensemble().kill_quorum();
  application.set_away(true);
  ASSERT_TRUE(eventually([&] { return failing(http, kRegistrations); }));
  ASSERT_TRUE(ensemble().restore());
  ASSERT_TRUE(
      agent.wait_status([](const auto& status) { return status["registrations"]["unhealthy"] == kRegistrations; },
                        std::chrono::seconds(120)))
      << agent.status().dump();
  ZkObserver observer(ensemble().connect_string());
  EXPECT_TRUE(eventually([&] {
    observer.sync();
    return registered(observer).empty();
  }));
}

}  // namespace

}  // namespace limpet::test
