// A disk that hangs: fdatasync does not return, for as long as a file exists. What the agent then says of itself, what
// goes on, and what callers hear.
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <regex>
#include <thread>

#include "tests/cli/run_limpet.h"
#include "tests/crash/daemon.h"
#include "tests/crash/servers.h"
#include "tests/support/preload.h"
#include "tests/support/zk_observer.h"

namespace limpet::test {
namespace {

constexpr auto kPatience = std::chrono::seconds(60);
constexpr int kRegistrations = 20;

class HungDisk : public ::testing::Test {
 protected:
  static std::string target(const std::string& name) { return "/v1/registrations/web/" + name; }

  void start() {
    Injection injection;
    injection.environment = {preload(HANG_SHIM), "LIMPET_HANG_FILE=" + hang_file()};
    ASSERT_TRUE(daemon_.start(injection)) << daemon_.log();
    UnixHttp http(daemon_.socket());
    for (int i = 0; i < kRegistrations; ++i) {
      const HttpAnswer answer = http.put(target("i-" + std::to_string(i)) + "?wait=60s", R"({"data":"x","ttl":"1h"})");
      ASSERT_EQ(answer.status, 200) << answer.body;
    }
  }
  std::string hang_file() const { return daemon_.directory() + "/hang"; }
  void hang() const { std::ofstream(hang_file()) << "\n"; }
  void answer() const { std::filesystem::remove(hang_file()); }

