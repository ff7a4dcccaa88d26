#include "agent/cli/accounts.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>

namespace limpet::cli {

std::string user_name(uid_t uid) {
  const passwd* entry = ::getpwuid(uid);
  return entry == nullptr ? fmt::format("uid {}", uid) : std::string(entry->pw_name);
}

std::string group_name(gid_t gid) {
  const group* entry = ::getgrgid(gid);
  return entry == nullptr ? fmt::format("gid {}", gid) : std::string(entry->gr_name);
}

}  // namespace limpet::cli
