// What keeps a registration, or withdraws it for a while: processes to be bound to, heartbeats, maintenance.
#include <unistd.h>

#include <unordered_map>

#include "agent/api/handlers.h"
#include "agent/api/pages.h"
#include "agent/liveness/check_policy.h"
#include "agent/liveness/check_target.h"

namespace limpet::api {
namespace {

using WeakExchange = std::weak_ptr<Exchange>;

Problem stopping() {
  return make_problem(ProblemKind::shutting_down,
                      "The agent is stopping and takes no more changes; try again when it is back.");
}

// Answers with the registration as it is now shown.
Service::ChangeDone answer_with(const Call& call, const RegistrationId& id) {
  return [service = &call.service, weak = WeakExchange(call.exchange), id](Service::ChangeResult result) {
    const auto exchange = weak.lock();
    if (!exchange) {
      return;
    }
    if (const auto* problem = std::get_if<core::Problem>(&result)) {
      return refuse(*exchange, to_problem(*problem, false));
    }
    const auto view = service->core().find(id);
    if (!view) {
      return refuse(*exchange, no_registration(id));
    }
    answer_registration(*exchange, *view);
  };
}

Service::ChangeDone answer_with_host_maintenance(const Call& call) {
  return [service = &call.service, weak = WeakExchange(call.exchange)](Service::ChangeResult result) {
    const auto exchange = weak.lock();
    if (!exchange) {
      return;
    }
    if (const auto* problem = std::get_if<core::Problem>(&result)) {
      return refuse(*exchange, to_problem(*problem, false));
    }
    render_host_maintenance(exchange->response().body, service->core().status(service->now()).maintenance);
    exchange->finish();
  };
}

// The registration that is meant, once nothing in query or body stands against a change of it.
Parsed<RegistrationId> read_changed_id(const Call& call) {
  auto id = read_id(call);
  if (std::holds_alternative<Problem>(id)) {
    return id;
  }
  if (auto problem = query_refusal(call)) {
    return std::move(*problem);
  }
  if (auto problem = change_refusal(call)) {
    return std::move(*problem);
  }
  return id;
}

// A process that began after it connected is another one, that was given the caller's number.
bool is_later(const ProcessId& process, std::int64_t connected_ms) {
  const std::int64_t ticks = connected_ms * ::sysconf(_SC_CLK_TCK) / 1000;
  return process.start_ticks > static_cast<std::uint64_t>(ticks);
}

// What one request asks of the kernel: each process is looked up once, however many operations bind to it, and so is
// the caller's place.
struct Lookups {
  std::unordered_map<std::int32_t, std::variant<ProcessId, core::Problem>> processes;  // by pid
  std::optional<PeerPlace> caller;

