// What znode paths take in one packet of ZooKeeper's protocol.
//
// A server ends a session by one transaction that names every ephemeral znode of it by its full path (CloseSessionTxn),
// and the client library sets all of its watches anew by one packet (SetWatches). Neither is split. A server that meets
// a transaction past its bound (jute.maxbuffer, 1 MiB by default) stops, and so does each that reads it from the log
// (ZOOKEEPER-4306): one host could so stop the ensemble for everybody. Both packets are therefore kept well below that.
// Pure; any thread.
#pragma once

#include <cstdint>
#include <string_view>

namespace limpet::core {

// Around the paths: the transaction's header, its digest and the number of paths. That of SetWatches is smaller.
inline constexpr std::uint64_t kPacketHeadBytes = 48;
// The length that stands before each string.
inline constexpr std::uint64_t kLengthBytes = 4;
// What a session may hold at most, however the agent is configured. One that holds more, from a release of the agent
// that counted less, is brought down by withdrawing the newest registrations.
inline constexpr std::uint64_t kMostPathBytes = 768 * 1024;

// `chroot_bytes`: of what the driver puts before each path.
constexpr std::uint64_t packet_bytes(std::string_view path, std::uint32_t chroot_bytes) {
  return chroot_bytes + path.size() + kLengthBytes;
}

}  // namespace limpet::core
