// Names of users and groups, for people.
#pragma once

#include <sys/types.h>

#include <string>

namespace limpet::cli {

// "uid 1234" and "gid 1234" where the system knows no name.
std::string user_name(uid_t uid);
std::string group_name(gid_t gid);

}  // namespace limpet::cli
