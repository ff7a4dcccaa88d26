// What the API has counted in this run. Plain integers, counted on the core thread.
#pragma once

#include <array>
#include <cstdint>

#include "agent/api/problem.h"
#include "storage/histogram.h"

namespace limpet::api {

struct Counters {
  std::uint64_t connections = 0;  // taken
  std::uint64_t connections_refused = 0;
  std::uint64_t requests = 0;                              // that arrived whole
  std::array<std::uint64_t, kProblemKinds> problems = {};  // told, by kind
  // From a change's having arrived to its answer; not of those that were refused, or were to wait for ZooKeeper.
  Histogram acknowledgements;
};

}  // namespace limpet::api
