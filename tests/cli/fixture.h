// What the tests of the verbs share: a scripted agent, and the program run against it.
#pragma once

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tests/cli/run_limpet.h"
#include "tests/cli/scripted_server.h"

namespace limpet::test {

class Cli : public ::testing::Test {
 protected:
  // Runs `limpet ARGUMENTS…` with LIMPET_SOCKET naming the scripted agent.
  Outcome run(const std::vector<std::string>& arguments, Setting setting = {}) {
    setting.environment.push_back("LIMPET_SOCKET=" + server.socket());
    return run_limpet(arguments, setting);
  }
  // The request line of the `index`th request, without "HTTP/1.1".
  std::string asked(std::size_t index) {
    const auto seen = server.seen();
    if (index >= seen.size()) {
      return "no such request";
    }
    return seen[index].line.substr(0, seen[index].line.rfind(' '));
  }
  std::string body(std::size_t index) {
    const auto seen = server.seen();
    return index < seen.size() ? seen[index].body : "no such request";
  }

  ScriptedServer server;
};

// `text` contains `part`.
inline ::testing::AssertionResult has(const std::string& text, const std::string& part) {
  if (text.find(part) != std::string::npos) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure() << "no \"" << part << "\" in:\n" << text;
}

// A registration as the API shows it.
inline std::string registration(const std::string& instance, const std::string& state,
                                const std::string& reason = "null", long age_seconds = 190) {
  return R"({"id":"web/)" + instance + R"(","service":"web","instance":")" + instance + R"(","path":"/services/web/)" +
         instance + R"(","format":"raw","data":"hello","state":")" + state + R"(","reason":)" + reason +
         R"(,"seq":17,"accepted_at":")" + seconds_ago(age_seconds) +
         R"(","registered_at":null,"owner":{"uid":0,"pid":4321},"bind":"none","ttl":null,"expires_at":null,)" +
         R"("znode":null,"a_field_of_the_future":[1,{}]})";
}

inline std::string reason(const std::string& code, const std::string& message) {
  return R"({"code":")" + code + R"(","message":")" + message + R"(","since":")" + seconds_ago(130) +
         R"(","attempts":3})";
}

}  // namespace limpet::test
