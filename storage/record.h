// The records that limpet keeps on disk, and their encoding. Pure: no I/O, no clock; any thread.
//
// What is stored is the accepted state, not a log of calls: one Registration per name (its newest accepted change),
// one Removal per znode that has still to be deleted, one Outcome per registration that reached ZooKeeper, and the
// ZooKeeper session with its predecessors. The queue of what is not yet in ZooKeeper follows from these: the
// registrations without an Outcome of their `seq`, and the removals. storage/FORMAT.md gives the bytes.
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

namespace limpet {

// A number of its own type: a Seq does not mix with a SessionId.
template <typename Tag, typename T>
struct Strong {
  T value{};
  friend constexpr auto operator<=>(const Strong&, const Strong&) = default;
};

// The place of an accepted change in the order of acceptance: 1, 2, 3 …; 0 means none.
using Seq = Strong<struct SeqTag, std::uint64_t>;
// A ZooKeeper session's id, as `Stat.ephemeralOwner` gives it; 0 means none.
using SessionId = Strong<struct SessionIdTag, std::int64_t>;
// A ZooKeeper transaction id.
using Zxid = Strong<struct ZxidTag, std::int64_t>;
// Milliseconds since 1970-01-01 UTC on the wall clock: for people, never for time-outs.
using WallMs = std::int64_t;

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
  friend bool operator==(const Owner&, const Owner&) = default;
};

enum class Format : std::uint8_t { raw = 1, json = 2, curator = 3, spring = 4, serverset = 5, nerve = 6 };

// A live registration: the newest accepted change of its name.
struct Registration {
  RegistrationId id;
  std::string path;  // absolute znode path, before any chroot is put in front
  Format format = Format::raw;
  std::string data;  // the znode's bytes
  Owner owner;
  Seq seq;
  WallMs accepted_at = 0;
  friend bool operator==(const Registration&, const Registration&) = default;
};

// A znode of ours that must still be deleted: after a deregistration, or an update that moved the path.
// `seq` is the change that asked for it; at most one Removal per seq.
struct Removal {
  Seq seq;
  RegistrationId id;
  std::string path;
  Owner owner;
  WallMs accepted_at = 0;
  friend bool operator==(const Removal&, const Removal&) = default;
};

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

// ---- Changes to the stored state; a Batch of them is written atomically and in order.

struct PutRegistration {
  Registration registration;
};
struct EraseRegistration {  // also erases its Outcome
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

using Change = std::variant<PutRegistration, EraseRegistration, PutRemoval, EraseRemoval, PutOutcome, PutSession>;

struct Batch {
  Seq last_seq;  // the highest seq assigned up to and with this batch; 0: unchanged
  std::vector<Change> changes;
};

// Everything that is on disk.
struct StoredState {
  Seq last_seq;
  std::vector<Registration> registrations;  // in no particular order
  std::vector<Removal> removals;            // by seq
  std::vector<std::pair<RegistrationId, Outcome>> outcomes;
  std::optional<Session> session;
  FormerSessions former;
};

// Encodings. Each encoded value carries its version and a CRC-32C; decode_* refuses (Errc::damaged) what fails the
// checksum or its bounds, and (Errc::newer_format) a later version. A decoder never reads past `bytes` and never
// allocates more than bytes.size().
std::string encode(const Registration& registration);
std::string encode(const Removal& removal);
std::string encode(const Outcome& outcome);
std::string encode(const Session& session);
std::string encode(const FormerSessions& former);
Result<Registration> decode_registration(std::string_view bytes);
Result<Removal> decode_removal(std::string_view bytes);
Result<Outcome> decode_outcome(std::string_view bytes);
Result<Session> decode_session(std::string_view bytes);
Result<FormerSessions> decode_former_sessions(std::string_view bytes);

}  // namespace limpet

template <>
struct std::hash<limpet::RegistrationId> {
  std::size_t operator()(const limpet::RegistrationId& id) const noexcept {
    return std::hash<std::string>()(id.service) * 31 + std::hash<std::string>()(id.instance);
  }
};
