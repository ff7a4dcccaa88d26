// What a registration lives and dies with, as it is asked for and shown.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "agent/api/json.h"

namespace limpet::api {
namespace {

using Json = nlohmann::ordered_json;

const RegistrationId kId{"web", "i-1"};

Lifetime accepted(std::string_view body) {
  auto parsed = parse_registration(kId, body);
  if (const auto* problem = std::get_if<Problem>(&parsed)) {
    ADD_FAILURE() << body << ": " << problem->detail;
    return {};
  }
  return std::get<core::RegisterRequest>(std::move(parsed)).lifetime;
}

Json shown(const Lifetime& lifetime) {
  Registration registration;
  registration.id = kId;
  registration.lifetime = lifetime;
  core::RegistrationView view;
  view.registration = std::move(registration);
  std::string out;
  render_registration(out, view);
  return Json::parse(out);
}

TEST(LifetimeFields, AreOffWhereNotGiven) {
  EXPECT_EQ(accepted("{}"), Lifetime());
  EXPECT_EQ(accepted(R"({"ttl":null,"bind":"none","pid":null,"checks":[],"expires":null})"), Lifetime());
  EXPECT_EQ(accepted(R"({"checks":null})"), Lifetime());
  const Json json = shown({});
  EXPECT_EQ(json["bind"], "none");
  EXPECT_TRUE(json["ttl"].is_null());
  EXPECT_TRUE(json["ttl_expires_at"].is_null());
  EXPECT_TRUE(json["expires_at"].is_null());
  EXPECT_TRUE(json["maintenance"].is_null());
  EXPECT_FALSE(json.contains("checks"));
  EXPECT_FALSE(json.contains("process"));
}

TEST(LifetimeFields, DurationsWithinTheirBounds) {
  EXPECT_EQ(accepted(R"({"ttl":"30s"})").ttl_ms, 30'000);
  EXPECT_EQ(accepted(R"({"ttl":"1s"})").ttl_ms, 1'000);
  EXPECT_EQ(accepted(R"({"ttl":"1000ms"})").ttl_ms, 1'000);
  EXPECT_EQ(accepted(R"({"ttl":"24h"})").ttl_ms, 86'400'000);
  EXPECT_EQ(accepted(R"({"expires":"1s"})").expires_ms, 1'000);
  EXPECT_EQ(accepted(R"({"expires":"48h"})").expires_ms, 2 * 86'400'000);
}

TEST(LifetimeFields, Bindings) {
  EXPECT_EQ(accepted(R"({"bind":"connection"})").bind, Bind::connection);
  const Lifetime own = accepted(R"({"bind":"process"})");
  EXPECT_EQ(own.bind, Bind::process);
  ASSERT_TRUE(own.process);
  EXPECT_EQ(own.process->pid, 0);  // the caller's
  EXPECT_EQ(accepted(R"({"pid":4321,"bind":"process"})").process->pid, 4321);
}

TEST(LifetimeFields, ChecksWithTheirDefaults) {
  const auto checks = accepted(R"({"checks":[
    {"type":"tcp","address":"127.0.0.1:80"},
    {"url":"http://localhost:8080/health?x=1","type":"http"},
    {"type":"http","url":"http+unix://%2Frun%2Fapp.sock/health","status":"204","interval":"500ms"},
    {"type":"command","command":["/bin/true","-x"],"interval":"5m","timeout":"1m","rise":2,"fall":1}]})")
                          .checks;
  ASSERT_EQ(checks.size(), 4U);
  EXPECT_EQ(checks[0], (Check{CheckType::tcp, "127.0.0.1:80", {}, "", 10'000, 1'000, 1, 3}));
  EXPECT_EQ(checks[1], (Check{CheckType::http, "http://localhost:8080/health?x=1", {}, "2xx", 10'000, 1'000, 1, 3}));
  EXPECT_EQ(checks[2], (Check{CheckType::http, "http+unix://%2Frun%2Fapp.sock/health", {}, "204", 500, 500, 1, 3}));
  EXPECT_EQ(checks[3], (Check{CheckType::command, "", {"/bin/true", "-x"}, "", 300'000, 60'000, 2, 1}));
}

TEST(LifetimeFields, WhatIsShownCanBeAskedForAgain) {
  Lifetime lifetime = accepted(R"({"ttl":"90s","expires":"10m","checks":[
    {"type":"tcp","address":"unix:/run/app.sock","interval":"250ms"},
    {"type":"http","url":"http://[::1]/","status":"404"},
    {"type":"command","command":["check \"it\""],"timeout":"2s"}]})");
  const Json json = shown(lifetime);
  EXPECT_EQ(json["ttl"], "90s");
  EXPECT_EQ(json["expires"], "10m");
  EXPECT_EQ(json["checks"][0].dump(),
            R"({"type":"tcp","address":"unix:/run/app.sock","interval":"250ms","timeout":"250ms","rise":1,"fall":3})");
  Json again;
  for (const char* const key : {"ttl", "bind", "expires", "checks"}) {
    again[key] = json[key];
  }
  EXPECT_EQ(accepted(again.dump()), lifetime);
}

TEST(LifetimeFields, BoundProcessAndHoldsAreShown) {
  Registration registration;
  registration.id = kId;
  registration.lifetime.bind = Bind::process;
  registration.lifetime.process = ProcessId{4321, 99, "boot"};
  core::RegistrationView view;
  view.registration = std::move(registration);
  view.ttl_expires_at = 1'700'000'000'123;
  view.expires_at = 1'700'000'000'456;
  view.maintenance.emplace();
  view.maintenance->message = "new disk";
  view.maintenance->since = 1'700'000'000'123;
  std::string out;
  render_registration(out, view);
  const Json json = Json::parse(out);
  EXPECT_EQ(json["bind"], "process");
  EXPECT_EQ(json["process"].dump(), R"({"pid":4321})");
  EXPECT_EQ(json["ttl_expires_at"], "2023-11-14T22:13:20.123Z");
  EXPECT_EQ(json["expires_at"], "2023-11-14T22:13:20.456Z");
  EXPECT_EQ(json["maintenance"].dump(), R"({"reason":"new disk","since":"2023-11-14T22:13:20.123Z"})");
}

struct BadField {
  std::string body;
  std::string pointer;
};
class BadLifetime : public ::testing::TestWithParam<BadField> {};

TEST_P(BadLifetime, IsRefusedWithItsPlace) {
  const auto parsed = parse_registration(kId, GetParam().body);
  const auto* problem = std::get_if<Problem>(&parsed);
  ASSERT_NE(problem, nullptr) << GetParam().body;
  EXPECT_EQ(problem->kind, ProblemKind::invalid);
  ASSERT_FALSE(problem->errors.empty());
  EXPECT_EQ(problem->errors[0].pointer, GetParam().pointer) << GetParam().body << ": " << problem->detail;
}

std::string check(const std::string& members) {
  return R"({"checks":[{)" + members + "}]}";
}
std::string tcp(const std::string& members) {
  return check(R"("type":"tcp","address":"a:1",)" + members);
}
std::string address(const std::string& text) {
  return check(R"("type":"tcp","address":")" + text + "\"");
}
std::string url(const std::string& text) {
  return check(R"("type":"http","url":")" + text + "\"");
}
std::string many_checks(std::size_t count) {
  std::string list;
  for (std::size_t i = 0; i < count; ++i) {
    list += (i == 0 ? "" : ",") + std::string(R"({"type":"tcp","address":"a:1"})");
  }
  return R"({"checks":[)" + list + "]}";
}

