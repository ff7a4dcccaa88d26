// What lets a registration end, or be withdrawn, without its owner's asking for it: heartbeats, processes, connections,
// checks, time-outs, maintenance, with the real agent on real servers.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "tests/end_to_end/fixture.h"

namespace limpet::test {

namespace {

using std::chrono::milliseconds;

class Lives : public EndToEnd {
 protected:
  void TearDown() override {
    for (const pid_t child : children_) {
      end(child);
    }
    EndToEnd::TearDown();
  }

  // A process that does nothing until it is killed.
  pid_t spawn() {
    const pid_t child = ::fork();
    if (child == 0) {
      ::execlp("sleep", "sleep", "600", nullptr);
      ::_exit(127);
    }
    children_.push_back(child);
    return child;
  }
  static void end(pid_t child) {
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  }

  static bool eventually(const std::function<bool()>& done) {
    for (int i = 0; i < 1'500; ++i) {
      if (done()) {
        return true;
      }
      std::this_thread::sleep_for(milliseconds(20));
    }
    return false;
  }
  static bool gone(UnixHttp& http, const std::string& target) {
    return eventually([&] { return http.get(target).status == 404; });
  }
  static bool in_state(UnixHttp& http, const std::string& target, const std::string& state) {
    return eventually([&] { return http.get(target).json().value("state", "") == state; });
  }
  // The newest entry of the history about this instance that says `what`.
  static nlohmann::json told(UnixHttp& http, const std::string& instance, const std::string& what) {
    nlohmann::json found;
    eventually([&] {
      const auto page = http.get("/v1/history?service=web&instance=" + instance).json();
      for (const auto& entry : page["entries"]) {
        if (entry["what"] == what) {
          found = entry;
          return true;
        }
      }
      return false;
    });
    return found;
  }

