// Who the agent is to ZooKeeper, and what it lets others do: credentials and access control lists.
//
// Pure functions and plain values; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "storage/error.h"

namespace limpet::zk {

struct AclEntry {
  std::string scheme;            // "world", "digest", "auth", "ip", …
  std::string id;                // may hold colons; empty with "auth"
  std::int32_t permissions = 0;  // bits of org.apache.zookeeper.ZooDefs.Perms
  friend bool operator==(const AclEntry&, const AclEntry&) = default;
};
using Acl = std::vector<AclEntry>;

// Everybody may do everything.
Acl open_acl();
// Whoever made it may do everything, everybody may read.
Acl creator_acl();

// "open", "creator", or entries of scheme:id:permissions separated by commas, such as
// "digest:user:hash=:cdrwa,world:anyone:r". Errc::invalid with a message that names the entry at fault.
Result<Acl> parse_acl(std::string_view text);

// How a client shows itself, and the ACL of every znode that it makes.
struct Access {
  std::string credentials;  // "user:password" for the scheme digest, a secret; empty: none
  Acl acl = open_acl();
  friend bool operator==(const Access&, const Access&) = default;
};

// In a request to ZooKeeper.
std::size_t wire_bytes(const Acl& acl);
// Of any ACL that parse_acl gives: it goes with each of the creates in a transaction.
inline constexpr std::size_t kMaxAclBytes = 8 * 1024;

// In the form that parse_acl takes.
std::string to_string(const Acl& acl);

// True where an entry speaks of the one who creates the znode, which takes credentials: the servers refuse such a list
// from a client that has given none.
bool needs_credentials(const Acl& acl);

}  // namespace limpet::zk