const BadField kBadFields[] = {
    {R"({"ttl":"999ms"})", "/ttl"},
    {R"({"ttl":"0s"})", "/ttl"},
    {R"({"ttl":"-5s"})", "/ttl"},
    {R"({"ttl":"25h"})", "/ttl"},
    {R"({"ttl":"87600h"})", "/ttl"},
    {R"({"ttl":"30"})", "/ttl"},
    {R"({"ttl":""})", "/ttl"},
    {R"({"ttl":30})", "/ttl"},
    {R"({"ttl":false})", "/ttl"},
    {R"({"expires":"0s"})", "/expires"},
    {R"({"expires":"99999999999999999999h"})", "/expires"},
    {R"({"expires":600})", "/expires"},
    {R"({"bind":"thread"})", "/bind"},
    {R"({"bind":1})", "/bind"},
    {R"({"pid":4321})", "/pid"},
    {R"({"pid":4321,"bind":"none"})", "/pid"},
    {R"({"pid":4321,"bind":"connection"})", "/pid"},
    {R"({"pid":0,"bind":"process"})", "/pid"},
    {R"({"pid":-1,"bind":"process"})", "/pid"},
    {R"({"pid":1.5,"bind":"process"})", "/pid"},
    {R"({"pid":4294967297,"bind":"process"})", "/pid"},
    {R"({"pid":"4321","bind":"process"})", "/pid"},
    {R"({"checks":{}})", "/checks"},
    {R"({"checks":"tcp"})", "/checks"},
    {R"({"checks":[1]})", "/checks/0"},
    {many_checks(17), "/checks"},
    {check(""), "/checks/0/type"},
    {check(R"("type":"grpc")"), "/checks/0/type"},
    {check(R"("type":1)"), "/checks/0/type"},
    {check(R"("type":"tcp")"), "/checks/0/address"},
    {check(R"("type":"http")"), "/checks/0/url"},
    {check(R"("type":"command")"), "/checks/0/command"},
    {tcp(R"("interval":"99ms")"), "/checks/0/interval"},
    {tcp(R"("interval":10)"), "/checks/0/interval"},
    {tcp(R"("timeout":"0s")"), "/checks/0/timeout"},
    {tcp(R"("timeout":"2m")"), "/checks/0/timeout"},
    {tcp(R"("rise":0)"), "/checks/0/rise"},
    {tcp(R"("fall":-1)"), "/checks/0/fall"},
    {tcp(R"("fall":1.0)"), "/checks/0/fall"},
    {tcp(R"("fall":"3")"), "/checks/0/fall"},
    {tcp(R"("url":"http://a/")"), "/checks/0/url"},
    {tcp(R"("status":"2xx")"), "/checks/0/status"},
    {tcp(R"("intervall":"1s")"), "/checks/0/intervall"},
    {R"({"checks":[{"type":"tcp","address":"a:1"},{"type":"tcp","address":"a:0"}]})", "/checks/1/address"},
    {address(""), "/checks/0/address"},
    {address("host"), "/checks/0/address"},
    {address(":80"), "/checks/0/address"},
    {address("a:"), "/checks/0/address"},
    {address("a:65536"), "/checks/0/address"},
    {address("::1:80"), "/checks/0/address"},
    {address("[::1]"), "/checks/0/address"},
    {address("[x]:80"), "/checks/0/address"},
    {address("a b:80"), "/checks/0/address"},
    {address("unix:relative"), "/checks/0/address"},
    {address("unix:/" + std::string(107, 'x')), "/checks/0/address"},
    {address("unix:/a\\u0000b"), "/checks/0/address"},
    {url("ftp://a/"), "/checks/0/url"},
    {url("https://a/"), "/checks/0/url"},
    {url("http://"), "/checks/0/url"},
    {url("http:///x"), "/checks/0/url"},
    {url("http://user@a/"), "/checks/0/url"},
    {url("http://a:0/"), "/checks/0/url"},
    {url("http://a/b c"), "/checks/0/url"},
    {url("http://a/\\r\\nX: y"), "/checks/0/url"},
    {url("http://a/#f"), "/checks/0/url"},
    {url("http+unix://run/x"), "/checks/0/url"},
    {url("http+unix://%2/x"), "/checks/0/url"},
    {url("http://a/" + std::string(2'048, 'x')), "/checks/0/url"},
    {check(R"("type":"http","url":"http://a/","status":200)"), "/checks/0/status"},
    {check(R"("type":"http","url":"http://a/","status":"6xx")"), "/checks/0/status"},
    {check(R"("type":"http","url":"http://a/","status":"2000")"), "/checks/0/status"},
    {check(R"("type":"http","url":"http://a/","address":"a:1")"), "/checks/0/address"},
    {check(R"("type":"command","command":"true")"), "/checks/0/command"},
    {check(R"("type":"command","command":[])"), "/checks/0/command"},
    {check(R"("type":"command","command":[""])"), "/checks/0/command/0"},
    {check(R"("type":"command","command":["./x"])"), "/checks/0/command/0"},
    {check(R"("type":"command","command":["x",1])"), "/checks/0/command/1"},
    {check(R"("type":"command","command":["x","a\u0000b"])"), "/checks/0/command/1"},
    {check(R"("type":"command","command":["x",")" + std::string(8'192, 'y') + "\"]"), "/checks/0/command"},
};
INSTANTIATE_TEST_SUITE_P(All, BadLifetime, ::testing::ValuesIn(kBadFields));

TEST(BadLifetimes, OfABatchNameTheirOperation) {
  const auto parsed = parse_batch(R"({"operations":[{"op":"deregister","service":"a","instance":"b"},
    {"op":"register","service":"a","instance":"b","checks":[{"type":"tcp","address":"a:1","rise":0}]}]})");
  const auto* problem = std::get_if<Problem>(&parsed);
  ASSERT_NE(problem, nullptr);
  EXPECT_EQ(problem->index, 1U);
  EXPECT_EQ(problem->errors.at(0).pointer, "/operations/1/checks/0/rise");
}

TEST(Maintenance, ReasonsAreReadStrictly) {
  const auto reason = [](std::string_view body) { return std::get<std::string>(parse_maintenance(body)); };
  EXPECT_EQ(reason(""), "");
  EXPECT_EQ(reason("{}"), "");
  EXPECT_EQ(reason(R"({"reason":null})"), "");
  EXPECT_EQ(reason(R"({"reason":"new disk"})"), "new disk");
  EXPECT_EQ(reason(R"({"reason":")" + std::string(1'000, 'x') + "\"}").size(), 1'000U);
  for (const auto& body : {std::string(R"({"reason":1})"), R"({"reason":")" + std::string(1'001, 'x') + "\"}",
                           std::string(R"({"resaon":"x"})"), std::string("[]")}) {
    const auto parsed = parse_maintenance(body);
    const auto* problem = std::get_if<Problem>(&parsed);
    ASSERT_NE(problem, nullptr) << body;
    EXPECT_EQ(problem->kind, ProblemKind::invalid);
  }
}

TEST(HistoryEntries, AreShownWithWhatIsKnown) {
  HistoryEntry entry;
  entry.event = 7;
  entry.time = 1'700'000'000'123;
  entry.what = Happening::agent_started;
  std::string out;
  render_history_entry(out, entry);
  EXPECT_EQ(out, R"({"event":7,"seq":null,"time":"2023-11-14T22:13:20.123Z","id":null,"service":null,"instance":null,)"
                 R"("what":"agent_started","why":null,"who":null,"zxid":null})");
  entry.seq = Seq{3};
  entry.id = kId;
  entry.what = Happening::registered;
  entry.why = "said so";
  entry.who = Actor{{1000, 4321}, "curl"};
  entry.zxid = Zxid{0x100000002};
  out.clear();
  render_history_entry(out, entry);
  EXPECT_EQ(out, R"({"event":7,"seq":3,"time":"2023-11-14T22:13:20.123Z","id":"web/i-1","service":"web",)"
                 R"("instance":"i-1","what":"registered","why":"said so",)"
                 R"("who":{"uid":1000,"pid":4321,"program":"curl"},"zxid":"0x100000002"})");
}

}  // namespace
}  // namespace limpet::api
