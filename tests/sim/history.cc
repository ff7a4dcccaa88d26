#include "tests/sim/history.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>

namespace limpet::test {

namespace {

constexpr std::array<const char*, kFaultCount> kNames = {
    "process_crash", "power_cut",       "clean_restart",    "disconnect",        "quorum_loss",     "network_loss",
    "expiry",        "silent_expiry",   "refused_reattach", "wiped_servers",     "foreign_znodes",  "operators",
    "acl",           "throttling",      "bad_credentials",  "store_failure",     "store_full",      "frozen_agent",
    "slow_disk",     "slow_network",    "lagging_follower", "odd_ticks",         "servers_changed", "wall_jumps",
    "nested_paths",  "ghosts",          "small_window",     "small_limits",      "poison",          "low_on_space",
    "copied_state",  "rival_process",   "rolled_back",      "lifetimes",         "processes_die",   "connections_close",
    "clients_die",   "flapping_checks", "maintenance",      "suspended_machine",
};

bool left_out(std::string_view name) {
  const char* without = std::getenv("LIMPET_SIM_WITHOUT");
  return without != nullptr &&
         (std::string(",") + without + ",").find("," + std::string(name) + ",") != std::string::npos;
}

}  // namespace

const char* name_of(Fault fault) {
  return kNames[static_cast<std::size_t>(fault)];
}

std::string History::describe() const {
  std::string text = "faults:";
  for (std::size_t i = 0; i < kFaultCount; ++i) {
    if (faults[i]) {
      text += std::string(" ") + kNames[i];
    }
  }
  text += "; calls=" + std::to_string(calls) + " ids=" + std::to_string(ids) +
          " between_calls_ms=" + std::to_string(between_calls_ms) +
          " between_faults_ms=" + std::to_string(between_faults_ms) +
          " long_outage_ms=" + std::to_string(long_outage_ms) + " window=" + std::to_string(window) +
          " batch=" + std::to_string(batch) + " granted_timeout_ms=" + std::to_string(ensemble.granted_timeout_ms);
  return text;
}

History history_of(std::uint64_t seed) {
  Rng rng(seed * 0x2545F4914F6CDD1DULL + 1);
  History history;
  history.seed = seed;
  constexpr double kShares[] = {0.08, 0.2, 0.4, 0.6};
  const double share = rng.pick(kShares);
  for (std::size_t i = 0; i < kFaultCount; ++i) {
    const bool chosen = rng.chance(share);  // drawn also where left out, so that the rest stays as it is
    history.faults[i] = chosen && !left_out(kNames[i]);
  }
  const bool large = rng.chance(0.05);
  history.calls = static_cast<std::uint32_t>(large ? rng.between(100, 300) : rng.between(5, 60));
  history.ids = static_cast<std::uint32_t>(large ? rng.between(20, 60) : rng.between(2, 8));
  constexpr std::int64_t kPaces[] = {1, 20, 400, 2000};
  history.between_calls_ms = rng.pick(kPaces);
  history.between_faults_ms = history.between_calls_ms * rng.between(1, 6) + rng.between(0, 20);
  history.long_outage_ms = rng.chance(0.1) ? 60'000 : 0;
  constexpr std::uint32_t kWindows[] = {1, 2, 5};
  const std::uint32_t window = rng.pick(kWindows);
  history.window = history.has(Fault::small_window) ? window : 256;

  FakeEnsembleOptions& ensemble = history.ensemble;
  const bool slow = history.has(Fault::slow_network);
  ensemble.max_latency_ms = slow ? rng.between(20, 800) : rng.between(0, 4);
  ensemble.max_connect_ms = rng.between(1, 400);
  constexpr std::int32_t kTimeouts[] = {0, 4'000, 10'000, 20'000};
  ensemble.granted_timeout_ms = rng.pick(kTimeouts);
  ensemble.lag_chance = history.has(Fault::lagging_follower) ? 0.6 : 0;
  ensemble.throttle_chance = history.has(Fault::throttling) ? 0.1 : 0;
  // What lives and dies is dear to simulate, so only some histories have it; those have it in plenty.
  const bool lifetimes = rng.chance(0.25) && !left_out("lifetimes");
  for (auto i = static_cast<std::size_t>(Fault::lifetimes); i < kFaultCount; ++i) {
    history.faults[i] = lifetimes && rng.chance(0.7) && !left_out(kNames[i]);
  }
  history.faults[static_cast<std::size_t>(Fault::lifetimes)] = lifetimes;
  constexpr std::uint32_t kBatches[] = {1, 2, 3, 6, 128, 128};
  history.batch = rng.pick(kBatches);
  ensemble.silent_expiry_chance = history.has(Fault::silent_expiry) ? 0.5 : 0;
  return history;
}

}  // namespace limpet::test
