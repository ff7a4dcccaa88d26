#include "agent/metrics.h"

#include "agent/api/names.h"
#include "agent/api/problem.h"
#include "agent/metrics_text.h"

namespace limpet {

namespace {

using core::ReasonCode;
using core::SessionState;

constexpr double kMsPerSecond = 1'000;

double seconds(std::int64_t ms) {
  return static_cast<double>(ms) / kMsPerSecond;
}

void append_queue(MetricsText& text, const core::StatusView& status) {
  text.gauge("limpet_queue_depth", "Accepted changes that ZooKeeper has not confirmed yet.");
  text.sample(status.queue_depth);
  text.gauge("limpet_queue_bytes", "Bytes of paths and data of the changes that wait.");
  text.sample(status.queue_bytes);
  text.gauge("limpet_queue_oldest_age_seconds", "Since when the oldest of the changes that wait was accepted.");
  text.sample(seconds(status.oldest_age_ms));
  text.gauge("limpet_queue_limit", "How many changes may wait before more are refused (max_operations).");
  text.sample(status.max_operations);
  text.gauge("limpet_last_seq", "The seq of the newest accepted change.");
  text.sample(status.last_seq.value);
  text.gauge("limpet_applied_seq", "Every change up to this seq is settled in ZooKeeper, or superseded.");
  text.sample(status.applied_seq.value);
}

void append_changes(MetricsText& text, const DriverCounters& driver) {
  const auto sum = [&](std::initializer_list<Happening> kinds) {
    std::uint64_t total = 0;
    for (const Happening kind : kinds) {
      total += driver.happened[static_cast<std::size_t>(kind)];
    }
    return total;
  };
  text.counter("limpet_changes_accepted_total",
               "Changes accepted and on stable storage, by operation; those that end by themselves are deregistered.");
  text.sample({"operation", "register"}, sum({Happening::accepted}));
  text.sample({"operation", "deregister"}, sum({Happening::deregistered, Happening::expired, Happening::ttl_expired,
                                                Happening::process_ended, Happening::connection_closed}));
  text.sample({"operation", "maintenance"}, sum({Happening::maintenance_on, Happening::maintenance_off}));
  text.counter("limpet_changes_applied_total",
               "Registrations confirmed, removed or withdrawn in ZooKeeper; again for each new session.");
  text.sample({"operation", "register"}, sum({Happening::registered}));
  text.sample({"operation", "deregister"}, sum({Happening::removed}));
  text.sample({"operation", "withdraw"}, sum({Happening::withdrawn}));
  text.counter("limpet_changes_superseded_total", "Changes that a newer one replaced before they were sent.");
  text.sample(sum({Happening::superseded}));
  text.counter("limpet_history_events_total", "Entries written to the history, by what happened.");
  for (std::size_t i = static_cast<std::size_t>(Happening::accepted); i < driver.happened.size(); ++i) {
    text.sample({"event", api::happening_name(static_cast<Happening>(i))}, driver.happened[i]);
  }
}

void append_replay(MetricsText& text, const MetricsSource& source) {
  const core::ReplayFigures& replay = source.figures.replay;
  text.counter("limpet_replayed_operations_total", "Writes of registrations that ZooKeeper carried out, by operation.");
  text.sample({"operation", "create"}, replay.created);
  text.sample({"operation", "set"}, replay.set);
  text.sample({"operation", "remove"}, replay.removed);
  text.gauge("limpet_replay_in_flight", "Znodes with a read or write on its way to ZooKeeper.");
  text.sample(replay.in_flight);
  text.gauge("limpet_replay_window", "How many znodes may have a read or write on its way now.");
  text.sample(replay.window);
  text.gauge("limpet_replay_rate_limit", "Writes to ZooKeeper a second at most (replay_rate); 0: no limit.");
  text.sample(source.replay_rate);
  text.counter("limpet_zookeeper_requests_total", "Requests of all kinds sent to ZooKeeper.");
  text.sample(source.driver.zookeeper_requests);
  text.counter("limpet_zookeeper_refusals_total", "Changes that were set aside, at each try, by why.");
  for (const ReasonCode code :
       {ReasonCode::foreign_owner, ReasonCode::persistent_znode, ReasonCode::no_auth, ReasonCode::too_large,
        ReasonCode::invalid_path, ReasonCode::parent_ephemeral, ReasonCode::quota, ReasonCode::refused}) {
    text.sample({"code", api::reason_name(code)}, replay.refused[static_cast<std::size_t>(code)]);
  }
}

void append_session(MetricsText& text, const core::StatusView& status, const core::SessionFigures& session) {
  const auto each_state = [&](auto value) {
    for (std::size_t i = 0; i < core::kSessionStates; ++i) {
      text.sample({"state", api::session_state_name(static_cast<SessionState>(i))}, value(i));
    }
  };
  text.gauge("limpet_zookeeper_session_state", "1 for the state that the ZooKeeper session is in, 0 for the others.");
  each_state([&](std::size_t i) { return static_cast<std::size_t>(status.session_state) == i ? 1 : 0; });
  text.counter("limpet_zookeeper_session_changes_total", "How often the session came into a state.");
  each_state([&](std::size_t i) { return session.entered[i]; });
  text.counter("limpet_zookeeper_session_seconds_total", "How long the session has been in each state.");
  each_state([&](std::size_t i) { return seconds(session.spent_ms[i]); });
  text.counter("limpet_zookeeper_sessions_total", "Sessions that this run of the agent has held.");
  text.sample(status.sessions);
  text.gauge("limpet_zookeeper_session_timeout_seconds", "The session's time-out, as the servers grant it.");
  text.sample(seconds(status.session_timeout_ms));
}

void append_api(MetricsText& text, const MetricsSource& source) {
  const api::Counters& counters = source.api;
  text.counter("limpet_api_requests_total", "Requests that arrived whole.");
  text.sample(counters.requests);
  text.counter("limpet_api_problems_total", "Requests and connections that were refused, by the problem's code.");
  for (std::size_t i = 0; i < counters.problems.size(); ++i) {
    text.sample({"code", api::problem_facts(static_cast<api::ProblemKind>(i)).code}, counters.problems[i]);
  }
  text.histogram("limpet_acknowledgement_duration_seconds",
                 "From a change's having arrived to its answer; without those refused or waiting for ZooKeeper.",
                 counters.acknowledgements.view());
  text.gauge("limpet_api_connections", "Open connections.");
  text.sample(source.connections);
  text.gauge("limpet_api_connections_limit", "How many connections may be open (max_connections).");
  text.sample(source.max_connections);
  text.gauge("limpet_api_output_bytes", "Memory held by answers that their callers have not read.");
  text.sample(source.output_bytes);
  text.counter("limpet_api_connections_accepted_total", "Connections that were taken.");
  text.sample(counters.connections);
  text.counter("limpet_api_connections_refused_total", "Connections that were turned away.");
  text.sample(counters.connections_refused);
}

void append_files(MetricsText& text, const MetricsSource& source) {
  text.gauge("limpet_registrations_d_problems", "What is wrong with the registrations by file, as last read.");
  text.sample(source.file_problems);
}

void append_storage(MetricsText& text, const MetricsSource& source) {
  text.histogram("limpet_storage_sync_duration_seconds", "Writes to the store with fsync, many changes in one.",
                 source.sync_times);
  text.gauge("limpet_storage_healthy",
             "1 while changes can be made durable, 0 while the disk hangs, fails or is full.");
  text.sample(source.status.storage_healthy() ? 1 : 0);
  text.gauge("limpet_storage_append_pending_seconds",
             "How long the disk has owed an answer to the oldest write under way; 0: it owes none.");
  text.sample(seconds(source.status.append_pending_ms));
  text.gauge("limpet_storage_bytes", "Bytes of the state on disk, with the history.");
  text.sample(source.storage_bytes);
  if (source.free_bytes) {
    text.gauge("limpet_storage_free_bytes", "Bytes free on the disk of the state, as of the scrape before.");
    text.sample(*source.free_bytes);
  }
}

void append_usage(MetricsText& text, const core::StatusView& status) {
  text.gauge("limpet_path_bytes", "Bytes of the packet that ends the session, were all accepted registrations in it.");
  text.sample(status.path_bytes.used);
  text.gauge("limpet_session_path_bytes", "Bytes of the packet that ends the session, as it would be now.");
  text.sample(status.session_path_bytes);
  text.gauge("limpet_watch_path_bytes", "Bytes of the packet that sets all watches anew, as it would be now.");
  text.sample(status.watch_path_bytes);
  text.gauge("limpet_path_bytes_limit", "How large each of these may be (max_path_bytes).");
  text.sample(status.path_bytes.limit);
  text.gauge("limpet_registrations_held_back", "Registrations for whose paths the session has no room.");
  text.sample(status.held_back);
  text.gauge("limpet_data_bytes", "Bytes of data and checks of all registrations.");
  text.sample(status.data_bytes.used);
  text.gauge("limpet_data_bytes_limit", "How many there may be (max_data_bytes).");
  text.sample(status.data_bytes.limit);
}

void append_registrations(MetricsText& text, const MetricsSource& source) {
  text.gauge("limpet_registrations", "Registrations of this host, by state.");
  for (std::size_t i = 0; i < core::kStateCount; ++i) {
    text.sample({"state", api::state_name(static_cast<core::State>(i))}, source.status.by_state[i]);
  }
  text.gauge("limpet_registrations_limit", "How many registrations there may be (max_registrations).");
  text.sample(source.max_registrations);
  append_usage(text, source.status);
  const core::LifetimeFigures& lifetimes = source.figures.lifetimes;
  text.gauge("limpet_registrations_bound", "Registrations that end or step back by themselves, by what they go by.");
  text.sample({"by", "process"}, lifetimes.process);
  text.sample({"by", "connection"}, lifetimes.connection);
  text.sample({"by", "ttl"}, lifetimes.ttl);
  text.sample({"by", "checks"}, lifetimes.checks);
  text.sample({"by", "expires"}, lifetimes.expires);
  text.gauge("limpet_checks", "Health checks, by how they stand.");
  text.sample({"state", "passing"}, source.checks.passing);
  text.sample({"state", "failing"}, source.checks.failing);
  text.gauge("limpet_checks_late", "Health checks that are overdue by more than their interval, for want of a slot.");
  text.sample(source.checks.late);
  text.gauge("limpet_check_runs_running", "Runs of health checks under way, by kind.");
  text.sample({"kind", "network"}, source.checks.running[0]);
  text.sample({"kind", "command"}, source.checks.running[1]);
  text.counter("limpet_check_runs_total", "Runs of health checks, by kind.");
  text.sample({"kind", "network"}, source.checks.runs[0]);
  text.sample({"kind", "command"}, source.checks.runs[1]);
  text.counter("limpet_check_runs_unknown_total", "Runs that found nothing, as the agent could not look.");
  text.sample(source.checks.unknown_runs);
  text.gauge("limpet_watched_processes", "Processes that registrations are bound to.");
  text.sample(source.watched_processes);
  text.counter("limpet_heartbeats_total", "Heartbeats that came.");
  text.sample(source.driver.heartbeats);
  text.gauge("limpet_host_maintenance", "1 while the whole host is in maintenance.");
  text.sample(source.status.maintenance ? 1 : 0);
}

void append_parents(MetricsText& text, const core::ParentFigures& parents) {
  text.gauge("limpet_parents", "Znodes above registrations that this agent created and remembers.");
  text.sample(parents.remembered);
  text.counter("limpet_parents_created_total", "Znodes above registrations that this agent created.");
  text.sample(parents.created);
  text.counter("limpet_parents_pruned_total", "Empty ones among them that `limpet prune` removed.");
  text.sample(parents.pruned);
  text.counter("limpet_parents_forgotten_total", "Those that are no longer remembered, because there were too many.");
  text.sample(parents.forgotten);
}

void append_process(MetricsText& text, const ProcessFigures& process) {
  text.counter("limpet_process_cpu_seconds_total", "Processor time used, user and system.");
  text.sample(process.cpu_s);
  text.gauge("limpet_process_resident_memory_bytes", "Memory in use.");
  text.sample(process.resident_bytes);
  text.gauge("limpet_process_virtual_memory_bytes", "Address space in use.");
  text.sample(process.virtual_bytes);
  text.gauge("limpet_process_open_fds", "Open file descriptors.");
  text.sample(process.open_descriptors);
  text.gauge("limpet_process_max_fds", "How many file descriptors may be open.");
  text.sample(process.max_descriptors);
  text.gauge("limpet_process_start_time_seconds", "When the process began, in seconds since 1970.");
  text.sample(process.started_s);
}

}  // namespace

void append_metrics(std::string& out, const MetricsSource& source) {
  MetricsText text(out);
  text.gauge("limpet_build_info", "1; the label tells the version that runs.");
  text.sample({"version", source.version}, 1);
  append_queue(text, source.status);
  append_changes(text, source.driver);
  append_replay(text, source);
  append_session(text, source.status, source.figures.session);
  append_files(text, source);
  append_storage(text, source);
  append_api(text, source);
  append_registrations(text, source);
  append_parents(text, source.figures.parents);
  append_process(text, source.process);
}

}  // namespace limpet
