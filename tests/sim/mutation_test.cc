// Every deliberate bug is caught, within a bounded number of histories. Each test says by which invariant, on which
// seed. LIMPET_SIM_MUTATION_HISTORIES changes the bound.
#include <gtest/gtest.h>

#include <iostream>

#include "tests/sim/runner.h"

namespace limpet::test {
namespace {

class Mutations : public ::testing::TestWithParam<int> {};

TEST_P(Mutations, IsCaught) {
  const std::uint64_t bound = env_number("LIMPET_SIM_MUTATION_HISTORIES", 10'000);
  const RunResult result = run_histories(1, bound, 0, static_cast<Mutation>(GetParam()));
  EXPECT_NE(result.violation, "") << name_of(static_cast<Mutation>(GetParam())) << " went unnoticed in " << bound
                                  << " histories";
  std::cout << name_of(static_cast<Mutation>(GetParam())) << ": caught after " << result.tally.histories
            << " histories: " << result.violation << "\n";
}

INSTANTIATE_TEST_SUITE_P(All, Mutations,
                         ::testing::Range(static_cast<int>(Mutation::none) + 1, static_cast<int>(Mutation::kCount)),
                         [](const auto& info) { return std::string(name_of(static_cast<Mutation>(info.param))); });

}  // namespace
}  // namespace limpet::test
