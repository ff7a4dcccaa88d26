// The encodings of what stands beside the registrations: holds, and the entries of the history.
#include <utility>

#include "storage/frame.h"
#include "storage/record.h"

namespace limpet {

namespace {

using frame::finish;
using frame::kFixedSize;
using frame::Kind;
using frame::Reader;
using frame::Writer;

// Tags are for ever, see record.cc.
namespace hold_tag {  // service and instance are there only where it is not about the whole host
enum : std::uint8_t { cause = 1, message, uid, pid, seq, since, service, instance, kLast = instance };
}
namespace event_tag {  // all but the first three only where there is something to say
enum : std::uint8_t {
  event = 1,
  what,
  time,
  seq,
  last_seq,  // absent: as seq
  service,
  instance,
  why,
  uid,  // uid and pid: where it is known who
  pid,
  program,
  zxid,
  kLast = zxid
};
}

// ---- RegistrationId and Owner, where they may be absent

std::size_t size_of(const std::optional<RegistrationId>& id) {
  return id ? id->service.size() + id->instance.size() : 0;
}

void write_id(Writer& writer, std::uint8_t service_tag, std::uint8_t instance_tag,
              const std::optional<RegistrationId>& id) {
  if (id) {
    writer.bytes(service_tag, id->service).bytes(instance_tag, id->instance);
  }
}

void read_id(Reader& reader, std::uint8_t service_tag, std::uint8_t instance_tag,
             std::optional<RegistrationId>& target) {
  if (reader.has(service_tag) != reader.has(instance_tag)) {
    return reader.fail(Errc::damaged, "half of a name is missing");
  }
  if (reader.has(service_tag)) {
    target.emplace();
    reader.string(service_tag, target->service);
    reader.string(instance_tag, target->instance);
  }
}

}  // namespace

std::string encode(const Hold& hold, std::string room) {
  namespace tag = hold_tag;
  Writer writer(Kind::hold, kFixedSize + hold.message.size() + size_of(hold.id), std::move(room));
  writer.u8(tag::cause, static_cast<std::uint8_t>(hold.cause))
      .bytes(tag::message, hold.message)
      .u32(tag::uid, hold.owner.uid)
      .u32(tag::pid, static_cast<std::uint32_t>(hold.owner.pid))
      .u64(tag::seq, hold.seq.value)
      .u64(tag::since, static_cast<std::uint64_t>(hold.since));
  write_id(writer, tag::service, tag::instance, hold.id);
  return writer.finish();
}

std::string encode(const HistoryEntry& entry, std::string room) {
  namespace tag = event_tag;
  Writer writer(Kind::event, kFixedSize + entry.why.size() + size_of(entry.id), std::move(room));
  writer.u64(tag::event, entry.event)
      .u8(tag::what, static_cast<std::uint8_t>(entry.what))
      .u64(tag::time, static_cast<std::uint64_t>(entry.time))
      .u64_unless_0(tag::seq, entry.seq.value);
  if (entry.last_seq != entry.seq) {
    writer.u64(tag::last_seq, entry.last_seq.value);
  }
  write_id(writer, tag::service, tag::instance, entry.id);
  writer.bytes_unless_empty(tag::why, entry.why);
  if (entry.who) {
    writer.u32(tag::uid, entry.who->owner.uid)
        .u32(tag::pid, static_cast<std::uint32_t>(entry.who->owner.pid))
        .bytes_unless_empty(tag::program, entry.who->program);
  }
  return writer.u64_unless_0(tag::zxid, static_cast<std::uint64_t>(entry.zxid.value)).finish();
}

Result<Hold> decode_hold(std::string_view bytes) {
  namespace tag = hold_tag;
  Reader reader(bytes, Kind::hold, tag::kLast);
  reader.optional(tag::service, tag::instance);
  Hold hold;
  reader.choice(tag::cause, HoldCause::maintenance, HoldCause::check, "cause of a hold", hold.cause);
  reader.string(tag::message, hold.message);
  reader.u32(tag::uid, hold.owner.uid);
  reader.i32(tag::pid, hold.owner.pid);
  reader.u64(tag::seq, hold.seq.value);
  reader.i64(tag::since, hold.since);
  read_id(reader, tag::service, tag::instance, hold.id);
  return finish(reader, std::move(hold));
}

Result<HistoryEntry> decode_history_entry(std::string_view bytes) {
  namespace tag = event_tag;
  Reader reader(bytes, Kind::event, tag::kLast);
  reader.optional(tag::seq, tag::kLast);
  HistoryEntry entry;
  reader.u64(tag::event, entry.event);
  reader.choice(tag::what, Happening::accepted, Happening::pruned, "happening", entry.what);
  reader.i64(tag::time, entry.time);
  reader.u64(tag::seq, entry.seq.value);
  entry.last_seq = entry.seq;
  reader.u64(tag::last_seq, entry.last_seq.value);
  read_id(reader, tag::service, tag::instance, entry.id);
  reader.string(tag::why, entry.why);
  if (reader.has(tag::uid) != reader.has(tag::pid) || reader.has(tag::program) > reader.has(tag::uid)) {
    reader.fail(Errc::damaged, "it is said only in part who did it");
  }
  if (reader.has(tag::uid)) {
    entry.who.emplace();
    reader.u32(tag::uid, entry.who->owner.uid);
    reader.i32(tag::pid, entry.who->owner.pid);
    reader.string(tag::program, entry.who->program);
  }
  reader.i64(tag::zxid, entry.zxid.value);
  return finish(reader, std::move(entry));
}

}  // namespace limpet
