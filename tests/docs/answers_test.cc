// agent/api/openapi.json against the answers of the real agent, with ZooKeeper there and without it (answers.py), and
// these against what was promised (contract.py).
#include "tests/docs/fixture.h"

namespace limpet::test {
namespace {

TEST_F(Docs, DescriptionHoldsForTheAnswersOfTheAgent) {
  AgentProcess agent(ensemble().connect_string(), {"--command-checks", "true"});
  ASSERT_TRUE(agent.start()) << agent.log();
  ASSERT_TRUE(agent.wait_connected());
  const std::string description = LIMPET_SOURCE_DIR "/agent/api/openapi.json";
  const Outcome calm = run("answers.py", {agent.socket(), description, "calm"});
  EXPECT_EQ(calm.status, 0) << calm.output;
  ensemble().kill_all();
  const Outcome outage = run("answers.py", {agent.socket(), description, "outage"});
  EXPECT_EQ(outage.status, 0) << outage.output;
}

TEST_F(Docs, WhatIsPromisedHoldsNameByName) {
  const Outcome outcome = run("contract.py", {LIMPET_PATH, LIMPETD_PATH, ensemble().connect_string()});
  EXPECT_EQ(outcome.status, 0) << outcome.output;
}

}  // namespace
}  // namespace limpet::test
