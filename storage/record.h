// The records that limpet keeps on disk, and their encoding. Pure: no I/O, no clock; any thread.
//
// What is stored is the accepted state, not a log of calls: one Registration per name (its newest accepted change),
// one Removal per znode that has still to be deleted, one Outcome per registration that reached ZooKeeper, one Hold
// per reason for which a registration is withdrawn, one Parent per znode above registrations that the agent created,
// and the ZooKeeper session with its predecessors. The queue of what
// is not yet in ZooKeeper follows from these: the registrations without an Outcome of their `seq`, and the removals.
// Beside the state, and bounded by age and size, stands the history of what happened. storage/FORMAT.md gives the
// bytes.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "storage/error.h"
#include "storage/numbers.h"
#include "storage/parent.h"
#include "storage/rare.h"
#include "storage/shared.h"

namespace limpet {

struct RegistrationId {
  std::string service;
  std::string instance;
  friend auto operator<=>(const RegistrationId&, const RegistrationId&) = default;
  // "service/instance": neither part can hold a slash.
  std::string str() const { return service + "/" + instance; }
};

// Whose change it was, as the kernel said on the socket.
struct Owner {
  std::uint32_t uid = 0;
  std::int32_t pid = 0;
  bool contained = false;  // root's or the agent's uid in other namespaces than the agent's: not the one of this host
  friend bool operator==(const Owner&, const Owner&) = default;
};

enum class Format : std::uint8_t { raw = 1, json = 2, curator = 3, spring = 4, serverset = 5, nerve = 6 };

// What a registration lives and dies with, besides what else it asks for.
enum class Bind : std::uint8_t { none = 0, process = 1, connection = 2 };

// One process of this machine, told from a later one that is given the same pid.
struct ProcessId {
  std::int32_t pid = 0;
  std::uint64_t start_ticks = 0;  // clock ticks from boot to its start: field 22 of /proc/PID/stat, proc(5)
  std::string boot_id;            // /proc/sys/kernel/random/boot_id of the boot that those are reckoned from
  friend bool operator==(const ProcessId&, const ProcessId&) = default;
};

enum class CheckType : std::uint8_t { tcp = 1, http = 2, command = 3 };

// A health check as it was asked for. While one fails, the registration's znode is withdrawn.
struct Check {
  CheckType type = CheckType::tcp;
  std::string target;                // tcp: "host:port", or "unix:/path"; http: the URL
  std::vector<std::string> command;  // command: program and arguments
  std::string status;                // http: what is well, "2xx" or "200"
  std::int64_t interval_ms = 10'000;
  std::int64_t timeout_ms = 1'000;
  std::uint32_t rise = 1;  // so many successes in a row end a failure
  std::uint32_t fall = 3;  // so many failures in a row begin one
  friend bool operator==(const Check&, const Check&) = default;
};

// When a registration ends or is withdrawn by itself.
struct Lifetime {
  std::int64_t ttl_ms = 0;  // deregistered unless a heartbeat comes in time; 0: none
  Bind bind = Bind::none;
  Rare<ProcessId> process;  // where bind is process
  std::vector<Check> checks;
  std::int64_t expires_ms = 0;  // dropped if it has not been in ZooKeeper so long after accepted_at; 0: never
  friend bool operator==(const Lifetime&, const Lifetime&) = default;
};

// A live registration: the newest accepted change of its name.
struct Registration {
  RegistrationId id;
  std::string path;  // absolute znode path, before any chroot is put in front
  Format format = Format::raw;
  std::string data;  // the znode's bytes
  Owner owner;
  Seq seq;
  WallMs accepted_at = 0;
  Lifetime lifetime;
  friend bool operator==(const Registration&, const Registration&) = default;
};
// As it is planned, on its way to the disk, in effect and in the replay: one for all of them.
using SharedRegistration = Shared<Registration>;

// A znode of ours that must still be deleted: after a deregistration, or an update that moved the path.
// `seq` is the change that asked for it; at most one Removal per seq.
struct Removal {
  Seq seq;
  RegistrationId id;
  std::string path;
  Owner owner;
  WallMs accepted_at = 0;
  bool moved = false;  // by an update that moved the path
  friend bool operator==(const Removal&, const Removal&) = default;
};
// What is still known of a registration whose znode is being removed: everything but its format, data and lifetime.
Registration remnant_of(const Removal& removal);

// What ZooKeeper confirmed of a registration: the content of change `seq` stands there. Written lazily: it may be
// missing or older than the truth, never newer.
struct Outcome {
  Seq seq;
  SessionId session;
  Zxid czxid;
  Zxid mzxid;
  std::int32_t version = 0;
  WallMs registered_at = 0;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

// Why a registration is accepted, but withdrawn from ZooKeeper for now. At most one per target and cause.
enum class HoldCause : std::uint8_t { maintenance = 1, check = 2 };
struct Hold {
  std::optional<RegistrationId> id;  // absent: everything on this host
  HoldCause cause = HoldCause::maintenance;
  std::string message;  // the operator's reason; the last words of the check
  Owner owner;          // who asked for it; of a check, the registration's
  Seq seq;              // the change that asked for it; of a check, the registration's
  WallMs since = 0;
  friend bool operator==(const Hold&, const Hold&) = default;
};

using SessionPassword = std::array<std::uint8_t, 16>;

// The ZooKeeper session that holds our znodes. The password is a secret: it is never logged or shown.
struct Session {
  SessionId id;
  SessionPassword password{};
  std::int32_t timeout_ms = 0;  // as negotiated
  std::string host;             // stamp of the machine that made it: a copied state directory gives itself away
  friend bool operator==(const Session&, const Session&) = default;
};

// The newest sessions of this agent before the present one, oldest first: what they own is ours.
using FormerSessions = std::vector<SessionId>;

// ---- The history

// What happened. The numbers are on disk: one that is no longer used is never given to something else.
enum class Happening : std::uint8_t {
  accepted = 1,            // a registration, new or updated
  deregistered = 2,        // its removal was accepted
  superseded = 3,          // a newer change took its place before it was sent
  registered = 4,          // confirmed in ZooKeeper
  removed = 5,             // its znode is gone, as was asked for
  conflict = 6,            // somebody else has its path
  blocked = 7,             // ZooKeeper refuses it
  expired = 8,             // dropped: it was not in ZooKeeper in time (`expires`)
  ttl_expired = 9,         // dropped: no heartbeat came in time
  process_ended = 10,      // dropped: the process that it was bound to ended
  connection_closed = 11,  // dropped: the connection that it was bound to closed
  unhealthy = 12,          // withdrawn: a check fails
  healthy = 13,            // all checks succeed again
  maintenance_on = 14,     // withdrawn by hand; without an id: everything on this host
  maintenance_off = 15,
  repaired = 16,  // somebody else touched its znode; it is being put right
  session_connected = 17,
  session_suspended = 18,
  session_expired = 19,
  storage_failed = 20,
  storage_recovered = 21,
  agent_started = 22,
  agent_stopped = 23,
  history_gap = 24,  // so many entries could not be kept while the disk failed
  withdrawn = 25,    // its znode is gone for as long as a check fails or maintenance lasts
  pruned = 26,       // empty parents were removed, as was asked for
};

// Who brought it about.
struct Actor {
  Owner owner;
  std::string program;  // the process's name as the kernel has it, at most 15 bytes
  friend bool operator==(const Actor&, const Actor&) = default;
};

struct HistoryEntry {
  std::uint64_t event = 0;  // its place in the history: 1, 2, 3 …, never reused
  Seq seq;                  // the change that it is about; 0: none
  Seq last_seq;             // the newest change of that time
  WallMs time = 0;
  std::optional<RegistrationId> id;
  Happening what = Happening::accepted;
  std::string why;  // for people; may be empty
  std::optional<Actor> who;
  Zxid zxid;  // of the znode's change in ZooKeeper; 0: none, or not known
  friend bool operator==(const HistoryEntry&, const HistoryEntry&) = default;
};
// On its way to the disk, and to those who listen when it is there.
using SharedHistoryEntry = Shared<HistoryEntry>;

// ---- Changes to the stored state; a Batch of them is written atomically and in order.

struct PutRegistration {
  SharedRegistration registration;
};
struct EraseRegistration {  // also erases its Outcome and its Holds
  RegistrationId id;
};
struct PutRemoval {
  Removal removal;
};
struct EraseRemoval {
  Seq seq;
};
struct PutOutcome {
  RegistrationId id;
  Outcome outcome;
};
struct PutSession {
  Session session;
  FormerSessions former;
};

struct PutHold {
  Hold hold;
};
struct EraseHold {
  std::optional<RegistrationId> id;  // absent: of the whole host
  HoldCause cause = HoldCause::maintenance;
};
struct PutParent {
  Parent parent;
};
struct EraseParent {
  std::string path;
};
struct AddHistory {  // entries are added in the order of their event numbers
  SharedHistoryEntry entry;
};

using Change = std::variant<PutRegistration, EraseRegistration, PutRemoval, EraseRemoval, PutOutcome, PutSession,
                            PutHold, EraseHold, PutParent, EraseParent, AddHistory>;

struct Batch {
  Seq last_seq;  // the highest seq assigned up to and with this batch; 0: unchanged
  std::vector<Change> changes;
};

// Everything that is on disk.
struct StoredState {
  Seq last_seq;
  std::vector<SharedRegistration> registrations;  // in no particular order
  std::vector<Removal> removals;                  // by seq
  std::vector<std::pair<RegistrationId, Outcome>> outcomes;
  std::vector<Hold> holds;
  std::vector<Parent> parents;
  std::optional<Session> session;
  FormerSessions former;
  std::uint64_t last_event = 0;  // of the history
};

// Encodings. Each encoded value carries its version and a CRC-32C; decode_* refuses (Errc::damaged) what fails the
// checksum or its bounds, and (Errc::newer_format) a later version. A decoder never reads past `bytes`, and what it
// allocates is in proportion to bytes.size(), whatever they say.
// `room`: a string whose memory is used again.
std::string encode(const Registration& registration, std::string room = {});
std::string encode(const Removal& removal, std::string room = {});
std::string encode(const Outcome& outcome, std::string room = {});
std::string encode(const Session& session, std::string room = {});
std::string encode(const FormerSessions& former, std::string room = {});
std::string encode(const Hold& hold, std::string room = {});
std::string encode(const HistoryEntry& entry, std::string room = {});
Result<Registration> decode_registration(std::string_view bytes);
Result<Removal> decode_removal(std::string_view bytes);
Result<Outcome> decode_outcome(std::string_view bytes);
Result<Session> decode_session(std::string_view bytes);
Result<FormerSessions> decode_former_sessions(std::string_view bytes);
Result<Hold> decode_hold(std::string_view bytes);
Result<HistoryEntry> decode_history_entry(std::string_view bytes);

}  // namespace limpet

template <>
struct std::hash<limpet::RegistrationId> {
  std::size_t operator()(const limpet::RegistrationId& id) const noexcept {
    return std::hash<std::string>()(id.service) * 31 + std::hash<std::string>()(id.instance);
  }
};
