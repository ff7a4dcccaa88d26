// What one random history is made of: which faults it has, how much goes on, how fast things are. All of it follows
// from the seed. Each history enables a random subset of the faults (swarm testing): a bug that needs two of them and
// the absence of a third is found that way, and not where everything happens at once. Plain values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "tests/support/fake_ensemble.h"

namespace limpet::test {

enum class Fault : std::size_t {
  process_crash,
  power_cut,
  clean_restart,
  disconnect,
  quorum_loss,
  network_loss,
  expiry,
  silent_expiry,
  refused_reattach,
  wiped_servers,
  foreign_znodes,
  operators,
  acl,
  throttling,
  bad_credentials,
  store_failure,
  store_full,
  frozen_agent,
  slow_disk,
  slow_network,
  lagging_follower,
  odd_ticks,
  servers_changed,
  wall_jumps,
  nested_paths,
  ghosts,
  small_window,
  small_limits,
  poison,
  low_on_space,
  copied_state,
  rival_process,
  rolled_back,
  lifetimes,  // registrations that end by themselves; without it none of the following
  processes_die,
  connections_close,
  clients_die,
  flapping_checks,
  maintenance,
  suspended_machine,
  kCount,
};
inline constexpr std::size_t kFaultCount = static_cast<std::size_t>(Fault::kCount);
const char* name_of(Fault fault);

// In a content, makes it one that the servers cut the connection for.
inline constexpr const char* kPoison = "~poison";

struct History {
  std::uint64_t seed = 0;
  std::array<bool, kFaultCount> faults{};
  std::uint32_t calls = 0;             // of the API
  std::uint32_t ids = 0;               // that they are about
  std::int64_t between_calls_ms = 0;   // on average
  std::int64_t between_faults_ms = 0;  // on average
  std::int64_t long_outage_ms = 0;     // before the end, with nobody calling; 0: none
  FakeEnsembleOptions ensemble;
  std::uint32_t window = 256;
  std::uint32_t batch = 128;  // writes in one transaction

  bool has(Fault fault) const { return faults[static_cast<std::size_t>(fault)]; }
  std::string describe() const;
};

// Faults named in the environment's LIMPET_SIM_WITHOUT (comma-separated) are left out.
History history_of(std::uint64_t seed);

}  // namespace limpet::test