 private:
  std::vector<pid_t> children_;
};

std::string with_pid(pid_t pid) {
  return R"({"data":"x","bind":"process","pid":)" + std::to_string(pid) + "}";
}

// A listening TCP socket on the loopback that can be shut and opened again on the same port.
class Listening {
 public:
  Listening() { open(); }
  ~Listening() { shut(); }
  void open() {
    fd_ = ::socket(AF_INET, SOCK_STREAM, 0);
    const int on = 1;
    ::setsockopt(fd_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port_);
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(::listen(fd_, 64), 0);
    socklen_t size = sizeof address;
    ::getsockname(fd_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
  }
  void shut() {
    if (fd_ >= 0) {
      ::close(fd_);
      fd_ = -1;
    }
  }
  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

 private:
  int fd_ = -1;
  std::uint16_t port_ = 0;
};

TEST_F(Lives, D1_WithoutHeartbeatsItGoesAfterItsTtlAndNotBefore) {
  AgentProcess agent(ensemble().connect_string(), flags());
  ASSERT_TRUE(agent.start());
  UnixHttp http(agent.socket());
  const auto began = std::chrono::steady_clock::now();
  const auto put = http.put(target("web", "t") + "?wait=30s", R"({"data":"x","ttl":"2s"})");
  ASSERT_EQ(put.status, 200) << put.body;
  EXPECT_EQ(put.json()["ttl"], "2s");
  for (int i = 0; i < 6; ++i) {
    std::this_thread::sleep_for(milliseconds(500));
    ASSERT_EQ(http.post(target("web", "t") + "/heartbeat", "").status, 200);
  }
  ASSERT_TRUE(gone(http, target("web", "t")));
  EXPECT_GE(std::chrono::steady_clock::now() - began, milliseconds(5'000));
  const auto entry = told(http, "t", "ttl_expired");
  ASSERT_FALSE(entry.is_null());
  EXPECT_EQ(entry["who"], nullptr);
  EXPECT_EQ(http.post(target("web", "t") + "/heartbeat", "").status, 404);
  ZkObserver observer(ensemble().connect_string());
  EXPECT_TRUE(eventually([&] {
    observer.sync();
    return registered(observer).empty();
  }));
}

TEST_F(Lives, D2_D3_TimeOutsWhileTheQuorumIsLost) {
  AgentProcess agent(ensemble().connect_string(), flags("30s"));
  ASSERT_TRUE(agent.start());
  UnixHttp http(agent.socket());
  ASSERT_EQ(http.put(target("web", "silent") + "?wait=30s", R"({"data":"x","ttl":"1s"})").status, 200);
  ASSERT_EQ(http.put(target("web", "back") + "?wait=30s", R"({"data":"x","ttl":"1s"})").status, 200);
  ZkObserver before(ensemble().connect_string());
  before.sync();
  const auto stood = before.get(root() + "/web/back").value();
  ensemble().kill_quorum();
  ASSERT_EQ(http.put(target("web", "late"), R"({"data":"x","expires":"1s"})").status, 202);
  EXPECT_TRUE(gone(http, target("web", "late"))) << "it never was in ZooKeeper, and its time is over";
  EXPECT_FALSE(told(http, "late", "expired").is_null());
  // Deregistered, but its znode stands as long as nobody can remove it.
  EXPECT_TRUE(in_state(http, target("web", "silent"), "removing"));
  EXPECT_TRUE(in_state(http, target("web", "back"), "removing"));
  ASSERT_EQ(http.put(target("web", "back"), R"({"data":"x"})").status, 202);
  ASSERT_TRUE(ensemble().restore());
  ASSERT_TRUE(agent.wait_settled());
  ZkObserver observer(ensemble().connect_string());
  const auto found = registered(observer);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found.begin()->first, root() + "/web/back");
  EXPECT_EQ(found.begin()->second.czxid, stood.czxid) << "it was removed although it came back in time";
  EXPECT_EQ(http.get(target("web", "silent")).status, 404);
}

TEST_F(Lives, D4_AfterARestartEveryoneHasOneTtlOfGrace) {
  AgentProcess agent(ensemble().connect_string(), flags());
  ASSERT_TRUE(agent.start());
  UnixHttp http(agent.socket());
  ASSERT_EQ(http.put(target("web", "t") + "?wait=30s", R"({"data":"x","ttl":"3s"})").status, 200);
  agent.kill();
  http.close();
  std::this_thread::sleep_for(milliseconds(3'500));
  ASSERT_TRUE(agent.start());
  EXPECT_EQ(http.post(target("web", "t") + "/heartbeat", "").status, 200) << "it had no time to send a heartbeat";
  EXPECT_TRUE(gone(http, target("web", "t")));
}

TEST_F(Lives, B43_AFrozenAgentTakesNobodyForDead) {
  AgentProcess agent(ensemble().connect_string(), flags("30s"));
  ASSERT_TRUE(agent.start());
  UnixHttp http(agent.socket());
  ASSERT_EQ(http.put(target("web", "t") + "?wait=30s", R"({"data":"x","ttl":"2s"})").status, 200);
  agent.signal(SIGSTOP);
  std::this_thread::sleep_for(milliseconds(5'000));
  agent.signal(SIGCONT);
  std::this_thread::sleep_for(milliseconds(500));
  EXPECT_EQ(http.post(target("web", "t") + "/heartbeat", "").status, 200);
  EXPECT_TRUE(gone(http, target("web", "t")));
}

TEST_F(Lives, D7_WhatIsBoundToAProcessEndsWithIt) {
  AgentProcess agent(ensemble().connect_string(), flags());
  ASSERT_TRUE(agent.start());
  UnixHttp http(agent.socket());
  const pid_t child = spawn();
  const auto put = http.put(target("web", "p") + "?wait=30s", with_pid(child));
  ASSERT_EQ(put.status, 200) << put.body;
  EXPECT_EQ(put.json()["bind"], "process");
  EXPECT_EQ(http.put(target("web", "p"), with_pid(child)).json()["seq"], put.json()["seq"]);
  ::kill(child, SIGKILL);  // it stays a zombie, which counts as ended
  ASSERT_TRUE(gone(http, target("web", "p")));
  EXPECT_FALSE(told(http, "p", "process_ended").is_null());
  // One that is not there is refused at once.
  ::waitpid(child, nullptr, 0);
  const auto refused = http.put(target("web", "p"), with_pid(child));
  EXPECT_EQ(refused.status, 422) << refused.body;
}

TEST_F(Lives, D8_OneThatEndedWhileTheAgentWasDownIsFoundAtTheStart) {
  AgentProcess agent(ensemble().connect_string(), flags());
  ASSERT_TRUE(agent.start());
  UnixHttp http(agent.socket());
  const pid_t dies = spawn();
  const pid_t lives = spawn();
  ASSERT_EQ(http.put(target("web", "dies") + "?wait=30s", with_pid(dies)).status, 200);
  ASSERT_EQ(http.put(target("web", "lives") + "?wait=30s", with_pid(lives)).status, 200);
  agent.kill();
  http.close();
  end(dies);
  ASSERT_TRUE(agent.start());
  EXPECT_TRUE(gone(http, target("web", "dies")));
  EXPECT_TRUE(in_state(http, target("web", "lives"), "registered"));
}

TEST_F(Lives, D13_D14_WhatIsBoundToAConnectionEndsWithIt) {
  auto arguments = flags();
  arguments.insert(arguments.end(), {"--connection-grace", "3s"});
  AgentProcess agent(ensemble().connect_string(), arguments);
  ASSERT_TRUE(agent.start());
  UnixHttp http(agent.socket());
  const std::string bound = R"({"data":"x","bind":"connection"})";
  UnixHttp holder(agent.socket());
  ASSERT_EQ(holder.put(target("web", "c") + "?wait=30s", bound).status, 200);
  holder.close();
  ASSERT_TRUE(gone(http, target("web", "c")));
  EXPECT_FALSE(told(http, "c", "connection_closed").is_null());

  UnixHttp comes_back(agent.socket());
  UnixHttp stays_away(agent.socket());
  const auto first = comes_back.put(target("web", "back") + "?wait=30s", bound);
  ASSERT_EQ(first.status, 200);
  ASSERT_EQ(stays_away.put(target("web", "away") + "?wait=30s", bound).status, 200);
  agent.kill();
  http.close();
  comes_back.close();
  stays_away.close();
  ASSERT_TRUE(agent.start());
  const auto again = comes_back.put(target("web", "back"), bound);
  EXPECT_EQ(again.json()["seq"], first.json()["seq"]);
  EXPECT_TRUE(gone(http, target("web", "away")));
  EXPECT_EQ(http.get(target("web", "back")).status, 200);
}

TEST_F(Lives, D15_ThousandsOfBoundOnesCostNoThreadAndFewDescriptors) {
  constexpr int kProcesses = 500;
  constexpr int kEach = 10;
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_max / 2 < kProcesses + 100) {
    GTEST_SKIP() << "limpetd may open " << limit.rlim_max << " files here, of which half are for processes";
  }
  AgentProcess agent(ensemble().connect_string(), flags());
  ASSERT_TRUE(agent.start());
  UnixHttp http(agent.socket());
  ASSERT_TRUE(agent.wait_connected());
  const auto count = [&](const char* what) {
    const auto folder = std::filesystem::directory_iterator("/proc/" + std::to_string(agent.pid()) + "/" + what);
    return std::distance(std::filesystem::begin(folder), std::filesystem::end(folder));
  };
  const auto open_as = [&](const std::string& what) {
    std::ptrdiff_t found = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/" + std::to_string(agent.pid()) + "/fd")) {
      std::error_code closed;
      found += std::filesystem::read_symlink(entry.path(), closed) == what ? 1 : 0;
    }
    return found;
  };
  const auto threads = count("task");
  const auto epoll_sets = open_as("anon_inode:[eventpoll]");
  const auto descriptors = count("fd");
  std::vector<pid_t> processes;
  for (int p = 0; p < kProcesses; ++p) {
    processes.push_back(spawn());
    nlohmann::json operations = nlohmann::json::array();
    for (int i = 0; i < kEach; ++i) {
      operations.push_back({{"op", "register"},
                            {"service", "s" + std::to_string(p)},
                            {"instance", std::to_string(i)},
                            {"data", "x"},
                            {"bind", "process"},
                            {"pid", processes.back()}});
    }
    const auto answer = http.post("/v1/batch", nlohmann::json{{"operations", operations}}.dump());
    ASSERT_EQ(answer.status, 202) << answer.body;
  }
  EXPECT_EQ(agent.status()["registrations"]["total"], kProcesses * kEach);
  EXPECT_EQ(count("task"), threads);
  // One for each process, and as many epoll sets as before.
  EXPECT_LE(count("fd"), descriptors + kProcesses + 8);
  EXPECT_EQ(open_as("anon_inode:[pidfd]"), kProcesses);
  EXPECT_EQ(open_as("anon_inode:[eventpoll]"), epoll_sets);
  for (int p = 1; p < kProcesses; ++p) {
    end(processes[static_cast<std::size_t>(p)]);
  }
  EXPECT_TRUE(agent.wait_status([](const auto& status) {
    return status["registrations"]["total"] == kEach && status["registrations"]["removing"] == 0;
  }));
}

TEST_F(Lives, AFailingCheckWithdrawsAndRecovers) {
  AgentProcess agent(ensemble().connect_string(), flags());
  ASSERT_TRUE(agent.start());
  UnixHttp http(agent.socket());
  ZkObserver observer(ensemble().connect_string());
  Listening service;
  const auto put = http.put(target("web", "k") + "?wait=30s",
                            R"({"data":"x","checks":[{"type":"tcp","address":")" + service.address() +
                                R"(","interval":"1s","timeout":"1s","rise":1,"fall":2}]})");
  ASSERT_EQ(put.status, 200) << put.body;
  service.shut();
  ASSERT_TRUE(in_state(http, target("web", "k"), "unhealthy"));
  const auto shown = http.get(target("web", "k")).json();
  EXPECT_EQ(shown["reason"]["code"], "check_failed");
  EXPECT_NE(shown["reason"]["message"].get<std::string>().find("refused"), std::string::npos) << shown;
  EXPECT_TRUE(eventually([&] {
    observer.sync();
    return registered(observer).empty();
  }));
  // It is not taken for well at the next start before its check has said so.
  ASSERT_FALSE(told(http, "k", "withdrawn").is_null());
  agent.kill();
  http.close();
  ASSERT_TRUE(agent.start());
  ASSERT_TRUE(agent.wait_connected());
  EXPECT_EQ(http.get(target("web", "k")).json()["state"], "unhealthy");
  service.open();
  EXPECT_TRUE(in_state(http, target("web", "k"), "registered"));
  EXPECT_EQ(http.get(target("web", "k")).json()["seq"], put.json()["seq"]);
  observer.sync();
  EXPECT_EQ(registered(observer).size(), 1u);
  EXPECT_FALSE(told(http, "k", "healthy").is_null());
}

TEST_F(Lives, MaintenanceWithdrawsWhileItLastsAndOutlivesTheAgent) {
  AgentProcess agent(ensemble().connect_string(), flags());
  ASSERT_TRUE(agent.start());
  UnixHttp http(agent.socket());
  ZkObserver observer(ensemble().connect_string());
  const auto standing = [&] {
    observer.sync();
    return registered(observer).size();
  };
  ASSERT_EQ(http.put(target("web", "a") + "?wait=30s", body("a")).status, 200);
  ASSERT_EQ(http.put(target("web", "b") + "?wait=30s", body("b")).status, 200);
  const auto on = http.put(target("web", "a") + "/maintenance", R"({"reason":"new disk"})");
  ASSERT_EQ(on.status, 200) << on.body;
  EXPECT_EQ(on.json()["state"], "maintenance");
  EXPECT_EQ(on.json()["maintenance"]["reason"], "new disk");
  EXPECT_TRUE(eventually([&] { return standing() == 1; }));
  agent.kill();
  http.close();
  ASSERT_TRUE(agent.start());
  ASSERT_TRUE(agent.wait_settled());
  EXPECT_EQ(http.get(target("web", "a")).json()["state"], "maintenance");
  EXPECT_EQ(standing(), 1u);
  // An update while it lasts is kept, and stands there afterwards.
  ASSERT_EQ(http.put(target("web", "a"), body("a2")).status, 202);
  const auto host = http.put("/v1/maintenance", R"({"reason":"reboot"})");
  ASSERT_EQ(host.status, 200) << host.body;
  EXPECT_EQ(agent.status()["maintenance"]["reason"], "reboot");
  EXPECT_TRUE(eventually([&] { return standing() == 0; }));
  EXPECT_EQ(agent.status()["registrations"]["maintenance"], 2);
  ASSERT_EQ(http.del("/v1/maintenance").status, 200);
  EXPECT_TRUE(in_state(http, target("web", "b"), "registered"));
  EXPECT_EQ(http.get(target("web", "a")).json()["state"], "maintenance");
  ASSERT_EQ(http.del(target("web", "a") + "/maintenance").status, 200);
  EXPECT_TRUE(in_state(http, target("web", "a"), "registered"));
  observer.sync();
  EXPECT_EQ(observer.get(root() + "/web/a").value().data, "a2");
  EXPECT_EQ(http.put(target("web", "none") + "/maintenance", "{}").status, 404);
}

TEST_F(Lives, C20_AStormOnOneNameEndsInTheLastAcknowledgedState) {
  AgentProcess agent(ensemble().connect_string(), flags());
  ASSERT_TRUE(agent.start());
  constexpr int kClients = 10;
  constexpr int kRounds = 40;
  struct Last {
    std::uint64_t seq = 0;
    std::string data;  // empty: deregistered
  };
  std::vector<Last> lasts(kClients);
  std::vector<std::thread> clients;
  for (int c = 0; c < kClients; ++c) {
    clients.emplace_back([&, c] {
      UnixHttp http(agent.socket());
      for (int i = 0; i < kRounds; ++i) {
        const std::string data = std::to_string(c) + "-" + std::to_string(i);
        const bool deregister = i % 3 == 1;
        const auto answer =
            deregister ? http.del(target("web", "storm")) : http.put(target("web", "storm"), body(data));
        if (answer.status == 404 && deregister) {
          continue;
        }
        ASSERT_EQ(answer.status, 202) << answer.body;
        // A removal that is asked for twice is one.
        const std::uint64_t seq = answer.json()["seq"];
        if (seq > lasts[static_cast<std::size_t>(c)].seq) {
          lasts[static_cast<std::size_t>(c)] = {seq, deregister ? "" : data};
        }
      }
    });
  }
  for (std::thread& client : clients) {
    client.join();
  }
  ASSERT_TRUE(agent.wait_settled());
  UnixHttp http(agent.socket());
  const std::uint64_t newest = agent.status()["queue"]["last_seq"];
  const auto last = std::max_element(lasts.begin(), lasts.end(), [](auto& a, auto& b) { return a.seq < b.seq; });
  const auto shown = http.get(target("web", "storm"));
  ZkObserver observer(ensemble().connect_string());
  observer.sync();
  const auto standing = observer.get(root() + "/web/storm");
  // An answer shows the state of its moment, which a later change may have overtaken: then its seq is that one's.
  EXPECT_LE(last->seq, newest);
  if (shown.status == 404) {
    EXPECT_FALSE(standing);
  } else {
    EXPECT_EQ(shown.json()["seq"], newest);
    ASSERT_TRUE(standing);
    EXPECT_EQ(shown.json()["data"], standing->data);
  }
}

}  // namespace

}  // namespace limpet::test
