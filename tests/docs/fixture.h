// What the tests of the documentation share: one real ZooKeeper server, and scripts that are run to their end.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>
#include <vector>

#include "tests/support/agent_process.h"
#include "tests/support/real_ensemble.h"

namespace limpet::test {

class Docs : public ::testing::Test {
 protected:
  struct Outcome {
    int status = -1;     // as wait(2) gives it
    std::string output;  // standard output and error
  };

  static void SetUpTestSuite() { RealEnsemble::started(ensemble()); }
  void SetUp() override { ASSERT_TRUE(ensemble().restore()); }

  static RealEnsemble& ensemble();

  // A script of tests/docs, by Python.
  static Outcome run(const std::string& script, const std::vector<std::string>& arguments);
};

}  // namespace limpet::test
