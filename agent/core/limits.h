// How much the agent takes, and from whom: what can be configured anew while it runs. Plain values; any thread.
#pragma once

#include <algorithm>
#include <cstdint>

#include "agent/core/policy.h"

namespace limpet::core {

struct Limits {
  std::uint32_t max_registrations = 10'000;
  std::uint32_t max_registrations_per_uid = 5'000;
  std::uint32_t max_path_bytes = 512 * 1024;  // as ZooKeeper counts them, see path_budget.h
  std::uint64_t max_data_bytes = 256 << 20;   // of all registrations together
  std::uint32_t max_checks_per_uid = 2'000;   // root and the agent's own user are not counted
  std::uint64_t max_operations = 1'000'000;
  std::uint32_t max_share_per_uid = 50;   // percent of each of these that one user may take
  std::uint32_t max_new_parents = 1'000;  // that one user's registrations add in an hour, root's too
  Policy policy;

  // What one user may take of `limit`. Root and the agent's own user may take all of it.
  std::uint64_t user_share(std::uint64_t limit) const {
    return std::max<std::uint64_t>(1, limit * max_share_per_uid / 100);
  }
  // What users leave free of `limit` for root, the agent's own user and the registrations by file: a tenth, unless that
  // would be most of it.
  static constexpr std::uint64_t reserve(std::uint64_t limit) { return limit > 3 ? (limit + 9) / 10 : 0; }
};

// What registrations hold of that which is bounded: those of one user, or all.
struct Amount {
  std::int64_t registrations = 0;
  std::int64_t path_bytes = 0;
  std::int64_t data_bytes = 0;
  std::int64_t checks = 0;

  Amount& operator+=(const Amount& other) {
    registrations += other.registrations;
    path_bytes += other.path_bytes;
    data_bytes += other.data_bytes;
    checks += other.checks;
    return *this;
  }
  Amount operator-() const { return {-registrations, -path_bytes, -data_bytes, -checks}; }
  friend bool operator==(const Amount&, const Amount&) = default;
};

// How many changes are queued now.
struct Queued {
  std::uint64_t all = 0;
  std::uint64_t of_caller = 0;
};

}  // namespace limpet::core
