// GET /metrics of the real limpetd, with real servers that lose their quorum.
#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "tests/metrics/exposition.h"
#include "tests/support/agent_process.h"
#include "tests/support/real_ensemble.h"
#include "tests/support/zk_observer.h"

namespace limpet::test {
namespace {

Exposition scrape(const AgentProcess& agent) {
  UnixHttp http(agent.socket());
  const HttpAnswer answer = http.get("/metrics");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.content_type, "text/plain; version=0.0.4; charset=utf-8");
  Exposition exposition(answer.body);
  for (const std::string& error : exposition.errors()) {
    ADD_FAILURE() << error;
  }
  return exposition;
}

// What is counted when it is on disk comes a moment after what it counts.
bool becomes(const AgentProcess& agent, const std::string& series, double at_least) {
  return poll_until([&] { return scrape(agent)[series] >= at_least; });
}

void expect_not_less(const Exposition& before, const Exposition& after) {
  const auto now = after.monotone();
  for (const auto& [series, value] : before.monotone()) {
    const auto found = now.find(series);
    ASSERT_NE(found, now.end()) << series;
    EXPECT_GE(found->second, value) << series;
  }
}

std::string target(const std::string& instance) {
  return "/v1/registrations/web/" + instance;
}

class Metrics : public ::testing::Test {
 protected:
  AgentProcess agent_{"127.0.0.1:1"};
};

TEST_F(Metrics, AreThereWithoutZooKeeper) {
  ASSERT_TRUE(agent_.start()) << agent_.log();
  const Exposition metrics = scrape(agent_);
  EXPECT_EQ(metrics["limpet_zookeeper_session_state{state=\"connecting\"}"], 1);
  EXPECT_EQ(metrics["limpet_zookeeper_session_state{state=\"connected\"}"], 0);
  EXPECT_EQ(metrics["limpet_queue_limit"], 1'000'000);
  EXPECT_EQ(metrics["limpet_storage_healthy"], 1);
  EXPECT_GT(metrics["limpet_storage_bytes"], 0);
  EXPECT_GT(metrics["limpet_storage_free_bytes"], 0);
  EXPECT_GT(metrics["limpet_process_resident_memory_bytes"], 1'000'000);
  EXPECT_GT(metrics["limpet_process_open_fds"], 3);
  EXPECT_GE(metrics["limpet_process_max_fds"], metrics["limpet_process_open_fds"]);
  const double started = metrics["limpet_process_start_time_seconds"];
  EXPECT_NEAR(started, static_cast<double>(::time(nullptr)), 600);
  EXPECT_EQ(scrape(agent_)["limpet_process_start_time_seconds"], started);
  UnixHttp http(agent_.socket());
  EXPECT_EQ(http.post("/metrics", "").status, 405);
  EXPECT_EQ(http.get("/metrics?x=1").status, 400);
}

TEST_F(Metrics, TellWhatCallersDoAndAreRefused) {
  ASSERT_TRUE(agent_.start()) << agent_.log();
  UnixHttp http(agent_.socket());
  ASSERT_EQ(http.put(target("a"), R"({"data":"1","ttl":"24h"})").status, 202);
  ASSERT_EQ(http.put(target("b"), R"({"data":"1","bind":"connection","expires":"24h"})").status, 202);
  ASSERT_EQ(http.put(target("c"), R"({"data":"1","bind":"process","pid":)" + std::to_string(::getpid()) + "}").status,
            202);
  ASSERT_EQ(http.post(target("a") + "/heartbeat", "").status, 200);
  ASSERT_EQ(http.put(target("x"), R"({"prot":1})").status, 422);
  ASSERT_EQ(http.get(target("nobody")).status, 404);
  const Exposition before = scrape(agent_);
  ASSERT_EQ(http.put(target("a") + "?wait=1ms", R"({"data":"2","ttl":"24h"})").status, 202);
  const Exposition metrics = scrape(agent_);
  expect_not_less(before, metrics);
  EXPECT_EQ(metrics["limpet_changes_accepted_total{operation=\"register\"}"], 4);
  EXPECT_EQ(metrics["limpet_changes_superseded_total"] + before["limpet_changes_superseded_total"], 0);
  EXPECT_EQ(metrics["limpet_last_seq"], 4);
  EXPECT_EQ(metrics["limpet_queue_depth"], 3);
  EXPECT_EQ(metrics["limpet_api_problems_total{code=\"invalid\"}"], 1);
  EXPECT_EQ(metrics["limpet_api_problems_total{code=\"not_found\"}"], 1);
  EXPECT_EQ(metrics["limpet_heartbeats_total"], 1);
  EXPECT_EQ(metrics["limpet_registrations_bound{by=\"ttl\"}"], 1);
  EXPECT_EQ(metrics["limpet_registrations_bound{by=\"connection\"}"], 1);
  EXPECT_EQ(metrics["limpet_registrations_bound{by=\"process\"}"], 1);
  EXPECT_EQ(metrics["limpet_registrations_bound{by=\"expires\"}"], 1);
  EXPECT_EQ(metrics["limpet_watched_processes"], 1);
  // Ours, and that of the scrape itself.
  EXPECT_TRUE(poll_until([&] { return scrape(agent_)["limpet_api_connections"] == 2; }));
  EXPECT_GE(metrics["limpet_api_connections_accepted_total"], 3);
  // Three changes and the heartbeat; what waited for ZooKeeper is none of it.
  EXPECT_EQ(metrics["limpet_acknowledgement_duration_seconds_count"], 4);
  EXPECT_GT(metrics["limpet_acknowledgement_duration_seconds_sum"], 0);
  EXPECT_GE(metrics["limpet_storage_sync_duration_seconds_count"], 4);
  EXPECT_TRUE(becomes(agent_, "limpet_changes_superseded_total", 1));
  ASSERT_EQ(http.put(target("d"), R"({"data":"1","checks":[{"type":"tcp","address":"127.0.0.1:1","fall":1}]})").status,
            202);
  EXPECT_EQ(scrape(agent_)["limpet_registrations_bound{by=\"checks\"}"], 1);
  EXPECT_TRUE(becomes(agent_, "limpet_checks{state=\"failing\"}", 1));
  // Nothing to withdraw without a session; but what was never published is held back.
  EXPECT_TRUE(becomes(agent_, "limpet_registrations{state=\"unhealthy\"}", 1));
  EXPECT_EQ(scrape(agent_)["limpet_checks{state=\"passing\"}"], 0);
}

TEST_F(Metrics, CountTheConnectionsThatAreTurnedAway) {
  AgentProcess agent("127.0.0.1:1", {"--max-connections", "1"});
  ASSERT_TRUE(agent.start()) << agent.log();
  {
    UnixHttp first(agent.socket());
    UnixHttp second(agent.socket());
    // The one that asked whether it serves may not be gone yet.
    ASSERT_TRUE(poll_until([&] { return first.get("/healthz").status == 200; }));
    EXPECT_EQ(second.get("/healthz").status, 503);
  }
  HttpAnswer answer;
  ASSERT_TRUE(poll_until([&] {
    answer = UnixHttp(agent.socket()).get("/metrics");
    return answer.status == 200;
  }));
  const Exposition metrics(answer.body);
  EXPECT_GE(metrics["limpet_api_connections_refused_total"], 1);
  EXPECT_EQ(metrics["limpet_api_problems_total{code=\"too_many_connections\"}"],
            metrics["limpet_api_connections_refused_total"]);
  EXPECT_EQ(metrics["limpet_api_connections_limit"], 1);
}

constexpr const char* kConnected = "limpet_zookeeper_session_state{state=\"connected\"}";
constexpr const char* kSuspendedSeconds = "limpet_zookeeper_session_seconds_total{state=\"suspended\"}";

TEST_F(Metrics, TellOfAnOutageFromItsBeginningToItsEnd) {
  RealEnsemble ensemble;
  RealEnsemble::started(ensemble);
  AgentProcess agent(ensemble.connect_string());
  ASSERT_TRUE(agent.start()) << agent.log();
  ZkObserver observer(ensemble.connect_string());
  ASSERT_EQ(observer.create_with_parents("/services/web/theirs", "", false), 0);
  UnixHttp http(agent.socket());
  for (const char* name : {"a", "b", "c", "theirs"}) {
    ASSERT_EQ(http.put(target(name), R"({"data":"1"})").status, 202);
  }
  ASSERT_TRUE(becomes(agent, "limpet_registrations{state=\"registered\"}", 3)) << agent.log();
  ASSERT_TRUE(becomes(agent, "limpet_changes_applied_total{operation=\"register\"}", 3));
  ASSERT_TRUE(becomes(agent, "limpet_zookeeper_refusals_total{code=\"persistent_znode\"}", 1));
  const Exposition before = scrape(agent);
  EXPECT_EQ(before[kConnected], 1);
  EXPECT_GE(before["limpet_zookeeper_session_changes_total{state=\"connected\"}"], 1);
  EXPECT_GE(before["limpet_zookeeper_sessions_total"], 1);
  EXPECT_EQ(before["limpet_registrations{state=\"conflict\"}"], 1);
  EXPECT_EQ(before["limpet_queue_depth"], 1);  // the one in conflict
  EXPECT_GE(before["limpet_replayed_operations_total{operation=\"create\"}"], 3);
  EXPECT_GE(before["limpet_zookeeper_requests_total"], 3);

  ensemble.kill_quorum();
  ASSERT_TRUE(poll_until([&] { return scrape(agent)[kConnected] == 0; })) << agent.log();
  ASSERT_EQ(http.put(target("d"), R"({"data":"1"})").status, 202);
  ASSERT_EQ(http.put(target("a"), R"({"data":"2"})").status, 202);
  ASSERT_EQ(http.del(target("b")).status, 202);
  const Exposition during = scrape(agent);
  expect_not_less(before, during);
  EXPECT_EQ(during["limpet_queue_depth"], 4);
  EXPECT_GT(during["limpet_queue_oldest_age_seconds"], 0);
  EXPECT_EQ(during["limpet_registrations{state=\"suspended\"}"], 1);
  EXPECT_EQ(during["limpet_changes_accepted_total{operation=\"register\"}"], 6);
  EXPECT_EQ(during["limpet_changes_accepted_total{operation=\"deregister\"}"], 1);
  EXPECT_LT(during["limpet_applied_seq"], during["limpet_last_seq"]);
  ASSERT_TRUE(becomes(agent, kSuspendedSeconds, during[kSuspendedSeconds] + 0.05));

  ASSERT_TRUE(ensemble.restore());
  ASSERT_TRUE(becomes(agent, kConnected, 1)) << agent.log();
  ASSERT_TRUE(becomes(agent, "limpet_registrations{state=\"registered\"}", 3)) << agent.log();
  ASSERT_TRUE(becomes(agent, "limpet_changes_applied_total{operation=\"register\"}", 5));
  ASSERT_TRUE(becomes(agent, "limpet_changes_applied_total{operation=\"deregister\"}", 1));
  const Exposition after = scrape(agent);
  expect_not_less(during, after);
  EXPECT_EQ(after["limpet_queue_depth"], 1);
  EXPECT_GE(after["limpet_zookeeper_session_changes_total{state=\"connected\"}"], 2);
  EXPECT_GE(after["limpet_zookeeper_session_changes_total{state=\"suspended\"}"], 1);
  EXPECT_GE(after["limpet_replayed_operations_total{operation=\"create\"}"] +
                after["limpet_replayed_operations_total{operation=\"set\"}"],
            before["limpet_replayed_operations_total{operation=\"create\"}"] + 2);
  EXPECT_TRUE(becomes(agent, "limpet_history_events_total{event=\"session_connected\"}",
                      after["limpet_zookeeper_session_changes_total{state=\"connected\"}"]));
}

}  // namespace
}  // namespace limpet::test
