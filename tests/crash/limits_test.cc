// Limits of the process, a slow disk, damage and a second agent, seen from outside.
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <thread>
#include <utility>

#include "tests/crash/daemon.h"
#include "tests/crash/history.h"
#include "tests/crash/servers.h"
#include "tests/crash/strace.h"
#include "tests/support/preload.h"
#include "tests/support/real_ensemble.h"

namespace limpet::test {

namespace {

namespace fs = std::filesystem;

using Clock = std::chrono::steady_clock;

void compare(const Daemon& daemon, History& history) {
  UnixHttp http(daemon.socket());
  const auto listing = list_all(http);
  ASSERT_TRUE(listing.has_value());
  history.check(*listing);
  for (const std::string& violation : history.violations()) {
    ADD_FAILURE() << violation;
  }
}

// name -> content, of every file below `path`.
std::map<std::string, std::string> picture_of(const std::string& path) {
  std::map<std::string, std::string> picture;
  for (const auto& entry : fs::recursive_directory_iterator(path)) {
    std::stringstream text;
    if (entry.is_regular_file()) {
      text << std::ifstream(entry.path(), std::ios::binary).rdbuf();
    }
    picture[entry.path().string()] = text.str();
  }
  return picture;
}

std::string largest(const std::string& path, const std::string& part) {
  std::string found;
  std::uintmax_t size = 0;
  for (const auto& entry : fs::directory_iterator(path)) {
    if (entry.path().filename().string().find(part) != std::string::npos && entry.file_size() >= size) {
      found = entry.path().string();
      size = entry.file_size();
    }
  }
  return found;
}

TEST(Limits, FileSizeLimitIsAnErrorOfACallAndLosesNothing) {
  Daemon daemon;
  Injection injection;
  injection.limits = {{RLIMIT_FSIZE, 400u << 10}};
  ASSERT_TRUE(daemon.start(injection)) << daemon.log();
  History history(daemon.socket(), "web", 3, 10);
  int refused = 0;
  for (int i = 0; i < 4'000 && refused < 3; ++i) {
    if (history.change() == History::Outcome::unknown) {
      ++refused;
      EXPECT_TRUE(history.last_status() == 503 || history.last_status() == 507) << history.last_status();
      ASSERT_TRUE(
          poll_until([&] { return history.put("i-0") == History::Outcome::acknowledged; }, std::chrono::seconds(15)))
          << daemon.log();
    }
  }
  EXPECT_GT(refused, 0) << "the limit was never met";
  compare(daemon, history);
  daemon.kill();
  ASSERT_TRUE(daemon.start()) << daemon.log();
  compare(daemon, history);
}

class Crowd {
 public:
  Crowd(const std::string& path, int size) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    for (int i = 0; i < size; ++i) {
      fds_.push_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
      // Those beyond the queue of the socket are refused: a crowd all the same.
      if (::connect(fds_.back(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) {
        ++connected_;
      }
    }
  }
  ~Crowd() { leave(); }
  void leave() {
    for (const int fd : fds_) {
      ::close(fd);
    }
    fds_.clear();
  }
  int connected() const { return connected_; }

 private:
  std::vector<int> fds_;
  int connected_ = 0;
};

double cpu_seconds(pid_t pid) {
  std::ifstream stream("/proc/" + std::to_string(pid) + "/stat");
  std::string text;
  std::getline(stream, text);
  std::istringstream fields(text.substr(text.rfind(')') + 2));
  std::string skipped;
  for (int i = 3; i < 14; ++i) {
    fields >> skipped;
  }
  double user = 0;
  double system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

TEST(Limits, TooManyClientsForItsFilesDoNotHarmTheStore) {
  Daemon daemon;
  Injection injection;
  injection.limits = {{RLIMIT_NOFILE, 64}};
  ASSERT_TRUE(daemon.start(injection)) << daemon.log();
  History history(daemon.socket(), "web", 4);
  ASSERT_EQ(history.put("i-0"), History::Outcome::acknowledged);  // keeps its connection
  Crowd crowd(daemon.socket(), 200);
  EXPECT_GT(crowd.connected(), 64);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const double before = cpu_seconds(daemon.pid());
  std::this_thread::sleep_for(std::chrono::seconds(1));
  EXPECT_LT(cpu_seconds(daemon.pid()) - before, 0.2) << "seconds of CPU in a second: it spins";
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(history.put("i-1"), History::Outcome::acknowledged) << history.last_status();
  }
  crowd.leave();
  EXPECT_TRUE(poll_until([&] { return daemon.status().is_object(); }, std::chrono::seconds(10)));
  compare(daemon, history);
  daemon.kill();
  ASSERT_TRUE(daemon.start()) << daemon.log();
  compare(daemon, history);
}

std::ptrdiff_t open_files(const Daemon& daemon) {
  const auto list = fs::directory_iterator("/proc/" + std::to_string(daemon.pid()) + "/fd");
  return std::distance(begin(list), end(list));
}

// Whoever may connect must not be able to keep the agent from its servers.
TEST(Limits, ClientsThatTakeAllTheyCanDoNotCostItTheSession) {
  ASSERT_TRUE(servers().restore()) << servers().console();
  Daemon daemon(servers().connect_string(), {"--root", "/few_files", "--session-timeout", "10s"});
  Injection injection;
  injection.limits = {{RLIMIT_NOFILE, 128}};
  ASSERT_TRUE(daemon.start(injection)) << daemon.log();
  UnixHttp http(daemon.socket());
  const std::string target = "/v1/registrations/web/";
  ASSERT_EQ(http.put(target + "before?wait=60s", "{}").status, 200);
  const auto before = http.get("/v1/status").json()["zookeeper"];
  Crowd crowd(daemon.socket(), 300);
  std::ptrdiff_t files = 0;
  ASSERT_TRUE(poll_until([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    return std::exchange(files, open_files(daemon)) == files && files > 64;
  })) << files;
  for (int i = 0; i < servers().size(); ++i) {
    if (before["server"] == servers().address(i)) {
      servers().kill(i);
    }
  }
  EXPECT_TRUE(poll_until(
      [&] {
        const HttpAnswer answer = http.get("/v1/status");
        const auto now = answer.status == 200 ? answer.json()["zookeeper"] : nlohmann::json();
        return now.is_object() && now["state"] == "connected" && now["server"] != before["server"];
      },
      std::chrono::seconds(20)))
      << daemon.ended() << daemon.exit_code() << files << " files; " << daemon.log();
  const auto after = http.get("/v1/status").json();
  ASSERT_TRUE(after.is_object()) << daemon.log();
  EXPECT_EQ(after["zookeeper"]["session"], before["session"]);
  EXPECT_EQ(http.put(target + "after?wait=60s", "{}").status, 200);
  // Who comes now is told why.
  EXPECT_TRUE(poll_until([&] {
    const HttpAnswer late = UnixHttp(daemon.socket()).get("/v1/status");  // none where it hangs up while that is sent
    return late.status == 503 && late.json().value("code", "") == "too_many_connections";
  }));
  crowd.leave();
  EXPECT_TRUE(poll_until([&] { return daemon.status().is_object(); }));
  EXPECT_FALSE(daemon.ended());
  servers().restore();
}

// Not one can be opened, for whatever reason: what is there is served, nobody is taken for dead, and the session is
// taken up again when there are some.
TEST(Limits, WithoutAnyFileToOpenItLivesOnAndComesBack) {
  ASSERT_TRUE(servers().restore()) << servers().console();
  Daemon daemon(servers().connect_string(), {"--root", "/no_files", "--session-timeout", "10s"});
  ASSERT_TRUE(daemon.start()) << daemon.log();
  UnixHttp http(daemon.socket());
  const std::string target = "/v1/registrations/web/";
  const std::string bound = R"({"bind":"process","pid":)" + std::to_string(::getpid()) + "}";
  ASSERT_EQ(http.put(target + "before?wait=60s", bound).status, 200);
  const auto before = http.get("/v1/status").json()["zookeeper"];
  rlimit limit{};
  ASSERT_EQ(::prlimit(daemon.pid(), RLIMIT_NOFILE, nullptr, &limit), 0);
  const rlimit none{0, limit.rlim_max};
  ASSERT_EQ(::prlimit(daemon.pid(), RLIMIT_NOFILE, &none, nullptr), 0);
  for (int i = 0; i < servers().size(); ++i) {
    if (before["server"] == servers().address(i)) {
      servers().kill(i);
    }
  }
  const auto until = Clock::now() + std::chrono::seconds(4);
  for (int i = 0; Clock::now() < until; ++i) {
    ASSERT_EQ(http.get("/healthz").status, 200) << daemon.log();
    EXPECT_EQ(http.put(target + std::to_string(i), "{}").status, 202);
    EXPECT_EQ(http.put(target + "bound", bound).status, 422);
    EXPECT_EQ(http.get(target + "before").status, 200);
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  ASSERT_EQ(::prlimit(daemon.pid(), RLIMIT_NOFILE, &limit, nullptr), 0);
  ASSERT_EQ(http.put(target + "after?wait=60s", bound).status, 200) << daemon.log();
  EXPECT_EQ(http.get("/v1/status").json()["zookeeper"]["session"], before["session"]);
  EXPECT_EQ(http.get(target + "before").json().value("state", ""), "registered");
  servers().restore();
}

// The system has no more threads to give. Either the agent serves, or it says why and ends with 1; it never aborts.
TEST(Limits, NoMoreThreadsIsSaid) {
  int refused = 0;
  for (int threads = 0; threads <= 14; ++threads) {
    SCOPED_TRACE(std::to_string(threads) + " threads");
    Daemon daemon;
    Injection injection;
    injection.environment = {preload(THREADS_SHIM), "LIMPET_TEST_THREADS=" + std::to_string(threads)};
    if (daemon.start(injection)) {
      History history(daemon.socket(), "web", 10);
      EXPECT_EQ(history.put("i-0"), History::Outcome::acknowledged);
      // Names are looked up by threads, some or all of which it does not get.
      const std::string check = R"({"checks":[{"type":"tcp","address":"nowhere.invalid:80","interval":"1s"}]})";
      UnixHttp http(daemon.socket());
      EXPECT_EQ(http.put("/v1/registrations/web/checked", check).status, 202);
      std::this_thread::sleep_for(std::chrono::milliseconds(1'200));  // the check has run once
      EXPECT_EQ(http.get("/healthz").status, 200) << daemon.log();
      EXPECT_FALSE(daemon.ended());
    } else {
      ++refused;
      EXPECT_EQ(daemon.exit_code(), 1) << daemon.log();
      EXPECT_NE(daemon.log().find("limpetd: "), std::string::npos) << daemon.log();
    }
  }
  EXPECT_GT(refused, 0) << "no fault fired";
  EXPECT_LT(refused, 14) << "it never started";
}

// Row B40: so little memory that some of it is refused.
TEST(Limits, LittleMemoryLosesNothing) {
  int served = 0;
  for (const rlim_t mib : {100, 200, 300, 600}) {
    Daemon daemon;
    Injection injection;
    injection.limits = {{RLIMIT_AS, mib << 20}};
    History history(daemon.socket(), "web", 11);
    if (daemon.start(injection)) {
      ++served;
      for (int i = 0; i < 100 && history.change() != History::Outcome::unknown; ++i) {
      }
      daemon.kill();
    } else {
      EXPECT_EQ(daemon.exit_code(), 1) << mib << " MiB: " << daemon.log();
    }
    ASSERT_TRUE(daemon.start()) << daemon.log();
    compare(daemon, history);
  }
  EXPECT_GT(served, 0);
}

TEST(Limits, SlowDiskDelaysItsCallersOnly) {
  if (const std::string why = why_no_strace(); !why.empty()) {
    GTEST_SKIP() << why;
  }
  Daemon daemon;
  // From the tenth on each takes two seconds.
  ASSERT_TRUE(daemon.start(inject(daemon, "fdatasync", "delay_exit=2000000:when=10+"))) << daemon.log();
  History history(daemon.socket(), "web", 6);
  std::chrono::milliseconds slowest_change(0);
  std::chrono::milliseconds slowest_read(0);
  std::atomic<bool> stop = false;
  std::thread reader([&] {
    UnixHttp http(daemon.socket());
    while (!stop) {
      const auto before = Clock::now();
      EXPECT_EQ(http.get("/v1/status").status, 200);
      slowest_read =
          std::max(slowest_read, std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - before));
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  });
  for (int i = 0; i < 12; ++i) {
    const auto before = Clock::now();
    EXPECT_EQ(history.put("i-" + std::to_string(i)), History::Outcome::acknowledged);
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - before);
    slowest_change = std::max(slowest_change, took);
    if (took > std::chrono::seconds(1)) {
      break;
    }
  }
  stop = true;
  reader.join();
  EXPECT_GT(slowest_change, std::chrono::milliseconds(1'900)) << "the disk was not slow";
  EXPECT_LT(slowest_read, std::chrono::milliseconds(1'000));
  daemon.kill();
  ASSERT_TRUE(daemon.start());
  compare(daemon, history);
}

TEST(Damage, IsRefusedWithCodeFourAndNothingIsTouched) {
  struct Case {
    const char* what;
    std::function<void(const std::string& dir)> harm;
  };
  const std::vector<Case> cases = {
      {"a bit in the log",
       [](const std::string& dir) {
         const std::string file = largest(dir + "/db", ".log");
         std::string log = picture_of(dir + "/db")[file];
         log[log.find_last_not_of('\0') / 2] ^= 1;  // the rest is zeros
         std::ofstream(file, std::ios::binary) << log;
       }},
      {"no MANIFEST", [](const std::string& dir) { fs::remove(largest(dir + "/db", "MANIFEST")); }},
      {"no CURRENT", [](const std::string& dir) { fs::remove(dir + "/db/CURRENT"); }},
      {"no log", [](const std::string& dir) { fs::remove(largest(dir + "/db", ".log")); }},
      {"no database", [](const std::string& dir) { fs::remove_all(dir + "/db"); }},
      {"no FORMAT", [](const std::string& dir) { fs::remove(dir + "/FORMAT"); }},
      {"a later FORMAT", [](const std::string& dir) { std::ofstream(dir + "/FORMAT") << "limpet state\nformat 9\n"; }},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.what);
    Daemon daemon;
    ASSERT_TRUE(daemon.start()) << daemon.log();
    History history(daemon.socket(), "web", 8);
    for (int i = 0; i < 20; ++i) {
      ASSERT_NE(history.change(), History::Outcome::unknown);
    }
    daemon.kill();
    one.harm(daemon.data_dir());
    const auto before = picture_of(daemon.data_dir());
    EXPECT_FALSE(daemon.start());
    EXPECT_EQ(daemon.exit_code(), 4);
    EXPECT_NE(daemon.log().find("What to do:"), std::string::npos) << daemon.log();
    EXPECT_EQ(picture_of(daemon.data_dir()), before);
  }
}

TEST(Damage, ASecondAgentIsTurnedAwayAndTheFirstDoesNotNotice) {
  Daemon daemon;
  ASSERT_TRUE(daemon.start()) << daemon.log();
  History history(daemon.socket(), "web", 9);
  ASSERT_EQ(history.put("i-0"), History::Outcome::acknowledged);
  const auto before = picture_of(daemon.data_dir());
  Daemon second(Daemon::kUnreachable, {}, daemon.directory());
  ASSERT_EQ(second.data_dir(), daemon.data_dir());
  EXPECT_FALSE(second.start());
  EXPECT_EQ(second.exit_code(), 3) << second.log();
  EXPECT_NE(second.log().find("in use"), std::string::npos) << second.log();
  EXPECT_EQ(picture_of(daemon.data_dir()), before);
  EXPECT_EQ(history.put("i-1"), History::Outcome::acknowledged);
  compare(daemon, history);
}

}  // namespace

}  // namespace limpet::test
