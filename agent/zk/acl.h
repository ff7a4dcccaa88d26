// Who the agent is to ZooKeeper, and what it lets others do: credentials and access control lists.
//
// Pure functions and plain values; any thread.
#pragma once

#include <cstdint>
#include <optional>
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

// `acl`, and create and read for everybody: other clients can register below such a parent, whoever made it.
Acl shared_acl(Acl acl);

// "open", "creator", or entries of scheme:id:permissions separated by commas, such as
// "digest:user:hash=:cdrwa,world:anyone:r". Errc::invalid with a message that names the entry at fault.
Result<Acl> parse_acl(std::string_view text);

// How a client shows itself, and how the znodes are that it creates.
struct Access {
  std::string credentials;                        // "user:password" for the scheme digest, a secret; empty: none
  Acl acl = open_acl();                           // of registrations
  std::optional<Acl> parents_acl = std::nullopt;  // of parents and of the chroot; absent: shared_acl(acl)
  bool container_parents = false;                 // parents are containers, which the servers sweep once empty
  Acl acl_of_parents() const { return parents_acl ? *parents_acl : shared_acl(acl); }
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
