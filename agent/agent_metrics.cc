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
}

// Where the disk hangs, a thread hangs with it that nobody waits for: who asks next is shown what was found.
void Agent::look_at_disk() {
  constexpr std::chrono::seconds kBetweenLooks(1);
  const auto now = std::chrono::steady_clock::now();
  if (now - looked_at_disk_ < kBetweenLooks || std::exchange(looking_at_disk_, true)) {
    return;
  }
  looked_at_disk_ = now;
  struct Found {
    std::optional<std::uint64_t> free_bytes;
    std::uint64_t bytes_on_disk = 0;
  };
  const auto found = std::make_shared<Found>();
  in_background(
      [this, found, directory = config_.data_dir] {
        found->free_bytes = free_bytes(directory);
        found->bytes_on_disk = store_->bytes_on_disk();
      },
      [this, found] {
        free_bytes_ = found->free_bytes;
        bytes_on_disk_ = found->bytes_on_disk;
        looking_at_disk_ = false;
      });
}

void Agent::forbidden(const core::Caller& caller, std::string_view code, const std::string& target) {
  if (const auto line = forbidden_log_.note(caller, code, target, now().steady_ms)) {
    log(LogLevel::warn, "caller_refused", *line);
  }
}

}  // namespace limpet
