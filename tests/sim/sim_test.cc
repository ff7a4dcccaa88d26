// Random histories, from seeds. LIMPET_SIM_HISTORIES says how many (100,000), LIMPET_SIM_FIRST from which seed on,
// LIMPET_SIM_HOURS for how long instead, LIMPET_SIM_SEED runs one of them and tells its last events
// (LIMPET_SIM_TRACE: how many), LIMPET_SIM_WITHOUT leaves out faults by name.
#include <gtest/gtest.h>

#include <cstdlib>
#include <iostream>

#include "tests/sim/describe.h"
#include "tests/sim/runner.h"

namespace limpet::test {
namespace {

TEST(Simulation, Histories) {
  if (const std::uint64_t seed = env_number("LIMPET_SIM_SEED", 0); seed != 0) {
    const RunResult result = run_histories(seed, 1, 0, Mutation::none);
    std::cout << report(seed, Mutation::none);
    EXPECT_EQ(result.violation, "");
    return;
  }
  const char* hours = std::getenv("LIMPET_SIM_HOURS");
  const double seconds = hours == nullptr ? 0 : std::strtod(hours, nullptr) * 3600;
  const std::uint64_t first = env_number("LIMPET_SIM_FIRST", 1);
  const std::uint64_t count = seconds > 0 ? ~std::uint64_t{0} - first : env_number("LIMPET_SIM_HISTORIES", 100'000);
  const RunResult result = run_histories(first, count, seconds, Mutation::none);
  const Tally& tally = result.tally;
  std::cout << "histories=" << tally.histories << " steps=" << tally.steps << " acknowledged=" << tally.acknowledged
            << " writes=" << tally.writes << " crashes=" << tally.crashes << " poisonings=" << tally.poisonings
            << " hangs=" << tally.hangs << " simulated_hours=" << tally.simulated_ms / 3'600'000
            << "\nlives: heartbeats=" << tally.heartbeats << " maintenance=" << tally.maintenance
            << " withdrawn=" << tally.withdrawn;
  constexpr Happening kEnds[] = {Happening::expired, Happening::ttl_expired, Happening::process_ended,
                                 Happening::connection_closed};
  for (const Happening what : kEnds) {
    std::cout << " " << name_of(what) << "=" << tally.ends[static_cast<std::size_t>(what)];
  }
  std::cout << "\nfaults:";
  for (std::size_t i = 0; i < kFaultCount; ++i) {
    std::cout << " " << name_of(static_cast<Fault>(i)) << "=" << tally.faults[i];
  }
  std::cout << "\n";
  if (!result.violation.empty()) {
    FAIL() << report(result.failing_seed, Mutation::none);
  }
  // A run in which too little happened proves nothing (I18).
  EXPECT_GE(tally.acknowledged, tally.histories);
  EXPECT_GE(tally.writes, tally.histories);
  EXPECT_GE(tally.hangs, tally.histories / 200);
  if (tally.histories >= 1'000 && std::getenv("LIMPET_SIM_WITHOUT") == nullptr) {
    for (const Happening what : kEnds) {
      EXPECT_GE(tally.ends[static_cast<std::size_t>(what)], tally.histories / 50) << name_of(what);
    }
    EXPECT_GE(tally.heartbeats, tally.histories);
    EXPECT_GE(tally.maintenance, tally.histories / 10);
    EXPECT_GE(tally.withdrawn, tally.histories / 50);
  }
}

// The same seed must give the same history, or no violation could be reproduced.
TEST(Simulation, SameSeedSameHistory) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    Simulation one(history_of(seed), Mutation::none, true);
    Simulation two(history_of(seed), Mutation::none, true);
    EXPECT_EQ(one.run(), two.run());
    EXPECT_EQ(one.trace(), two.trace()) << "seed " << seed;
    EXPECT_EQ(one.tally().steps, two.tally().steps) << "seed " << seed;
  }
}

}  // namespace
}  // namespace limpet::test
