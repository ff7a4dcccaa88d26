// How much the agent takes, and from whom: what can be configured anew while it runs. Plain values; any thread.
#pragma once

#include <cstdint>

#include "agent/core/policy.h"

namespace limpet::core {

struct Limits {
  std::uint32_t max_registrations = 10'000;
  std::uint32_t max_registrations_per_uid = 10'000;  // root and the agent's own user are not counted
  std::uint32_t max_path_bytes = 512 * 1024;  // the server ends a session in one packet that names every ephemeral
  std::uint64_t max_operations = 1'000'000;
  Policy policy;
};

}  // namespace limpet::core
