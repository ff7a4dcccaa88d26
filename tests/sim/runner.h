// Runs many histories and reports the first that violates an invariant, in a way that lets it be run again.
#pragma once

#include <cstdint>
#include <string>

#include "tests/sim/simulation.h"

namespace limpet::test {

struct RunResult {
  Tally tally;
  std::uint64_t failing_seed = 0;
  std::string violation;  // empty: none
};

// Histories of seeds `first`, `first` + 1 … until `count` are run, one fails, or `seconds` of real time (0: no limit)
// have passed.
RunResult run_histories(std::uint64_t first, std::uint64_t count, double seconds, Mutation mutation);

// Runs the seed again with its events in words: seed, options, the last events, and how to run it again.
std::string report(std::uint64_t seed, Mutation mutation);

// The environment's number, or `otherwise`.
std::uint64_t env_number(const char* name, std::uint64_t otherwise);

}  // namespace limpet::test
