// The encoding of a Parent.
#include <utility>

#include "storage/frame.h"
#include "storage/parent.h"

namespace limpet {

namespace {

using frame::finish;
using frame::kFixedSize;
using frame::Kind;
using frame::Reader;
using frame::Writer;

// Tags are for ever, see record.cc.
namespace tag {
enum : std::uint8_t { path = 1, service, uid, czxid, created_at, used_at, kLast = used_at };
}

}  // namespace

std::string encode(const Parent& parent, std::string room) {
  return Writer(Kind::parent, kFixedSize + parent.path.size() + parent.service.size(), std::move(room))
      .bytes(tag::path, parent.path)
      .bytes(tag::service, parent.service)
      .u32(tag::uid, parent.uid)
      .u64(tag::czxid, static_cast<std::uint64_t>(parent.czxid.value))
      .u64(tag::created_at, static_cast<std::uint64_t>(parent.created_at))
      .u64(tag::used_at, static_cast<std::uint64_t>(parent.used_at))
      .finish();
}

Result<Parent> decode_parent(std::string_view bytes) {
  Reader reader(bytes, Kind::parent, tag::kLast);
  Parent parent;
  reader.string(tag::path, parent.path);
  reader.string(tag::service, parent.service);
  reader.u32(tag::uid, parent.uid);
  reader.i64(tag::czxid, parent.czxid.value);
  reader.i64(tag::created_at, parent.created_at);
  reader.i64(tag::used_at, parent.used_at);
  return finish(reader, std::move(parent));
}

}  // namespace limpet
