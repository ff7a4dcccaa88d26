// A scenario that runs in the fake world and in the real one: write it as TEST_P(Parity, …) and expect what both must
// do. What is left to chance in the fake world is tried with several seeds.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <ostream>
#include <string>

#include "tests/parity/world.h"

namespace limpet::test {

struct WorldKind {
  const char* name;
  std::unique_ptr<World> (*make)(std::int32_t session_timeout_ms, std::uint64_t seed);
  std::uint64_t seed;
};
inline std::ostream& operator<<(std::ostream& out, const WorldKind& kind) {
  return out << kind.name << kind.seed;
}

class Parity : public ::testing::TestWithParam<WorldKind> {
 protected:
  using Verb = core::ZkVerb;
  using Code = core::ZkCode;

  World& open(std::int32_t session_timeout_ms = 6'000) {
    world_ = GetParam().make(session_timeout_ms, GetParam().seed);
    return *world_;
  }

 private:
  std::unique_ptr<World> world_;
};

// Every suite of scenarios in both worlds. The real one has its own chances: once.
#define LIMPET_PARITY(suite)                                                                           \
  INSTANTIATE_TEST_SUITE_P(                                                                            \
      Worlds, suite,                                                                                   \
      ::testing::Values(WorldKind{"Fake", make_fake_world, 1}, WorldKind{"Fake", make_fake_world, 2},  \
                        WorldKind{"Fake", make_fake_world, 3}, WorldKind{"Fake", make_fake_world, 4},  \
                        WorldKind{"Fake", make_fake_world, 5}, WorldKind{"Real", make_real_world, 1}), \
      [](const auto& info) { return info.param.name + std::to_string(info.param.seed); })

}  // namespace limpet::test