  const PeerPlace& place_of_caller(const Call& call) {
    if (!caller) {
      caller = call.exchange->place_of_caller();
    }
    return *caller;
  }
};

core::Problem wrong_pid(std::string detail) {
  core::Problem problem;
  problem.detail = std::move(detail);
  problem.pointer = "/pid";
  return problem;
}

// `pid` as the agent numbers it. A number is one of the caller's pid namespace: from another one than the agent's it
// would name somebody else's process here, so the caller can name itself only.
std::variant<std::int32_t, core::Problem> translate(const Call& call, std::int32_t pid, Lookups& lookups) {
  const PeerPlace& place = lookups.place_of_caller(call);
  const std::string number = std::to_string(pid);
  if (!place.known) {
    return wrong_pid(
        "cannot be looked up: the process that connected has ended, or runs where the agent does not see it, "
        "so that " +
        number + " may be another process there; use a connection, a ttl or checks instead");
  }
  if (place.shares_pid_namespace) {
    return pid;
  }
  if (pid == place.own_pid) {
    return place.pid;
  }
  return wrong_pid(
      "names a process of another pid namespace (a container's), and the caller can be bound from there to "
      "itself only: leave pid out, or have process " +
      number + " register itself");
}

std::optional<core::Problem> resolve(const Call& call, Lifetime& lifetime, Lookups& lookups) {
  const core::Caller& caller = call.request.caller;
  bool own = lifetime.process->pid == 0;
  std::int32_t pid = caller.owner.pid;
  if (!own) {
    auto translated = translate(call, lifetime.process->pid, lookups);
    if (auto* problem = std::get_if<core::Problem>(&translated)) {
      return std::move(*problem);
    }
    pid = std::get<std::int32_t>(translated);
    own = pid == caller.owner.pid;
  }
  if (pid <= 0) {
    return wrong_pid(
        "cannot be told: the process that calls runs in another pid namespace, where the agent does not see "
        "it; use a connection, a ttl or checks instead");
  }
  auto found = lookups.processes.find(pid);
  if (found == lookups.processes.end()) {
    found = lookups.processes.emplace(pid, call.service.find_process(pid, caller)).first;
  }
  if (const auto* problem = std::get_if<core::Problem>(&found->second)) {
    core::Problem refusal = *problem;
    refusal.pointer = refusal.pointer.empty() ? "/pid" : refusal.pointer;
    return refusal;
  }
  lifetime.process = std::get<ProcessId>(found->second);
  if (own && is_later(*lifetime.process, call.request.connected_ms)) {
    return wrong_pid("is needed: the process that connected has ended, and " + std::to_string(pid) + " is another one");
  }
  return std::nullopt;
}

const char* target_field(CheckType type) {
  switch (type) {
    case CheckType::tcp:
      return "address";
    case CheckType::http:
      return "url";
    case CheckType::command:
      return "command";
  }
  return "";
}

// Whether the agent may and can carry out the checks that are asked for.
std::optional<core::Problem> checks_refused(const Call& call, const Lifetime& lifetime, Lookups& lookups) {
  for (std::size_t i = 0; i < lifetime.checks.size(); ++i) {
    const Check& check = lifetime.checks[i];
    Status status = liveness::permits(call.service.check_policy(), check, false);
    if (status.ok() && check.type == CheckType::command) {
      status = liveness::check_command_uid(call.request.caller.owner.uid, ::geteuid());
    }
    if (status.ok() && check.type == CheckType::command && !lookups.place_of_caller(call).shares_namespaces) {
      status =
          Status(Errc::permission,
                 "a command would run in the agent's namespaces, and the caller runs in another user or pid "
                 "namespace (a container, or a service that sees a file system of its own): use a tcp or http check, "
                 "or a file in registrations.d");
    }
    if (!status.ok()) {
      core::Problem problem;
      problem.code = status.code() == Errc::permission ? core::ProblemCode::not_allowed : core::ProblemCode::invalid;
      problem.detail = status.message();
      problem.pointer = "/checks/" + std::to_string(i) + "/" + target_field(check.type);
      return problem;
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<Problem> resolve_lifetimes(const Call& call, std::vector<core::ChangeRequest>& changes, bool batch) {
  Lookups lookups;
  for (std::size_t i = 0; i < changes.size(); ++i) {
    auto* request = std::get_if<core::RegisterRequest>(&changes[i]);
    if (request == nullptr) {
      continue;
    }
    auto problem = checks_refused(call, request->lifetime, lookups);
    if (!problem && request->lifetime.process) {
      problem = resolve(call, request->lifetime, lookups);
    }
    if (problem) {
      problem->index = i;
      return to_problem(*problem, batch);
    }
  }
  return std::nullopt;
}

void post_heartbeat(const Call& call) {
  auto id = read_changed_id(call);
  if (const auto* problem = std::get_if<Problem>(&id)) {
    return refuse(*call.exchange, *problem);
  }
  if (const auto problem = parse_empty(call.request.body)) {
    return refuse(*call.exchange, *problem);
  }
  auto done = answer_with(call, std::get<RegistrationId>(id));
  call.service.heartbeat(call.request.caller, std::get<RegistrationId>(std::move(id)), std::move(done));
}

void put_maintenance(const Call& call) {
  auto id = read_changed_id(call);
  if (const auto* problem = std::get_if<Problem>(&id)) {
    return refuse(*call.exchange, *problem);
  }
  auto reason = parse_maintenance(call.request.body);
  if (const auto* problem = std::get_if<Problem>(&reason)) {
    return refuse(*call.exchange, *problem);
  }
  auto done = answer_with(call, std::get<RegistrationId>(id));
  call.service.set_maintenance(call.request.caller, std::get<RegistrationId>(std::move(id)),
                               std::get<std::string>(std::move(reason)), std::move(done));
}

void delete_maintenance(const Call& call) {
  auto id = read_id(call);
  if (const auto* problem = std::get_if<Problem>(&id)) {
    return refuse(*call.exchange, *problem);
  }
  if (const auto problem = query_refusal(call)) {
    return refuse(*call.exchange, *problem);
  }
  if (!call.service.accepting()) {
    return refuse(*call.exchange, stopping());
  }
  auto done = answer_with(call, std::get<RegistrationId>(id));
  call.service.set_maintenance(call.request.caller, std::get<RegistrationId>(std::move(id)), std::nullopt,
                               std::move(done));
}

void put_host_maintenance(const Call& call) {
  if (const auto problem = query_refusal(call)) {
    return refuse(*call.exchange, *problem);
  }
  if (const auto problem = change_refusal(call)) {
    return refuse(*call.exchange, *problem);
  }
  auto reason = parse_maintenance(call.request.body);
  if (const auto* problem = std::get_if<Problem>(&reason)) {
    return refuse(*call.exchange, *problem);
  }
  call.service.set_maintenance(call.request.caller, std::nullopt, std::get<std::string>(std::move(reason)),
                               answer_with_host_maintenance(call));
}

void delete_host_maintenance(const Call& call) {
  if (const auto problem = query_refusal(call)) {
    return refuse(*call.exchange, *problem);
  }
  if (!call.service.accepting()) {
    return refuse(*call.exchange, stopping());
  }
  call.service.set_maintenance(call.request.caller, std::nullopt, std::nullopt, answer_with_host_maintenance(call));
}

}  // namespace limpet::api
