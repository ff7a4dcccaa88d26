// What happens to the core (Event) and what it wants done (Action): the whole of its traffic with the world.
//
// The driver (agent/agent.cc, or the simulator in tests/sim) calls Core::step with one Event at a time and carries
// out the Actions in their order. The shape is that of etcd-io/raft: Step in, Ready out.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "agent/core/limits.h"
#include "agent/core/types.h"
#include "storage/error.h"
#include "storage/record.h"

namespace limpet::core {

// ---- Events

// First event of a run, once.
struct Started {};

// Last event of a run that is stopped in good order.
struct Stopping {};

// A caller's changes: all or none, with consecutive seq. Answered by one Reply with the same token, after the changes
// are on stable storage or were refused.
struct Submit {
  Token token;
  Caller caller;
  std::vector<ChangeRequest> changes;
};

// Deregisters everything, in order of seq. Answered like a Submit.
struct Leave {
  Token token;
  Caller caller;
};

// The registration's ttl begins anew. Answered at once, by what stands (changed: false) or a Problem.
struct Heartbeat {
  Token token;
  Caller caller;
  RegistrationId id;
};

// Withdraws one registration, or without `id` everything on this host, until it is ended. Answered like a Submit; for
// the whole host by no AcceptedChange.
struct SetMaintenance {
  Token token;
  Caller caller;
  std::optional<RegistrationId> id;
  std::optional<std::string> reason;  // absent: maintenance ends
};

// Removes the parents that this agent created and that are empty. Answered by one Pruned with the same token.
struct Prune {
  Token token;
  Caller caller;
  std::int64_t unused_ms = 0;          // only those without a registration of this agent for so long
  bool dry_run = false;                // looks, and removes nothing
  std::optional<std::string> service;  // only those that were created for it, or have its name
};

// This connection to the API is closed.
struct ConnectionClosed {
  ConnectionId connection;
};

// What a Watch asked for. `seq` is the Watch's; what is about an older one is dropped.
struct ProcessEnded {
  RegistrationId id;
  Seq seq;
  std::string how;  // for people: "pid 4321 ended"
};
struct HealthChanged {
  RegistrationId id;
  Seq seq;
  bool passing = true;
  std::string message;  // the check's last words
};

// Limits, policy, places and pace were configured anew. What is accepted already stays.
struct Reconfigured {
  Limits limits;
  std::vector<std::string> paths = {};  // as in Options
  std::uint32_t replay_rate = 0;
  std::uint32_t acl_bytes = 27;  // as in Options
};

// Every Persist action up to and with `ticket` was carried out with this result.
struct Persisted {
  std::uint64_t ticket = 0;
  Status status;
};

// After ReopenStore: what the store holds now, or why it could not be opened.
struct StoreReopened {
  Status status;
  StoredState state;  // where status.ok()
  bool low_on_space = false;
};

// The disk is so full that only what frees room may be written (true), or there is room again (false).
struct SpaceChanged {
  bool low = false;
};

// The handle of `epoch` has a session: new, or the one it was started with.
struct ZkConnected {
  Epoch epoch;
  Session session;
  std::string server;  // "ip:port"
};
// The connection is lost; the library looks for another server with the same session.
struct ZkDisconnected {
  Epoch epoch;
};
// The server said that the session is gone, or refused to know it. The handle is dead.
struct ZkExpired {
  Epoch epoch;
};
// The servers refuse our credentials, or demand some and end every connection without them. The handle is of no use.
struct ZkAuthFailed {
  Epoch epoch;
  std::string message = {};  // for a human: what is wrong, and what to do
};
// While there is no connection: what was found out about why. `no_quorum`: a server can be reached but has no quorum.
struct ZkTrouble {
  Epoch epoch;
  bool no_quorum = false;
  std::string message;  // for a human, one sentence
};
// The session is of no use for ephemeral znodes, by a setting of the servers. The connection stands.
struct ZkLimited {
  Epoch epoch;
  std::string message;  // for a human: which setting, and what to do
};
struct ZkReplied {
  Epoch epoch;
  OpId op;
  ZkReply reply;
};
// A znode on which a read or watch left a watch was created, changed or deleted. Fires once per watch.
struct ZkWatchFired {
  Epoch epoch;
  std::string path;
};

// The time that the last SetTimer asked for has come. May come early or late; harmless.
struct Tick {};

// The list of servers, their order or their addresses changed: open a new handle with the same session.
struct ServersChanged {};

using Event =
    std::variant<Started, Stopping, Submit, Leave, Heartbeat, SetMaintenance, Prune, ConnectionClosed, ProcessEnded,
                 HealthChanged, Reconfigured, Persisted, StoreReopened, SpaceChanged, ZkConnected, ZkDisconnected,
                 ZkExpired, ZkAuthFailed, ZkTrouble, ZkLimited, ZkReplied, ZkWatchFired, Tick, ServersChanged>;

// ---- Actions

// Write `batch` after those before it; report by Persisted. Tickets count up by one.
struct Persist {
  std::uint64_t ticket = 0;
  Batch batch;
  bool sync = true;
};

// Close and open the store again, load it, report by StoreReopened. `delay_ms`: not before.
struct ReopenStore {
  std::int64_t delay_ms = 0;
};

struct Reply {
  Token token;
  std::variant<std::vector<AcceptedChange>, Problem> result;
};

struct Pruned {
  Token token;
  std::variant<PruneReport, Problem> result;
};

// Open a handle of this epoch, re-attaching to `session` where there is one. Closes no session. Any handle before it
// has been given a ZkStop.
struct ZkStart {
  Epoch epoch;
  std::optional<Session> session;
};
// Let go of the handle, without ending its session. What it still reports is dropped by its epoch.
struct ZkStop {
  Epoch epoch;
};
struct ZkSend {
  Epoch epoch;
  OpId op;
  ZkRequest request;
};

// Send a Tick at this time; replaces the one asked for before.
struct SetTimer {
  std::int64_t at_steady_ms = 0;
};

// Something that a person would want in the log or the history: `what` is a stable word, the rest says it.
struct Note {
  enum class Level { debug, info, warn, error } level = Level::info;
  std::string what;
  std::string detail;  // key=value pairs, ready to be logged
};

// The state of registrations, or their being there, changed: those who wait for one should look again.
struct Changed {};

// Watch what this registration lives with: its process, its checks. Replaces the Watch of the same id before, of which
// a check that is asked for in the same words goes on where it was.
struct Watch {
  RegistrationId id;
  Seq seq;
  std::uint32_t uid = 0;      // whose registration it is: command checks run as that
  Rare<ProcessId> process;    // ProcessEnded when it ends, also when it ended long ago
  std::vector<Check> checks;  // HealthChanged when one fails, and when all are well again
  bool failing = false;       // how its health was when last heard of: of the run before, at the start
  bool unproven = false;      // made while ZooKeeper is away, and not published: one failure of a check is enough
};
struct Unwatch {
  RegistrationId id;
};

// What the checks of this registration were last reported to have found is void: it was seen while ZooKeeper was away.
// They are not reported as failing again before the next Recheck, and then only when they have failed `fall` times.
struct VoidFailure {
  RegistrationId id;
};

// ZooKeeper is back. Voided failures, and what is unproven, count as passes from here on. `all`: so do failures, of any
// check, that are not enough yet for a report; and a run that began before this does not count as failed.
struct Recheck {
  bool all = true;
};

// This stands in the history now.
struct Recorded {
  SharedHistoryEntry entry;
};

using Action = std::variant<Persist, ReopenStore, Reply, Pruned, ZkStart, ZkStop, ZkSend, SetTimer, Note, Changed,
                            Watch, Unwatch, VoidFailure, Recheck, Recorded>;
using Actions = std::vector<Action>;

}  // namespace limpet::core