  // The answer to a PUT of web/late; status 0 where none comes in time.
  std::future<HttpAnswer> put_late() const {
    return std::async(std::launch::async,
                      [socket = daemon_.socket()] { return UnixHttp(socket).put(target("late"), R"({"data":"x"})"); });
  }
  bool eventually(const std::function<bool()>& done) const {
    const auto until = std::chrono::steady_clock::now() + kPatience;
    while (!done()) {
      if (std::chrono::steady_clock::now() >= until) {
        return false;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return true;
  }
  nlohmann::json storage() const { return daemon_.status()["storage"]; }
  std::string metric(const std::string& name) const {
    const std::string text = UnixHttp(daemon_.socket()).get("/metrics").body;
    const std::size_t at = text.find("\n" + name + " ");
    return at == std::string::npos ? ""
                                   : text.substr(at + name.size() + 2, text.find('\n', at + 1) - at - name.size() - 2);
  }
  Outcome limpet(std::vector<std::string> words) const {
    words.insert(words.begin(), {"--socket", daemon_.socket()});
    Outcome outcome = run_limpet(words, Setting{{"PATH=/usr/bin:/bin"}, "", {}, "", false, false});
    outcome.out = std::regex_replace(outcome.out, std::regex("\\s+"), " ");  // where lines break says nothing
    return outcome;
  }
  std::size_t znodes(ZkObserver& observer) const {
    observer.sync();
    return observer.children(kDiskRoot + "/web").size();
  }

  const std::string kDiskRoot = std::string("/") + ::testing::UnitTest::GetInstance()->current_test_info()->name();
  Daemon daemon_{servers().connect_string(), {"--root", kDiskRoot, "--session-timeout", "4s"}};
};

TEST_F(HungDisk, IsReportedEverywhereAndAWaitingChangeGetsIts503WhileReadsAndHeartbeatsGoOn) {
  start();
  hang();
  auto late = put_late();
  ASSERT_TRUE(eventually([&] { return storage()["healthy"] == false; })) << daemon_.status().dump();
  EXPECT_EQ(storage()["state"], "hung");
  EXPECT_NE(storage()["error"].get<std::string>().find("the disk has not answered since "), std::string::npos);
  ASSERT_EQ(late.wait_for(kPatience), std::future_status::ready) << "nobody answers the PUT";
  const HttpAnswer refused = late.get();
  EXPECT_EQ(refused.status, 503) << refused.body;
  EXPECT_EQ(refused.json()["code"], "storage_failed");

  UnixHttp http(daemon_.socket());
  EXPECT_EQ(http.put(target("later"), R"({"data":"x"})").status, 503) << "refused at once";
  EXPECT_EQ(http.get("/readyz").status, 503);
  EXPECT_EQ(http.get("/healthz").status, 200);
  EXPECT_EQ(http.get(target("i-0")).json()["state"], "registered");
  EXPECT_EQ(http.post(target("i-0") + "/heartbeat", "").status, 200);
  EXPECT_EQ(http.put(target("i-0"), R"({"data":"x","ttl":"1h"})").status, 200) << "what is on disk may be said again";
  EXPECT_EQ(http.get("/v1/history?limit=5").status, 200);
  EXPECT_EQ(metric("limpet_storage_healthy"), "0");
  EXPECT_GE(std::stod("0" + metric("limpet_storage_append_pending_seconds")), 5.0);
  EXPECT_NE(daemon_.log().find("storage_hangs"), std::string::npos) << daemon_.log();

  const Outcome status = limpet({"status"});
  EXPECT_EQ(status.exit, 1);
  EXPECT_NE(status.out.find("Needs a hand: the agent's disk has not answered for "), std::string::npos) << status.out;
  const Outcome doctor = limpet({"doctor"});
  EXPECT_EQ(doctor.exit, 1);
  EXPECT_NE(doctor.out.find("the disk has not answered since "), std::string::npos) << doctor.out;
  EXPECT_EQ(doctor.out.find("All is well"), std::string::npos) << doctor.out;

  answer();
  ASSERT_TRUE(eventually([&] { return storage()["healthy"] == true; })) << daemon_.status().dump();
  EXPECT_EQ(http.get("/readyz").status, 200);
  EXPECT_EQ(http.put(target("late") + "?wait=60s", R"({"data":"x"})").status, 200) << "the same again is safe";
  EXPECT_EQ(http.get(target("late")).json()["seq"], kRegistrations + 1) << "it had happened, as a whole";
  EXPECT_EQ(limpet({"status"}).exit, 0);
}

TEST_F(HungDisk, NothingIsCalledWellWhileTheSessionHasEndedAndTheNewOneIsNotOnDisk) {
  start();
  ZkObserver observer(servers().connect_string());
  ASSERT_EQ(znodes(observer), static_cast<std::size_t>(kRegistrations));
  const std::string before = daemon_.status()["zookeeper"]["session"];
  daemon_.signal(SIGSTOP);
  ASSERT_TRUE(eventually([&] { return znodes(observer) == 0; })) << "the session does not end";
  hang();
  daemon_.signal(SIGCONT);
  ASSERT_TRUE(eventually([&] {
    const auto session = daemon_.status()["zookeeper"]["session"];
    return session.is_string() && session != before;
  })) << daemon_.status().dump();

  const auto status = daemon_.status();
  EXPECT_EQ(status["registrations"]["pending"], kRegistrations) << status.dump();
  EXPECT_EQ(status["queue"]["depth"], kRegistrations);
  EXPECT_EQ(UnixHttp(daemon_.socket()).get("/readyz").json().value("degraded", true), true);
  EXPECT_EQ(limpet({"status"}).out.find("All is well"), std::string::npos);
  const Outcome doctor = limpet({"doctor"});
  EXPECT_EQ(doctor.exit, 1);
  EXPECT_EQ(doctor.out.find("All is well"), std::string::npos) << doctor.out;
  EXPECT_EQ(znodes(observer), 0u);
  ASSERT_TRUE(eventually([&] { return limpet({"status"}).exit == 1; })) << limpet({"status"}).out;
  EXPECT_NE(limpet({"status"}).out.find("20 registrations of 20 not in ZooKeeper"), std::string::npos)
      << limpet({"status"}).out;

  answer();
  ASSERT_TRUE(eventually([&] { return daemon_.status()["registrations"]["registered"] == kRegistrations; }))
      << daemon_.status().dump();
  EXPECT_EQ(znodes(observer), static_cast<std::size_t>(kRegistrations));
}

TEST_F(HungDisk, StopEndsInTimeAllTheSame) {
  start();
  hang();
  auto late = put_late();
  ASSERT_TRUE(eventually([&] { return storage()["healthy"] == false; }));
  daemon_.signal(SIGTERM);
  EXPECT_TRUE(daemon_.wait_ended(kPatience));
  EXPECT_EQ(daemon_.exit_code(), 0) << daemon_.log();
  answer();
}

}  // namespace
}  // namespace limpet::test
