#include "storage/record.h"

#include <algorithm>
#include <utility>

#include "storage/frame.h"
#include "storage/record_lifetime.h"

namespace limpet {

namespace {

using frame::finish;
using frame::kFixedSize;
using frame::Kind;
using frame::Reader;
using frame::Writer;

// Tags are for ever: one that is no longer written is never used for something else. 1 … kLast are understood here.
namespace registration_tag {
enum : std::uint8_t {
  service = 1,
  instance,
  path,
  format,
  data,
  uid,
  pid,
  seq,
  accepted_at,
  // here come the lifetime's
  contained = lifetime_tag::kLast + 1,
  kLast = contained
};
}
namespace removal_tag {
enum : std::uint8_t {
  seq = 1,
  service,
  instance,
  path,
  uid,
  pid,
  accepted_at,
  contained,
  kLast = contained,
  moved = frame::kIgnorable  // without it, the znode goes before the new one comes
};
}
namespace outcome_tag {
enum : std::uint8_t { seq = 1, session, czxid, mzxid, version, registered_at, kLast = registered_at };
}
namespace session_tag {
enum : std::uint8_t { id = 1, password, timeout_ms, host, kLast = host };
}
namespace former_tag {
enum : std::uint8_t { ids = 1, kLast = ids };
}

// Written only where it is so.
void read_contained(Reader& reader, std::uint8_t tag, Owner& owner) {
  std::uint8_t contained = 0;
  reader.optional(tag, tag).u8(tag, contained);
  owner.contained = contained != 0;
}

}  // namespace

Registration remnant_of(const Removal& removal) {
  Registration remnant;
  remnant.id = removal.id;
  remnant.path = removal.path;
  remnant.owner = removal.owner;
  remnant.seq = removal.seq;
  remnant.accepted_at = removal.accepted_at;
  return remnant;
}

std::string encode(const Registration& registration, std::string room) {
  namespace tag = registration_tag;
  const std::size_t strings = registration.id.service.size() + registration.id.instance.size() +
                              registration.path.size() + registration.data.size();
  Writer writer(Kind::registration, kFixedSize + strings, std::move(room));
  writer.bytes(tag::service, registration.id.service)
      .bytes(tag::instance, registration.id.instance)
      .bytes(tag::path, registration.path)
      .u8(tag::format, static_cast<std::uint8_t>(registration.format))
      .bytes(tag::data, registration.data)
      .u32(tag::uid, registration.owner.uid)
      .u32(tag::pid, static_cast<std::uint32_t>(registration.owner.pid))
      .u64(tag::seq, registration.seq.value)
      .u64(tag::accepted_at, static_cast<std::uint64_t>(registration.accepted_at));
  write_lifetime(writer, registration.lifetime);
  if (registration.owner.contained) {
    writer.u8(tag::contained, 1);
  }
  return writer.finish();
}

std::string encode(const Removal& removal, std::string room) {
  namespace tag = removal_tag;
  const std::size_t strings = removal.id.service.size() + removal.id.instance.size() + removal.path.size();
  Writer writer(Kind::removal, kFixedSize + strings, std::move(room));
  writer.u64(tag::seq, removal.seq.value)
      .bytes(tag::service, removal.id.service)
      .bytes(tag::instance, removal.id.instance)
      .bytes(tag::path, removal.path)
      .u32(tag::uid, removal.owner.uid)
      .u32(tag::pid, static_cast<std::uint32_t>(removal.owner.pid))
      .u64(tag::accepted_at, static_cast<std::uint64_t>(removal.accepted_at));
  if (removal.owner.contained) {
    writer.u8(tag::contained, 1);
  }
  return writer.u8_unless_0(tag::moved, removal.moved ? 1 : 0).finish();
}

std::string encode(const Outcome& outcome, std::string room) {
  namespace tag = outcome_tag;
  return Writer(Kind::outcome, kFixedSize, std::move(room))
      .u64(tag::seq, outcome.seq.value)
      .u64(tag::session, static_cast<std::uint64_t>(outcome.session.value))
      .u64(tag::czxid, static_cast<std::uint64_t>(outcome.czxid.value))
      .u64(tag::mzxid, static_cast<std::uint64_t>(outcome.mzxid.value))
      .u32(tag::version, static_cast<std::uint32_t>(outcome.version))
      .u64(tag::registered_at, static_cast<std::uint64_t>(outcome.registered_at))
      .finish();
}

std::string encode(const Session& session, std::string room) {
  namespace tag = session_tag;
  const std::string_view password(reinterpret_cast<const char*>(session.password.data()), session.password.size());
  return Writer(Kind::session, kFixedSize, std::move(room))
      .u64(tag::id, static_cast<std::uint64_t>(session.id.value))
      .bytes(tag::password, password)
      .u32(tag::timeout_ms, static_cast<std::uint32_t>(session.timeout_ms))
      .bytes(tag::host, session.host)
      .finish();
}

std::string encode(const FormerSessions& former, std::string room) {
  std::string ids;
  ids.reserve(former.size() * sizeof(std::uint64_t));
  for (const SessionId id : former) {
    frame::append_big_endian(ids, static_cast<std::uint64_t>(id.value));
  }
  return Writer(Kind::former, kFixedSize + ids.size(), std::move(room)).bytes(former_tag::ids, ids).finish();
}

Result<Registration> decode_registration(std::string_view bytes) {
  namespace tag = registration_tag;
  Reader reader(bytes, Kind::registration, tag::kLast);
  Registration registration;
  reader.string(tag::service, registration.id.service);
  reader.string(tag::instance, registration.id.instance);
  reader.string(tag::path, registration.path);
  reader.choice(tag::format, Format::raw, Format::nerve, "format", registration.format);
  reader.string(tag::data, registration.data);
  reader.u32(tag::uid, registration.owner.uid);
  reader.i32(tag::pid, registration.owner.pid);
  reader.u64(tag::seq, registration.seq.value);
  reader.i64(tag::accepted_at, registration.accepted_at);
  read_lifetime(reader, registration.lifetime);
  read_contained(reader, tag::contained, registration.owner);
  return finish(reader, std::move(registration));
}

Result<Removal> decode_removal(std::string_view bytes) {
  namespace tag = removal_tag;
  Reader reader(bytes, Kind::removal, tag::kLast);
  Removal removal;
  reader.u64(tag::seq, removal.seq.value);
  reader.string(tag::service, removal.id.service);
  reader.string(tag::instance, removal.id.instance);
  reader.string(tag::path, removal.path);
  reader.u32(tag::uid, removal.owner.uid);
  reader.i32(tag::pid, removal.owner.pid);
  reader.i64(tag::accepted_at, removal.accepted_at);
  read_contained(reader, tag::contained, removal.owner);
  removal.moved = reader.hints(tag::moved);
  return finish(reader, std::move(removal));
}

Result<Outcome> decode_outcome(std::string_view bytes) {
  namespace tag = outcome_tag;
  Reader reader(bytes, Kind::outcome, tag::kLast);
  Outcome outcome;
  reader.u64(tag::seq, outcome.seq.value);
  reader.i64(tag::session, outcome.session.value);
  reader.i64(tag::czxid, outcome.czxid.value);
  reader.i64(tag::mzxid, outcome.mzxid.value);
  reader.i32(tag::version, outcome.version);
  reader.i64(tag::registered_at, outcome.registered_at);
  return finish(reader, std::move(outcome));
}

Result<Session> decode_session(std::string_view bytes) {
  namespace tag = session_tag;
  Reader reader(bytes, Kind::session, tag::kLast);
  Session session;
  std::string_view password;
  reader.i64(tag::id, session.id.value);
  reader.bytes(tag::password, password);
  reader.i32(tag::timeout_ms, session.timeout_ms);
  reader.string(tag::host, session.host);
  if (reader.status().ok() && password.size() != session.password.size()) {
    reader.fail(Errc::damaged, "the password has the wrong size");
  }
  if (reader.status().ok()) {
    std::copy(password.begin(), password.end(), session.password.begin());
  }
  return finish(reader, std::move(session));
}

Result<FormerSessions> decode_former_sessions(std::string_view bytes) {
  Reader reader(bytes, Kind::former, former_tag::kLast);
  std::string_view ids;
  reader.bytes(former_tag::ids, ids);
  if (ids.size() % sizeof(std::uint64_t) != 0) {
    reader.fail(Errc::damaged, "the list is cut off");
  }
  FormerSessions former;
  former.reserve(ids.size() / sizeof(std::uint64_t));
  for (; ids.size() >= sizeof(std::uint64_t); ids.remove_prefix(sizeof(std::uint64_t))) {
    former.push_back(
        SessionId{static_cast<std::int64_t>(frame::read_big_endian(ids.substr(0, sizeof(std::uint64_t))))});
  }
  return finish(reader, std::move(former));
}

}  // namespace limpet
