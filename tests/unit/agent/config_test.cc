// The configuration: every key's values, where they come from, and what is said of wrong ones.
#include "agent/config.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "agent/config_policy.h"

namespace limpet {
namespace {

class ConfigTest : public ::testing::Test {
 protected:
  ConfigTest() {
    char name[] = "/tmp/limpet-config-XXXXXX";
    directory_ = ::mkdtemp(name);
  }
  ~ConfigTest() override { std::filesystem::remove_all(directory_); }

  std::string write(const std::string& text, mode_t mode = 0600, const std::string& name = "limpet.json") const {
    const std::string file = directory_ + "/" + name;
    std::ofstream(file) << text;
    EXPECT_EQ(::chmod(file.c_str(), mode), 0);
    return file;
  }
  // What is said of this file; "" where it is good.
  std::string said_of(const std::string& text) { return read_config_file(write(text), true, config_).message(); }
  std::string said_of_key(const std::string& key, const std::string& text) {
    return set_config_key(config_, key, text, "--" + key).message();
  }
  static bool holds(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

  std::string directory_;
  Config config_;
};

TEST_F(ConfigTest, TheShippedFileHoldsEveryKeyWithItsDefault) {
  const std::string shipped = std::string(LIMPET_SOURCE_DIR) + "/agent/packaging/limpet.json";
  ASSERT_EQ(read_config_file(shipped, true, config_).message(), "");
  EXPECT_EQ(differing_keys(config_, Config()), std::vector<std::string>{});
  std::ifstream stream(shipped);
  const auto parsed = nlohmann::json::parse(stream, nullptr, true, true);
  for (const ConfigKey& key : config_keys()) {
    EXPECT_TRUE(parsed.contains(key.name)) << key.name;
  }
  EXPECT_EQ(parsed.size(), config_keys().size());
}

TEST_F(ConfigTest, EveryKeyTakesItsOwnTextAndTellsItsDifference) {
  const std::map<std::string, std::string> others = {{"zookeeper", "zk1:2181,zk2/a"},
                                                     {"session_timeout", "30s"},
                                                     {"zookeeper_credentials", "/etc/limpet/zookeeper"},
                                                     {"acl", "creator"},
                                                     {"parents_acl", "open"},
                                                     {"parents", "container"},
                                                     {"root", "/elsewhere"},
                                                     {"paths", "/dubbo,/nerve"},
                                                     {"replay_rate", "7"},
                                                     {"data_dir", "/srv/limpet"},
                                                     {"socket", "/run/other.sock"},
                                                     {"registrations_dir", ""},
                                                     {"log_level", "warn"},
                                                     {"connection_grace", "1500ms"},
                                                     {"history_age", "24h"},
                                                     {"history_size", "1GiB"},
                                                     {"policy", R"([{"services":["a*"],"user":"root"}])"},
                                                     {"max_body", "100000"},
                                                     {"max_data", "500"},
                                                     {"max_data_bytes", "1GiB"},
                                                     {"max_connections", "10"},
                                                     {"max_connections_per_uid", "5"},
                                                     {"request_timeout", "2s"},
                                                     {"max_registrations", "3"},
                                                     {"max_registrations_per_uid", "2"},
                                                     {"max_path_bytes", "8KiB"},
                                                     {"max_operations", "4"},
                                                     {"max_share_per_uid", "75"},
                                                     {"tcp_checks", "false"},
                                                     {"http_checks", "false"},
                                                     {"command_checks", "true"},
                                                     {"check_targets", "any"},
                                                     {"max_checks_per_uid", "12"},
                                                     {"max_new_parents", "5"}};
  for (const ConfigKey& key : config_keys()) {
    ASSERT_TRUE(others.contains(key.name)) << key.name;
    const std::string& text = others.at(key.name);
    Config other;
    EXPECT_EQ(set_config_key(other, key.name, text, "test").message(), "") << key.name;
    EXPECT_EQ(key.text(other), text);
    EXPECT_EQ(differing_keys(other, Config()), std::vector<std::string>{key.name});
    EXPECT_EQ(set_config_key(other, key.name, key.text(Config()), "test").message(), "") << key.name;
    EXPECT_EQ(differing_keys(other, Config()), std::vector<std::string>{});
  }
}

TEST_F(ConfigTest, AFileWithCommentsNumbersListsAndUnits) {
  EXPECT_EQ(said_of(R"({
    // a comment
    "zookeeper": "zk1,zk2:2182", // another
    "paths": ["/dubbo", "/nerve"], "max_body": 4096, "max_path_bytes": "16KiB", "max_registrations": 12,
    "request_timeout": "5s", "acl": ["world:anyone:r", "digest:u:aGFzaA==:cdrwa"],
    "policy": [{"user": "root", "services": ["web-*"]}, {"group": "root", "services": ["*"]}]
  })"),
            "");
  EXPECT_EQ(config_.paths, (std::vector<std::string>{"/dubbo", "/nerve"}));
  EXPECT_EQ(config_.max_body_bytes, 4096U);
  EXPECT_EQ(config_.max_path_bytes, 16384U);
  EXPECT_EQ(config_.max_registrations, 12U);
  EXPECT_EQ(config_.request_timeout_ms, 5000);
  ASSERT_EQ(config_.acl.size(), 2U);
  EXPECT_EQ(config_.acl[1].id, "u:aGFzaA==");
  EXPECT_TRUE(config_.policy.allows(4711, {0}, "anything"));
  EXPECT_FALSE(config_.policy.allows(4711, {4711}, "web-1"));
}

TEST_F(ConfigTest, ServersMayBeAListOfStrings) {
  EXPECT_EQ(said_of(R"({"zookeeper": ["zk1:2181", "zk2:2181/a"]})"), "");
  EXPECT_EQ(config_.zookeeper, "zk1:2181,zk2:2181/a");
  EXPECT_TRUE(holds(said_of(R"({"zookeeper": ["zk1:2181", 2]})"), "zookeeper: a list of strings is needed"));
}

TEST_F(ConfigTest, AnUnknownKeyIsRefusedWithTheNearestName) {
  EXPECT_TRUE(holds(said_of(R"({"zookeper": "x"})"), "unknown key \"zookeper\"; did you mean \"zookeeper\"?"));
  EXPECT_TRUE(holds(said_of(R"({"max_registration": 1})"), "did you mean \"max_registrations\"?"));
  EXPECT_TRUE(holds(said_of(R"({"something_else_entirely": 1})"), "the keys are zookeeper, session_timeout, "));
}

TEST_F(ConfigTest, WhoeverAsksForTlsHearsThatThereIsNone) {
  EXPECT_TRUE(holds(said_of(R"({"zookeeper_tls": "ca.pem"})"), "TLS tunnel"));
}

TEST_F(ConfigTest, WhatIsWrongWithAFileIsSaidWithItsPlace) {
  EXPECT_TRUE(
      holds(said_of("{\n  \"root\": \"/a\"\n  \"socket\": \"/b\"\n}"), "is not valid JSON: parse error at line 3"));
  EXPECT_TRUE(holds(said_of("[]"), "must hold one JSON object"));
  EXPECT_TRUE(holds(said_of(R"({"root": "/a", "root": "/b"})"), "the key \"root\" stands there twice"));
  EXPECT_TRUE(holds(said_of(R"({"max_registrations": "12"})"), "max_registrations: a whole number is needed"));
  EXPECT_TRUE(holds(said_of(R"({"max_registrations": 1.5})"), "a whole number is needed"));
  EXPECT_TRUE(holds(said_of(R"({"max_registrations": -1})"), "a whole number is needed"));
  EXPECT_TRUE(holds(said_of(R"({"max_registrations": 4294967297})"), "a whole number from 1 to 1000000"));
  EXPECT_TRUE(holds(said_of(R"({"session_timeout": 10})"), "session_timeout: a string is needed"));
  EXPECT_TRUE(holds(said_of(R"({"paths": ["/a", 1]})"), "paths: a list of strings is needed"));
  EXPECT_TRUE(holds(said_of(R"({"paths": ["/a", ""]})"), "none of them empty"));
  for (const std::string text : {"/a,,/b", "/a,", ",/a", ","}) {
    EXPECT_TRUE(holds(said_of_key("paths", text), "there is an empty entry in \"" + text + "\""));
  }
  EXPECT_TRUE(holds(said_of(R"({"policy": "everybody"})"), "policy: a list of rules is needed"));
  EXPECT_TRUE(holds(read_config_file("/no/such/file", true, config_).message(), "No such file"));
  EXPECT_TRUE(read_config_file("/no/such/file", false, config_).ok());
}

TEST_F(ConfigTest, ValuesOutOfRangeAreRefusedAndChangeNothing) {
  const std::vector<std::pair<std::string, std::string>> wrong = {{"zookeeper", "a!b"},
                                                                  {"zookeeper", ""},
                                                                  {"session_timeout", "10"},
                                                                  {"session_timeout", "1d"},
                                                                  {"session_timeout", "1ms"},
                                                                  {"session_timeout", "11m"},
                                                                  {"zookeeper_credentials", "x"},
                                                                  {"acl", "closed"},
                                                                  {"parents_acl", "closed"},
                                                                  {"parents", "ephemeral"},
                                                                  {"max_new_parents", "0"},
                                                                  {"root", "services"},
                                                                  {"root", "/a/../b"},
                                                                  {"root", "/zookeeper/x"},
                                                                  {"paths", "/a,b"},
                                                                  {"replay_rate", "-1"},
                                                                  {"replay_rate", "1.5"},
                                                                  {"data_dir", "state"},
                                                                  {"data_dir", ""},
                                                                  {"log_level", "loud"},
                                                                  {"history_size", "1"},
                                                                  {"history_size", "64 MiB"},
                                                                  {"history_age", "7d"},
                                                                  {"max_data", "1000001"},
                                                                  {"max_data", "0"},
                                                                  {"max_body", "1TiB"},
                                                                  {"max_body", "99999999999999999999"},
                                                                  {"max_path_bytes", "1MiB"},
                                                                  {"max_registrations", "0x1"}};
  for (const auto& [key, text] : wrong) {
    EXPECT_NE(said_of_key(key, text), "") << key << " = " << text;
  }
  EXPECT_EQ(differing_keys(config_, Config()), std::vector<std::string>{});
  EXPECT_EQ(said_of_key("history_age", "7d"),
            "--history_age: a duration from 1s to 87600h is needed, such as \"10s\" (units: ms s m h), not \"7d\"");
}

TEST_F(ConfigTest, ThePolicyNamesUsersAndGroupsOfThisHost) {
  EXPECT_TRUE(holds(said_of_key("policy", R"([{"user":"no-such-user-here","services":["*"]}])"),
                    "rule 1: there is no user \"no-such-user-here\" on this host"));
  EXPECT_TRUE(holds(said_of_key("policy", R"([{"user":"root","services":["*"]},{"group":"nobodys","services":["*"]}])"),
                    "rule 2: there is no group \"nobodys\""));
  for (const char* wrong :
       {"{}", "[1]", R"([{"user":"root"}])", R"([{"services":["*"]}])", R"([{"user":"root","services":[]}])",
        R"([{"user":"root","group":"root","services":["*"]}])", R"([{"user":"root","services":["a/b"]}])",
        R"([{"user":["root"],"services":["*"]}])", R"([{"user":"root","services":["*"],"paths":[]}])",
        R"([{"user":"root","services":["*"],"paths":["dubbo/*"]}])",
        R"([{"user":"root","services":["*"],"paths":["/*"]}])", R"([{"user":"root","services":["*"],"service":"x"}])",
        "[", ""}) {
    EXPECT_NE(said_of_key("policy", wrong), "") << wrong;
  }
  EXPECT_EQ(said_of_key("policy", R"([{"user":"4711","services":["web-*"]}])"), "");
  EXPECT_TRUE(config_.policy.allows(4711, {}, "web-1"));
  EXPECT_FALSE(config_.policy.allows(4712, {}, "web-1"));
  EXPECT_TRUE(config_.policy.allows(::geteuid(), {}, "other"));
  EXPECT_EQ(said_of_key("policy", R"([{"user":"4711","services":["web-*"],"paths":["/dubbo/com.acme.*"]}])"), "");
  EXPECT_TRUE(config_.policy.allows_at(4711, {}, "web-1", "/dubbo/com.acme.Hello/providers/x"));
}

TEST_F(ConfigTest, PlacesThatNoRuleOfThePolicyNamesAreTold) {
  EXPECT_EQ(said_of_key("policy", R"([{"user":"4711","services":["*"],"paths":["/dubbo/com.acme.*","/dubo/*"]}])"), "");
  EXPECT_TRUE(policy_gaps(config_.policy, {"/dubbo", "/dubo"}).empty());
  const auto gaps = policy_gaps(config_.policy, {"/dubbo", "/nerve"});
  ASSERT_EQ(gaps.size(), 2U);
  EXPECT_NE(gaps[0].find("/nerve"), std::string::npos);
  EXPECT_NE(gaps[1].find("/dubo/*"), std::string::npos);
  EXPECT_TRUE(policy_gaps(core::Policy(), {"/nerve"}).empty()) << "without rules everybody may";
}

TEST_F(ConfigTest, ListsOfAccessAndPlacesAreBounded) {
  std::string acl;
  for (int i = 0; i < 400; ++i) {
    acl += std::string(i == 0 ? "" : ",") + "digest:user" + std::to_string(i) + ":aGFzaA==:r";
  }
  EXPECT_TRUE(holds(said_of_key("acl", acl), "8192 are allowed"));
  EXPECT_NE(said_of_key("root", "/" + std::string(1'024, 'x')), "");
  EXPECT_EQ(said_of_key("root", "/" + std::string(1'023, 'x')), "");
}

TEST_F(ConfigTest, TheEnvironmentComesOverTheFile) {
  ASSERT_EQ(said_of(R"({"root": "/from-file"})"), "");
  ::setenv("LIMPET_ROOT", "/from-environment", 1);
  EXPECT_EQ(read_config_environment(config_).message(), "");
  EXPECT_EQ(config_.root, "/from-environment");
  ::setenv("LIMPET_ROOT", "wrong", 1);
  EXPECT_TRUE(holds(read_config_environment(config_).message(), "LIMPET_ROOT: a znode path"));
  ::unsetenv("LIMPET_ROOT");
}

TEST_F(ConfigTest, CredentialsAreReadFromAFileThatIsClosedToOthers) {
  const auto said = [&](const std::string& file) {
    config_.zookeeper_credentials = file;
    return complete_config(config_).message();
  };
  EXPECT_EQ(said(write("limpet:pass:word\n", 0600, "secret")), "");
  EXPECT_EQ(config_.zookeeper_auth, "limpet:pass:word");
  EXPECT_EQ(said(write("limpet:x", 0400, "tight")), "");
  EXPECT_TRUE(holds(said(write("limpet:x", 0640, "open")), "chmod 0600"));
  for (const char* wrong : {"", "limpet", ":x", "limpet:", "a:b\nc:d\n"}) {
    const std::string message = said(write(wrong, 0600, "wrong"));
    EXPECT_TRUE(holds(message, "one line of the form user:password is needed")) << wrong;
    EXPECT_EQ(config_.zookeeper_auth, "");
  }
  EXPECT_TRUE(holds(said(directory_ + "/none"), "No such file"));
  EXPECT_TRUE(holds(said(directory_), "not a regular file") || holds(said(directory_), "Is a directory"));
  // systemd guards what it lends.
  ::setenv("CREDENTIALS_DIRECTORY", directory_.c_str(), 1);
  EXPECT_EQ(said(directory_ + "/open"), "");
  ::unsetenv("CREDENTIALS_DIRECTORY");
}

TEST_F(ConfigTest, AFileThatOthersCanChangeIsFaulty) {
  EXPECT_EQ(config_file_fault(write("{}", 0644, "fine"), ::geteuid()), "");
  EXPECT_EQ(config_file_fault(directory_ + "/none", ::geteuid()), "") << "that it is not there is told otherwise";
  for (const mode_t mode : {0664, 0646, 0666}) {
    EXPECT_TRUE(holds(config_file_fault(write("{}", mode, "open"), ::geteuid()), "chmod go-w")) << mode;
  }
  if (::geteuid() != 0) {
    GTEST_SKIP() << "takes root, to give a file away";
  }
  const std::string theirs = write("{}", 0644, "theirs");
  ASSERT_EQ(::chown(theirs.c_str(), 4711, 4711), 0);
  EXPECT_TRUE(holds(config_file_fault(theirs, 0), "belongs to uid 4711"));
  EXPECT_EQ(config_file_fault(theirs, 4711), "") << "the agent's own";
}

TEST_F(ConfigTest, AnotherPasswordInTheSameFileIsADifference) {
  Config other;
  other.zookeeper_auth = "u:p";
  EXPECT_EQ(differing_keys(config_, other), std::vector<std::string>{"zookeeper_credentials"});
}

TEST_F(ConfigTest, AnAclOfTheCreatorNeedsCredentials) {
  ASSERT_EQ(said_of_key("acl", "creator"), "");
  EXPECT_TRUE(holds(complete_config(config_).message(), "zookeeper_credentials"));
  config_.zookeeper_credentials = write("u:p", 0600, "secret");
  EXPECT_EQ(complete_config(config_).message(), "");
}

TEST_F(ConfigTest, AnAclOfTheCreatorForParentsNeedsCredentials) {
  ASSERT_EQ(said_of_key("parents_acl", "creator"), "");
  EXPECT_TRUE(holds(complete_config(config_).message(), "parents_acl: \"creator\""));
  ASSERT_EQ(said_of_key("parents_acl", "shared"), "");
  EXPECT_EQ(complete_config(config_).message(), "");
}

TEST_F(ConfigTest, ASocketPathThatNoSocketTakesIsRefused) {
  config_.socket = "/" + std::string(107, 'x');
  EXPECT_TRUE(holds(complete_config(config_).message(), "at most 107 bytes"));
}

}  // namespace
}  // namespace limpet
