// The words of the core: what a change is, what state a registration is in, why, and what ZooKeeper can be asked.
// Plain values without behaviour; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "storage/record.h"

namespace limpet::core {

// Both clocks, read once by the driver for each step: the core has none of its own.
struct Now {
  std::int64_t steady_ms = 0;  // monotonic; time-outs are reckoned in it
  WallMs wall_ms = 0;          // for people
  std::int64_t asleep_ms = 0;  // for how long the machine has been suspended since it was booted
};

// Counts the handles on ZooKeeper that this process opened; what comes back with an older one is dropped.
using Epoch = Strong<struct EpochTag, std::uint64_t>;
// Names one request to ZooKeeper.
using OpId = Strong<struct OpIdTag, std::uint64_t>;
// Names one call of the API that waits for its answer.
using Token = Strong<struct TokenTag, std::uint64_t>;
// Names one connection to the API, of this run of the agent; never reused.
using ConnectionId = Strong<struct ConnectionIdTag, std::uint64_t>;

// ---- What callers ask for

struct RegisterRequest {
  RegistrationId id;
  std::optional<std::string> path;  // instead of <root>/<service>/<leaf>
  Format format = Format::raw;
  std::string data;
  std::string leaf = {};  // empty: the instance
  // Where in `data` the time of acceptance is put in, in milliseconds since 1970: for formats that tell it. Repeating
  // what stands keeps the time that stands.
  std::optional<std::size_t> time_at = std::nullopt;
  Lifetime lifetime = {};  // with bind `connection`: that of the Caller
};
struct DeregisterRequest {
  RegistrationId id;
};
using ChangeRequest = std::variant<RegisterRequest, DeregisterRequest>;

// Whose request it is. `privileged`: root or the agent's own uid, which may change anybody's registration; one that is
// contained (Owner) is not.
struct Caller {
  Owner owner;
  bool privileged = false;
  std::vector<std::uint32_t> groups = {};  // its own first, as far as a policy asks for groups; else may be empty
  std::string program = {};                // the process's name as the kernel has it; for the history
  ConnectionId connection = {};
};

// Why a change was refused; each is one `code` of the API.
enum class ProblemCode {
  invalid,         // 422: a field is wrong
  not_found,       // 404
  not_owner,       // 403: somebody else's registration
  not_allowed,     // 403: the path is not under root or one of `paths`, or the policy does not let the caller
  path_taken,      // 409: another registration of this agent has the path
  quota,           // 429: more than this agent, or this user, may hold
  queue_full,      // 507
  storage_failed,  // 503: the outcome is unknown; repeating the same change is safe
  storage_full,    // 507
  shutting_down,   // 503
  not_connected,   // 409: it takes ZooKeeper, which is away
};
struct Problem {
  ProblemCode code = ProblemCode::invalid;
  std::string detail;     // for a human: what, to what, why, what next
  std::string pointer;    // RFC 6901 pointer of the field at fault, or empty
  std::size_t index = 0;  // of the operation at fault in a batch
};

struct AcceptedChange {
  RegistrationId id;
  Seq seq;
  bool changed = true;  // false: repeating what stands; nothing was written, `seq` is the old one
};

// ---- What is shown of a registration

enum class State { pending, registered, suspended, conflict, blocked, unhealthy, maintenance, removing };
inline constexpr std::size_t kStateCount = 8;

enum class ReasonCode {
  connecting,
  no_quorum,
  session_expired,
  foreign_owner,
  persistent_znode,
  no_auth,
  too_large,
  invalid_path,
  parent_ephemeral,
  quota,
  refused,  // any other refusal by ZooKeeper; the message has its words
  check_failed,
  maintenance,
  storage,
};
struct Reason {
  ReasonCode code = ReasonCode::connecting;
  std::string message;
  WallMs since = 0;
  std::uint32_t attempts = 0;
};

// Made once for all who are shown it; holds nothing where there is no reason.
using SharedReason = Shared<Reason>;

struct RegistrationView {
  SharedRegistration registration;  // of a removal: id, path, owner, seq and accepted_at only
  State state = State::pending;
  SharedReason reason;
  std::optional<Outcome> znode;  // what ZooKeeper confirmed last; of this content where znode->seq == registration.seq
  std::optional<Hold> maintenance = std::nullopt;  // of its own, or of the whole host
  std::optional<Hold> failing_check = std::nullopt;
  std::optional<WallMs> ttl_expires_at = std::nullopt;  // unless a heartbeat comes, or grace is given, before
  std::optional<WallMs> expires_at = std::nullopt;      // unless it has been in ZooKeeper by then
};

struct QueuedOperation {
  Seq seq;
  bool deregister = false;
  bool withdraw = false;  // of a live registration that is held back: its znode is to go
  RegistrationId id;
  std::string path;
  State state = State::pending;
  SharedReason reason;
  WallMs accepted_at = 0;
};

// What one run of `limpet prune` came to.
struct PruneReport {
  enum class Outcome {
    removed,        // or, in a dry run, would be
    in_use,         // a registration of this agent lies below it
    too_recent,     // used less long ago than was asked for
    not_empty,      // a znode of somebody else lies below it
    changed,        // it is not the znode that the agent created, or nobody can tell
    gone,           // somebody else removed it
    refused,        // by ZooKeeper
    not_connected,  // the connection was lost before it was done, or before the answer came
  };
  struct Item {
    std::string path;
    Outcome outcome = Outcome::in_use;
    std::string message;  // for people
  };
  static constexpr std::size_t kMaxItems = 1'000;

