// The part of a Registration's record that says when it ends by itself. Pure; any thread. Used by record.cc alone.
#pragma once

#include <cstdint>

#include "storage/frame.h"
#include "storage/record.h"

namespace limpet {

// These fields of a Registration are there only where they differ from their default, so that a plain one is as it ever
// was. An older limpet that does not know them must not ignore them: the registration would be immortal.
namespace lifetime_tag {
enum : std::uint8_t { ttl_ms = 10, bind, process, checks, expires_ms, kLast = expires_ms };
}

void write_lifetime(frame::Writer& writer, const Lifetime& lifetime);
void read_lifetime(frame::Reader& reader, Lifetime& lifetime);

}  // namespace limpet
