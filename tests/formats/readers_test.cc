// What limpet wrote to a real ZooKeeper, read by the ecosystems' own clients: Apache Curator's ServiceDiscovery, and
// kazoo with the documented rules of the others.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <cstdio>
#include <memory>

#include "tests/support/agent_process.h"
#include "tests/support/real_ensemble.h"
#include "tests/support/shell.h"
#include "tests/support/zk_observer.h"

namespace limpet::test {
namespace {

// The manifest of zookeeper.jar names what Curator needs besides.
constexpr const char* kJars[] = {
    "bsh",   "curator-x-discovery", "curator-recipes", "curator-framework",   "curator-client", "zookeeper",
    "guava", "jackson-databind",    "jackson-core",    "jackson-annotations", "slf4j-nop"};

// What `command` writes to its standard output; its other output is the test's.
std::string output_of(const std::string& command) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(::popen(command.c_str(), "r"), &::pclose);
  std::string output;
  std::array<char, 4096> chunk{};
  std::size_t count = 0;
  while (pipe != nullptr && (count = std::fread(chunk.data(), 1, chunk.size(), pipe.get())) > 0) {
    output.append(chunk.data(), count);
  }
  return output;
}

std::string java() {
  std::string command = "/usr/bin/java -Xmx96m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -cp ";
  for (const std::string jar : kJars) {
    command += "/usr/share/java/" + jar + ".jar:";
  }
  return command + " bsh.Interpreter ";
}

// A provider of Dubbo as Java's URLEncoder writes it, of so many bytes.
std::string dubbo_provider(std::size_t bytes) {
  std::string name =
      "dubbo%3A%2F%2F10.0.0.5%3A20880%2Fcom.acme.Hello%3Finterface%3Dcom.acme.Hello%26methods%3Dhi%252Cbye%2Bthere%"
      "26pad%3D";
  name.append(bytes - name.size(), 'x');
  return name;
}

class Readers : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    static RealEnsemble ensemble([] {
      RealEnsemble::Options options;
      options.servers = 1;
      return options;
    }());
    hosts_ = RealEnsemble::started(ensemble).connect_string();
  }
  void SetUp() override {
    agent_ = std::make_unique<AgentProcess>(hosts_, std::vector<std::string>{"--paths", "/dubbo"});
    ASSERT_TRUE(agent_->start()) << agent_->log();
    http_ = std::make_unique<UnixHttp>(agent_->socket());
  }
  void TearDown() override {
    http_->post("/v1/leave", "");
    agent_->wait_settled();
  }

  nlohmann::json put(const std::string& id, const std::string& body) {
    const HttpAnswer answer = http_->put("/v1/registrations/" + id + "?wait=60s", body);
    EXPECT_EQ(answer.status, 200) << answer.body;
    return answer.json();
  }

  static std::string hosts_;
  std::unique_ptr<AgentProcess> agent_;
  std::unique_ptr<UnixHttp> http_;
};

std::string Readers::hosts_;

TEST_F(Readers, CuratorDiscoversPlainMappedAndSpring) {
  put("plain/i-1", R"({"format":"curator","address":"10.0.0.5","port":8080})");
  put("mapped/i-2", R"({"format":"curator","address":"10.0.0.6","port":8081,"metadata":{"zone":"Zürich \"1\""}})");
  put("spring/app:1", R"({"format":"spring","address":"10.0.0.7","port":8082,"metadata":{"zone":"a"}})");
  EXPECT_EQ(output_of(java() + shell_word(FORMAT_READERS "/curator.bsh") + " " + hosts_ + " /services"),
            "plain i-1 10.0.0.5:8080 DYNAMIC enabled=true timed=true same=true payload=null\n"
            "mapped i-2 10.0.0.6:8081 DYNAMIC enabled=true timed=true same=true zone=Zürich \"1\"\n"
            "spring app:1 10.0.0.7:8082 DYNAMIC enabled=true timed=true same=true "
            "id=app:1 metadata={instance_status=UP, zone=a} uri=http://10.0.0.7:8082\n"
            "cache 1\n");
}

TEST_F(Readers, OthersReadByTheirRules) {
  put("finagle/i-1", R"({"format":"serverset","address":"10.0.0.5","port":31943})");
  put("finagle/i-2", R"({"format":"serverset","address":"10.0.0.6","port":31943,"metadata":{"z":"a"}})");
  put("nerve/host_1", R"({"format":"nerve","address":"10.0.0.5","port":8080,"metadata":{"region:us":""}})");
  const std::string place = "/dubbo/com.acme.Hello/providers/";
  const std::size_t longest = 8'192 - place.size();
  put("hello/by-api", R"({"data":"","path":")" + place + dubbo_provider(longest) + "\"}");
  const std::string command = shell_word(LIMPET_PATH) + " --socket " + agent_->socket() +
                              " register hello by-cli --data '' --path " + place + dubbo_provider(300) + " --wait 60s";
  EXPECT_NE(output_of(command).find("is registered"), std::string::npos);
  EXPECT_EQ(http_
                ->put("/v1/registrations/hello/too-long",
                      R"({"data":"","path":")" + place + dubbo_provider(longest + 1) + "\"}")
                .status,
            422);
  EXPECT_EQ(output_of("/usr/bin/python3 " + shell_word(FORMAT_READERS "/readers.py") + " " + hosts_),
            "finagle 10.0.0.5:31943 shaped=True metadata=None\n"
            "finagle 10.0.0.6:31943 shaped=True metadata={'z': 'a'}\n"
            "synapse 10.0.0.5:8080 name=host_1 id=True {'region:us': ''}\n"
            "dubbo dubbo://10.0.0.5:20880/com.acme.Hello?interface=com.acme.Hel 300\n"
            "dubbo dubbo://10.0.0.5:20880/com.acme.Hello?interface=com.acme.Hel " +
                std::to_string(longest) + "\n");
}

// Curator's data holds the time of registration, and yet repeating what stands changes nothing.
TEST_F(Readers, TheSameAgainKeepsSeqZnodeAndTimeAlsoOverARestart) {
  const std::string body = R"({"format":"curator","address":"10.0.0.5","port":8080})";
  const nlohmann::json first = put("plain/i-1", body);
  EXPECT_EQ(put("plain/i-1", body), first);
  agent_->kill();
  http_->close();
  ASSERT_TRUE(agent_->start());
  ASSERT_TRUE(agent_->wait_settled());
  const nlohmann::json again = put("plain/i-1", body);
  EXPECT_EQ(again["seq"], first["seq"]);
  EXPECT_EQ(again["data"], first["data"]);
  EXPECT_EQ(again["znode"]["mzxid"], first["znode"]["mzxid"]);
  const nlohmann::json moved = put("plain/i-1", R"({"format":"nerve","address":"10.0.0.5","port":8080})");
  EXPECT_GT(moved["seq"], first["seq"]);
  EXPECT_EQ(moved["format"], "nerve");
  ZkObserver observer(hosts_);
  EXPECT_EQ(observer.children("/services/plain"),
            std::vector<std::string>{moved["path"].get<std::string>().substr(sizeof "/services/plain/" - 1)});
}

}  // namespace
}  // namespace limpet::test
