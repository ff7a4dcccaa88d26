// What one user of the socket's group may take of the agent, and where it may register, beside another user and root.
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "tests/support/raw_connection.h"
#include "tests/support/two_users.h"

namespace limpet::test {
namespace {

using nlohmann::json;

class Limits : public TwoUsers {
 protected:
  static std::string target(const std::string& service, int i) {
    return "/v1/registrations/" + service + "/i-" + std::to_string(i);
  }
  // How many registrations of this service are accepted from this user, with bodies that `body` makes.
  int accepted(uid_t uid, const std::string& service, const std::string& body, HttpAnswer& refusal) {
    const auto http = connect_as(uid);
    for (int count = 0;; ++count) {
      refusal = http->put(target(service, count), body);
      if (refusal.status != 202) {
        return count;
      }
    }
  }
  // Makes a registration by file and has the agent read it; true where it is accepted.
  bool by_file(const std::string& name) {
    const std::string dir = agent_->registrations_dir();
    std::filesystem::create_directories(dir);
    std::ofstream(dir + "/" + name + ".json") << json{{"service", "file"}, {"instance", name}, {"data", "x"}}.dump();
    const json report = call("POST", "/v1/reload").json();
    return call("GET", "/v1/registrations/file/" + name).status == 200;
  }
};

TEST_F(Limits, OneUserTakesHalfOfTheRegistrationsAndFilesKeepAReserve) {
  start({"--max-registrations", "20"});
  HttpAnswer refusal;
  EXPECT_EQ(accepted(kAlice, "alice", "{}", refusal), 10);
  EXPECT_EQ(refusal.status, 429);
  EXPECT_EQ(code(refusal), "quota");
  EXPECT_EQ(accepted(kBob, "bob", "{}", refusal), 8);
  EXPECT_EQ(code(refusal), "quota");
  EXPECT_TRUE(by_file("one"));
  EXPECT_EQ(call("PUT", target("root", 0), "{}").status, 202);
  EXPECT_EQ(code(call("PUT", target("root", 1), "{}")), "quota");
  EXPECT_EQ(call_as(kAlice, "DELETE", target("alice", 0)).status, 202) << "to take back is always allowed";
  const json usage = agent_->status()["usage"]["registrations"];
  EXPECT_EQ(usage, (json{{"used", 19}, {"limit", 20}, {"user_limit", 10}}));
}

TEST_F(Limits, DataOfOneUserAndOfAllIsBounded) {
  start({"--max-data-bytes", "10000"});
  const std::string body = json{{"data", std::string(1'000, 'x')}}.dump();
  HttpAnswer refusal;
  EXPECT_EQ(accepted(kAlice, "alice", body, refusal), 5);
  EXPECT_EQ(refusal.status, 429);
  EXPECT_EQ(code(refusal), "quota");
  EXPECT_EQ(accepted(kBob, "bob", body, refusal), 4);
  EXPECT_EQ(call("PUT", target("root", 0), body).status, 202);
  EXPECT_EQ(code(call("PUT", target("root", 1), body)), "quota");
  EXPECT_EQ(call_as(kAlice, "PUT", target("alice", 0), R"({"data":"less"})").status, 202);
  EXPECT_EQ(agent_->status()["usage"]["data_bytes"]["used"], 9'004);
  const std::string metrics = call("GET", "/metrics").body;
  EXPECT_NE(metrics.find("\nlimpet_data_bytes 9004\n"), std::string::npos);
  EXPECT_NE(metrics.find("\nlimpet_data_bytes_limit 10000\n"), std::string::npos);
}

TEST_F(Limits, PathsAndQueueOfOneUserAreBounded) {
  start({"--max-path-bytes", "4096", "--max-operations", "1000"});
  const std::size_t one = std::string("/services/alice/i-0").size() + 4;
  HttpAnswer refusal;
  const int alice = accepted(kAlice, "alice", "{}", refusal);
  EXPECT_EQ(code(refusal), "quota");
  EXPECT_LE(static_cast<std::size_t>(alice) * one, 2'048U);
  EXPECT_GT(accepted(kBob, "bob", "{}", refusal), 0);
  start({"--max-operations", "10"});
  EXPECT_EQ(accepted(kAlice, "alice", "{}", refusal), 5);
  EXPECT_EQ(code(refusal), "quota");
  EXPECT_GT(accepted(kBob, "bob", "{}", refusal), 0);
}

TEST_F(Limits, OneUserTakesHalfOfTheStreamsOfEvents) {
  start();
  std::vector<std::unique_ptr<RawConnection>> readers;
  // The first bytes of the answer; a stream goes on after them.
  const auto open = [&](uid_t uid) {
    const ActAsMember who(uid);
    readers.push_back(std::make_unique<RawConnection>(agent_->socket()));
    readers.back()->send("GET /v1/events HTTP/1.1\r\nHost: limpet\r\n\r\n");
    std::string head(12, '\0');
    EXPECT_EQ(::recv(readers.back()->fd(), head.data(), head.size(), MSG_WAITALL), 12);
    return head;
  };
  for (int i = 0; i < 32; ++i) {
    ASSERT_EQ(open(kAlice), "HTTP/1.1 200") << i;
  }
  EXPECT_EQ(open(kAlice), "HTTP/1.1 429");
  EXPECT_EQ(open(kBob), "HTTP/1.1 200");
}

TEST_F(Limits, PathOfAWholeServiceIsRefused) {
  start({"--paths", "/dubbo,/nerve/prod"});
  for (const char* path : {"/services", "/services/web", "/dubbo", "/nerve", "/nerve/prod"}) {
    const auto answer = call_as(kAlice, "PUT", target("web", 0), json{{"path", path}}.dump());
    EXPECT_EQ(answer.status, 403) << path << answer.body;
    EXPECT_EQ(code(answer), "not_allowed") << path;
  }
  EXPECT_EQ(call_as(kAlice, "PUT", target("web", 0), R"({"path":"/services/web/deep/er"})").status, 202);
  EXPECT_EQ(call_as(kAlice, "PUT", target("web", 1), R"({"path":"/dubbo/one"})").status, 202);
}

TEST_F(Limits, PolicyAlsoRulesWhatLiesOutsideRoot) {
  AgentProcess& agent = make_agent();
  std::ofstream(agent.directory() + "/limpet.json")
      << json{{"paths", {"/dubbo", "/nerve"}},
              {"policy",
               {{{"user", std::to_string(kAlice)}, {"services", {"web-*"}}},
                {{"user", std::to_string(kBob)}, {"services", {"*"}}, {"paths", {"/dubbo/com.acme.*"}}}}}}
             .dump();
  start_agent();
  const auto put = [&](uid_t uid, const std::string& path) {
    return call_as(uid, "PUT", target("web-1", static_cast<int>(uid)), json{{"path", path}}.dump());
  };
  EXPECT_EQ(code(put(kAlice, "/dubbo/com.acme.Hello/providers/x")), "not_allowed");
  EXPECT_EQ(code(put(kBob, "/dubbo/com.other.Hello/providers/x")), "not_allowed");
  EXPECT_EQ(code(put(kBob, "/nerve/x")), "not_allowed");
  EXPECT_EQ(put(kBob, "/dubbo/com.acme.Hello/providers/x").status, 202);
  EXPECT_EQ(call("PUT", target("any", 0), R"({"path":"/nerve/x"})").status, 202) << "root always may";
}

}  // namespace
}  // namespace limpet::test
