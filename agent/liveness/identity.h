// Who a uid is: what a process that is to act for it has to become. Asks the system's user database, which may block
// for as long as a directory service does: not on the core thread.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace limpet::liveness {

struct Identity {
  uid_t uid = 0;
  gid_t gid = 65534;          // of a uid that is not in the database: a group that owns nothing
  std::vector<gid_t> groups;  // all of its groups, `gid` among them
  std::string name;           // empty where it is not in the database
  std::string home = "/";
};

Identity identity_of(uid_t uid);

}  // namespace limpet::liveness
