// The numbers that records are told apart by, each of a type of its own.
#pragma once

#include <compare>
#include <cstdint>

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

}  // namespace limpet
