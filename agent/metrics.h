// What GET /metrics shows. agent/docs/METRICS.md lists it for people; a test holds the two together.
//
// The counting is done where things happen, in plain integers; this only writes down a copy of them. No label names a
// service, an instance or a user, so the number of series is bounded. All names begin with limpet_, those about the
// process too: node_exporter, which may pass them on out of a file, has process_… of its own. Core thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "agent/api/counters.h"
#include "agent/core/core.h"
#include "agent/liveness/liveness.h"
#include "agent/process_figures.h"
#include "storage/histogram.h"
#include "storage/record.h"

namespace limpet {

// What the driver sees pass.
struct DriverCounters {
  static constexpr std::size_t kHappenings = static_cast<std::size_t>(Happening::pruned) + 1;

  std::array<std::uint64_t, kHappenings> happened = {};  // by Happening; when it is on disk
  std::uint64_t heartbeats = 0;
  std::uint64_t zookeeper_requests = 0;
};

struct MetricsSource {
  std::string version;
  core::StatusView status;
  core::Figures figures;
  const DriverCounters& driver;
  const api::Counters& api;
  std::size_t connections = 0;
  std::uint32_t max_connections = 0;
  std::size_t output_bytes = 0;
  std::uint32_t max_registrations = 0;
  std::uint32_t replay_rate = 0;
  Histogram::View sync_times;
  std::uint64_t storage_bytes = 0;
  std::optional<std::uint64_t> free_bytes;
  std::size_t file_problems = 0;  // of the registrations by file
  liveness::CheckSchedule::Stats checks;
  std::size_t watched_processes = 0;
  ProcessFigures process;
};

// Appends all of it in the text format of Prometheus.
void append_metrics(std::string& out, const MetricsSource& source);

}  // namespace limpet
