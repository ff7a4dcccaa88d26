// What the end-to-end tests share: one real ensemble for the whole program, and the words for talking to an agent.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/agent_process.h"
#include "tests/support/real_ensemble.h"
#include "tests/support/zk_observer.h"

namespace limpet::test {

class EndToEnd : public ::testing::Test {
 protected:
  static void SetUpTestSuite();
  void SetUp() override;
  void TearDown() override;

  static RealEnsemble& ensemble();

  // Every test has a root of its own.
  std::string root() const;
  std::vector<std::string> flags(const std::string& session_timeout = "10s") const {
    return {"--root", root(), "--session-timeout", session_timeout};
  }

  static std::string target(const std::string& service, const std::string& instance) {
    return "/v1/registrations/" + service + "/" + instance;
  }
  // The znodes of our root that are registrations: path -> znode.
  std::map<std::string, Znode> registered(ZkObserver& observer) const;
};

// {"data": data}
std::string body(const std::string& data);

}  // namespace limpet::test
