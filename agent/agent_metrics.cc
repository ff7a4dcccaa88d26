// The agent: what it tells those who watch it. What is counted is plain integers, see metrics.h.
#include "agent/agent.h"
#include "agent/log.h"

namespace limpet {

void Agent::append_metrics(std::string& out) {
  const api::ProcessInfo info = process_info();
  const core::Now at = now();
  MetricsSource source{
      .version = info.version,
      .status = core_.status(at),
      .figures = core_.figures(at),
      .driver = counters_,
      .api = server_->counters(),
      .connections = server_->connections(),
      .max_connections = config_.max_connections,
      .output_bytes = server_->output_bytes(),
      .max_registrations = config_.max_registrations,
      .replay_rate = config_.replay_rate,
      .sync_times = store_->sync_times().view(),
      .storage_bytes = info.storage_bytes,
      .free_bytes = free_bytes_,
      .file_problems = info.files->errors.size(),
      .checks = liveness_.checks(),
      .watched_processes = liveness_.processes().processes,
      .process = process_figures(),
  };
  limpet::append_metrics(out, source);
  look_for_free_bytes();
}

// Where the disk hangs, the commit thread hangs with it and nobody else: the next scrape shows what was found.
void Agent::look_for_free_bytes() {
  if (std::exchange(looking_for_free_bytes_, true)) {
    return;
  }
  const auto found = std::make_shared<std::optional<std::uint64_t>>();
  in_background([found, directory = config_.data_dir] { *found = free_bytes(directory); },
                [this, found] {
                  free_bytes_ = *found;
                  looking_for_free_bytes_ = false;
                });
}

void Agent::forbidden(const core::Caller& caller, std::string_view code, const std::string& target) {
  if (const auto line = forbidden_log_.note(caller, code, target, now().steady_ms)) {
    log(LogLevel::warn, "caller_refused", *line);
  }
}

}  // namespace limpet
