#include "tests/sim/describe.h"

#include <cstdio>
#include <type_traits>

namespace limpet::test {

namespace {

std::string num(std::uint64_t value) {
  return std::to_string(value);
}

std::string hex(std::int64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

std::string target(const std::optional<RegistrationId>& id) {
  return id ? id->str() : "the host";
}

std::string describe(const Lifetime& lifetime) {
  std::string text;
  if (lifetime.ttl_ms > 0) {
    text += " ttl=" + std::to_string(lifetime.ttl_ms);
  }
  if (lifetime.process) {
    text += " process=" + num(lifetime.process->start_ticks);
  }
  if (lifetime.bind == Bind::connection) {
    text += " bind=connection";
  }
  if (!lifetime.checks.empty()) {
    text += " checks=" + num(lifetime.checks.size());
  }
  if (lifetime.expires_ms > 0) {
    text += " expires=" + std::to_string(lifetime.expires_ms);
  }
  return text;
}

std::string describe(const core::ChangeRequest& change) {
  if (const auto* reg = std::get_if<core::RegisterRequest>(&change)) {
    return "register " + reg->id.str() + (reg->path ? " at " + *reg->path : "") + " data=" + reg->data +
           describe(reg->lifetime);
  }
  return "deregister " + std::get<core::DeregisterRequest>(change).id.str();
}

std::string describe(const Session& session) {
  return hex(session.id.value) + " timeout=" + std::to_string(session.timeout_ms);
}

std::string describe(const core::Reply& reply) {
  std::string text = "Reply token=" + num(reply.token.value);
  if (const auto* problem = std::get_if<core::Problem>(&reply.result)) {
    return text + " " + name_of(problem->code) + " (" + problem->detail + ")";
  }
  for (const auto& accepted : std::get<std::vector<core::AcceptedChange>>(reply.result)) {
    text += " " + accepted.id.str() + "=" + num(accepted.seq.value) + (accepted.changed ? "" : " (same)");
  }
  return text;
}

}  // namespace

std::string seq_text(Seq seq) {
  return "#" + std::to_string(seq.value);
}

const char* name_of(core::ZkCode code) {
  constexpr const char* kNames[] = {
      "ok",           "no_node",        "node_exists", "bad_version", "not_empty",       "parent_ephemeral", "no_auth",
      "invalid_path", "quota_exceeded", "throttled",   "refused",     "unknown_outcome", "not_sent"};
  return kNames[static_cast<std::size_t>(code)];
}

const char* name_of(core::ProblemCode code) {
  constexpr const char* kNames[] = {"invalid",      "not_found",     "not_owner",    "not_allowed",
                                    "path_taken",   "quota",         "queue_full",   "storage_failed",
                                    "storage_full", "shutting_down", "not_connected"};
  return kNames[static_cast<std::size_t>(code)];
}

const char* name_of(HoldCause cause) {
  return cause == HoldCause::maintenance ? "maintenance" : "failing check";
}

const char* name_of(Happening what) {
  constexpr const char* kNames[] = {"",
                                    "accepted",
                                    "deregistered",
                                    "superseded",
                                    "registered",
                                    "removed",
                                    "conflict",
                                    "blocked",
                                    "expired",
                                    "ttl_expired",
                                    "process_ended",
                                    "connection_closed",
                                    "unhealthy",
                                    "healthy",
                                    "maintenance_on",
                                    "maintenance_off",
                                    "repaired",
                                    "session_connected",
                                    "session_suspended",
                                    "session_expired",
                                    "storage_failed",
                                    "storage_recovered",
                                    "agent_started",
                                    "agent_stopped",
                                    "history_gap",
                                    "withdrawn",
                                    "pruned"};
  return kNames[static_cast<std::size_t>(what)];
}

const char* name_of(core::State state) {
  constexpr const char* kNames[] = {"pending", "registered", "suspended",   "conflict",
                                    "blocked", "unhealthy",  "maintenance", "removing"};
  return kNames[static_cast<std::size_t>(state)];
}

std::string describe(const core::ZkRequest& request) {
  constexpr const char* kVerbs[] = {"create", "create_parent", "set",  "remove", "read",
                                    "watch",  "look",          "sync", "check",  "transaction"};
  std::string parts;
  for (const core::ZkRequest& part : request.batch) {
    parts += " [" + describe(part) + "]";
  }
  return std::string(kVerbs[static_cast<std::size_t>(request.verb)]) + " " + request.path +
         (request.data.empty() ? "" : " data=" + request.data) + " version=" + std::to_string(request.version) + parts;
}

std::string describe(const core::ZkReply& reply) {
  return std::string(name_of(reply.code)) + (reply.data.empty() ? "" : " data=" + reply.data) +
         " czxid=" + hex(reply.stat.czxid.value) + " mzxid=" + hex(reply.stat.mzxid.value) +
         " version=" + std::to_string(reply.stat.version) + " owner=" + hex(reply.stat.ephemeral_owner.value);
}

std::string describe(const Change& change) {
  return std::visit(
      [](const auto& c) -> std::string {
        using T = std::decay_t<decltype(c)>;
        if constexpr (std::is_same_v<T, PutRegistration>) {
          return "+" + c.registration->id.str() + "#" + num(c.registration->seq.value);
        } else if constexpr (std::is_same_v<T, EraseRegistration>) {
          return "-" + c.id.str();
        } else if constexpr (std::is_same_v<T, PutRemoval>) {
          return "+removal#" + num(c.removal.seq.value) + " " + c.removal.path;
        } else if constexpr (std::is_same_v<T, EraseRemoval>) {
          return "-removal#" + num(c.seq.value);
        } else if constexpr (std::is_same_v<T, PutOutcome>) {
          return "outcome " + c.id.str() + "#" + num(c.outcome.seq.value);
        } else if constexpr (std::is_same_v<T, PutSession>) {
          return "session " + hex(c.session.id.value);
        } else if constexpr (std::is_same_v<T, PutHold>) {
          return std::string("+") + name_of(c.hold.cause) + " of " + target(c.hold.id);
        } else if constexpr (std::is_same_v<T, EraseHold>) {
          return std::string("-") + name_of(c.cause) + " of " + target(c.id);
        } else if constexpr (std::is_same_v<T, PutParent>) {
          return "+parent " + c.parent.path;
        } else if constexpr (std::is_same_v<T, EraseParent>) {
          return "-parent " + c.path;
        } else {
          static_assert(std::is_same_v<T, AddHistory>);
          return "event " + num(c.entry->event) + " " + name_of(c.entry->what) + "#" + num(c.entry->seq.value);
        }
      },
      change);
}

std::string describe(const core::Event& event) {
  return std::visit(
      [](const auto& e) -> std::string {
        using T = std::decay_t<decltype(e)>;
        if constexpr (std::is_same_v<T, core::Started>) {
          return "Started";
        } else if constexpr (std::is_same_v<T, core::Submit>) {
          std::string text = "Submit token=" + num(e.token.value) + " uid=" + num(e.caller.owner.uid) +
                             (e.caller.privileged ? " privileged" : "");
          for (const auto& change : e.changes) {
            text += " | " + describe(change);
          }
          return text;
        } else if constexpr (std::is_same_v<T, core::Leave>) {
          return "Leave token=" + num(e.token.value);
        } else if constexpr (std::is_same_v<T, core::Persisted>) {
          return "Persisted ticket=" + num(e.ticket) + " " + (e.status.ok() ? "ok" : e.status.message());
        } else if constexpr (std::is_same_v<T, core::StoreReopened>) {
          return "StoreReopened " + (e.status.ok() ? std::string("ok") : e.status.message()) +
                 " last_seq=" + num(e.state.last_seq.value);
        } else if constexpr (std::is_same_v<T, core::ZkConnected>) {
          return "ZkConnected epoch=" + num(e.epoch.value) + " session=" + describe(e.session);
        } else if constexpr (std::is_same_v<T, core::ZkDisconnected>) {
          return "ZkDisconnected epoch=" + num(e.epoch.value);
        } else if constexpr (std::is_same_v<T, core::ZkExpired>) {
          return "ZkExpired epoch=" + num(e.epoch.value);
        } else if constexpr (std::is_same_v<T, core::ZkLimited>) {
          return "ZkLimited epoch=" + num(e.epoch.value);
        } else if constexpr (std::is_same_v<T, core::ZkAuthFailed>) {
          return "ZkAuthFailed epoch=" + num(e.epoch.value);
        } else if constexpr (std::is_same_v<T, core::ZkTrouble>) {
          return "ZkTrouble epoch=" + num(e.epoch.value) + " " + e.message;
        } else if constexpr (std::is_same_v<T, core::ZkReplied>) {
          return "ZkReplied epoch=" + num(e.epoch.value) + " op=" + num(e.op.value) + " " + describe(e.reply);
        } else if constexpr (std::is_same_v<T, core::ZkWatchFired>) {
          return "ZkWatchFired epoch=" + num(e.epoch.value) + " " + e.path;
        } else if constexpr (std::is_same_v<T, core::Tick>) {
          return "Tick";
        } else if constexpr (std::is_same_v<T, core::SpaceChanged>) {
          return std::string("SpaceChanged low=") + (e.low ? "yes" : "no");
        } else if constexpr (std::is_same_v<T, core::ServersChanged>) {
          return "ServersChanged";
        } else if constexpr (std::is_same_v<T, core::Stopping>) {
          return "Stopping";
        } else if constexpr (std::is_same_v<T, core::Heartbeat>) {
          return "Heartbeat token=" + num(e.token.value) + " " + e.id.str();
        } else if constexpr (std::is_same_v<T, core::SetMaintenance>) {
          return "SetMaintenance token=" + num(e.token.value) + " " + target(e.id) +
                 (e.reason ? " reason=" + *e.reason : " ends");
        } else if constexpr (std::is_same_v<T, core::ConnectionClosed>) {
          return "ConnectionClosed " + num(e.connection.value);
        } else if constexpr (std::is_same_v<T, core::ProcessEnded>) {
          return "ProcessEnded " + e.id.str() + "#" + num(e.seq.value);
        } else if constexpr (std::is_same_v<T, core::HealthChanged>) {
          return "HealthChanged " + e.id.str() + "#" + num(e.seq.value) + (e.passing ? " passing" : " failing");
        } else if constexpr (std::is_same_v<T, core::Prune>) {
          return "Prune token=" + num(e.token.value) + (e.dry_run ? " dry" : "");
        } else {
          static_assert(std::is_same_v<T, core::Reconfigured>);
          return "Reconfigured";
        }
      },
      event);
}

std::string describe(const core::Action& action) {
  return std::visit(
      [](const auto& a) -> std::string {
        using T = std::decay_t<decltype(a)>;
        if constexpr (std::is_same_v<T, core::Persist>) {
          std::string text =
              "Persist ticket=" + num(a.ticket) + (a.sync ? " sync" : "") + " last_seq=" + num(a.batch.last_seq.value);
          for (const Change& change : a.batch.changes) {
            text += " " + describe(change);
          }
          return text;
        } else if constexpr (std::is_same_v<T, core::ReopenStore>) {
          return "ReopenStore delay=" + std::to_string(a.delay_ms);
        } else if constexpr (std::is_same_v<T, core::Reply>) {
          return describe(a);
        } else if constexpr (std::is_same_v<T, core::ZkStart>) {
          return "ZkStart epoch=" + num(a.epoch.value) + " session=" + (a.session ? describe(*a.session) : "none");
        } else if constexpr (std::is_same_v<T, core::ZkStop>) {
          return "ZkStop epoch=" + num(a.epoch.value);
        } else if constexpr (std::is_same_v<T, core::ZkSend>) {
          return "ZkSend epoch=" + num(a.epoch.value) + " op=" + num(a.op.value) + " " + describe(a.request);
        } else if constexpr (std::is_same_v<T, core::SetTimer>) {
          return "SetTimer " + std::to_string(a.at_steady_ms);
        } else if constexpr (std::is_same_v<T, core::Note>) {
          return "Note " + a.what + " " + a.detail;
        } else if constexpr (std::is_same_v<T, core::Changed>) {
          return "Changed";
        } else if constexpr (std::is_same_v<T, core::Watch>) {
          return "Watch " + a.id.str() + "#" + num(a.seq.value) +
                 (a.process ? " pid " + num(a.process->start_ticks) : "") + (a.failing ? " failing" : "");
        } else if constexpr (std::is_same_v<T, core::Unwatch>) {
          return "Unwatch " + a.id.str();
        } else if constexpr (std::is_same_v<T, core::VoidFailure>) {
          return "VoidFailure " + a.id.str();
        } else if constexpr (std::is_same_v<T, core::Recheck>) {
          return std::string("Recheck") + (a.all ? " all" : "");
        } else if constexpr (std::is_same_v<T, core::Pruned>) {
          return "Pruned token=" + num(a.token.value);
        } else {
          static_assert(std::is_same_v<T, core::Recorded>);
          return "Recorded " + num(a.entry->event);
        }
      },
      action);
}

}  // namespace limpet::test
