// A znode above registrations that this agent created. Plain value; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "storage/error.h"
#include "storage/numbers.h"

namespace limpet {

// Written without a sync of its own: a power cut may lose it, and the agent then takes the znode for somebody else's.
struct Parent {
  std::string path;     // as a registration's
  std::string service;  // of the registration that it was created for
  std::uint32_t uid = 0;
  Zxid czxid;  // of its creation: a znode with another one is not ours; 0: not known
  WallMs created_at = 0;
  WallMs used_at = 0;  // when this agent last had a registration below it that ended; no earlier than created_at
  friend bool operator==(const Parent&, const Parent&) = default;
};

std::string encode(const Parent& parent, std::string room = {});
Result<Parent> decode_parent(std::string_view bytes);

}  // namespace limpet