  bool dry_run = false;
  std::uint64_t examined = 0;
  std::uint64_t removed = 0;  // or would be
  std::uint64_t empty = 0;    // of those examined: nothing lies below, but what is removed with it
  std::vector<Item> items;    // by path, kMaxItems at most
};

enum class SessionState { connecting, connected, suspended, expired, auth_failed };

// How much of one bounded thing is taken, and how much may be.
struct Usage {
  std::uint64_t used = 0;        // by all users together
  std::uint64_t limit = 0;       // for all users together
  std::uint64_t user_limit = 0;  // for one user who is not privileged
};

// Whether changes can be made durable.
enum class StorageState {
  working,
  hung,    // an append has had no answer for kHungAfterMs: neither done nor failed
  failed,  // an append failed; the store is opened again until that works
  full,    // only what frees room is accepted
};
// A change waits this long for a silent disk; its outcome is then unknown.
inline constexpr std::int64_t kHungAfterMs = 5'000;

struct StatusView {
  SessionState session_state = SessionState::connecting;
  std::optional<SessionId> session;
  std::string server;  // "ip:port" while connected, else empty
  std::int32_t session_timeout_ms = 0;
  WallMs session_since = 0;     // when session_state was entered
  std::string session_message;  // plain words for people: what holds, what waits and why; empty while connected
  bool reattached = false;      // the present session was taken over from an earlier run of the agent
  std::uint64_t sessions = 0;   // sessions that this run has held

  std::uint64_t queue_depth = 0;
  std::uint64_t queue_bytes = 0;
  std::int64_t oldest_age_ms = 0;  // of the oldest queued change
  Seq last_seq;
  Seq applied_seq;  // every change up to this one is settled in ZooKeeper or superseded
  std::uint64_t max_operations = 0;

  std::uint64_t total = 0;  // live registrations and removals
  std::uint64_t by_state[kStateCount] = {};

  Usage registrations;  // live ones, as are the paths and the data
  Usage path_bytes;     // as ZooKeeper counts them, see path_budget.h
  Usage data_bytes;
  Usage operations;                      // queued
  std::uint64_t session_path_bytes = 0;  // of the znodes that may stand under the present session
  std::uint64_t watch_path_bytes = 0;    // of the znodes that are watched
  std::uint64_t held_back = 0;           // registrations that wait for room in the session

  StorageState storage = StorageState::working;
  std::string storage_error;           // in words; empty while it works
  WallMs storage_since = 0;            // when `storage` was entered; hung: when the disk last answered
  std::int64_t append_pending_ms = 0;  // how long the oldest append has waited for the disk; 0: none waits
  bool storage_healthy() const { return storage == StorageState::working; }

  std::optional<Hold> maintenance;  // of the whole host
};

// ---- What ZooKeeper is asked and answers

// The part of ZooKeeper's Stat that we use. (zookeeper.jute: class Stat)
struct ZkStat {
  Zxid czxid;
  Zxid mzxid;
  std::int32_t version = 0;
  SessionId ephemeral_owner;  // 0: a persistent znode, or a container
  std::int32_t children = 0;  // as a look tells
};

enum class ZkVerb {
  create,         // ephemeral, with `data`; answers its stat
  create_parent,  // empty, persistent or a container; never in a transaction
  set,            // `data` where the znode has `version`; answers its stat
  remove,         // where the znode has `version`
  read,           // data and stat, and leaves a watch on an existing znode
  watch,          // stat only, and leaves a watch (also where there is no znode)
  look,           // stat only
  sync,           // what this server answers from here on is not older than now
  check,          // only in a transaction: the znode is there, with `version` unless that is -1
  transaction,    // all of `batch` in its order, or nothing of it; creates, sets, removes and checks
};
struct ZkRequest {
  ZkVerb verb = ZkVerb::sync;
  std::string path;
  std::string data;
  std::int32_t version = -1;
  std::vector<ZkRequest> batch = {};  // of a transaction
  bool leave_watch = true;            // of a read or watch; false: only the answer is asked for
};

// What a request came to, as far as the core has to tell apart. See agent/zk/zk_error.cc for the mapping.
enum class ZkCode {
  ok,
  no_node,
  node_exists,
  bad_version,
  not_empty,         // a znode with children cannot be deleted
  parent_ephemeral,  // ephemerals have no children
  no_auth,           // the ACL forbids it, or the ACL asked for is not valid
  invalid_path,      // refused as malformed
  quota_exceeded,
  throttled,        // not executed; try again
  refused,          // any other definite refusal; `message` names it
  unknown_outcome,  // the connection went away: it may have happened or not
  not_sent,         // it certainly did not happen: not connected
};
struct ZkReply {
  ZkCode code = ZkCode::ok;
  ZkStat stat;          // create, set, read, watch
  std::string data;     // read
  std::string message;  // of a refusal: the library's own words
  // Of a transaction, one for each of its requests: where it was done, what each came to; where one request was at
  // fault, that one's refusal and `throttled` for all others. Empty where nobody knows which it was, or whether it was
  // done: the code is then that of the whole.
  std::vector<ZkReply> batch = {};
};

}  // namespace limpet::core
