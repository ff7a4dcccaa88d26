#include "agent/liveness/identity.h"

#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include <cerrno>

namespace limpet::liveness {

Identity identity_of(uid_t uid) {
  constexpr std::size_t kMaxEntry = 1 << 20;
  Identity identity;
  identity.uid = uid;
  passwd entry{};
  passwd* found = nullptr;
  std::vector<char> buffer(1024);
  while (::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) == ERANGE && buffer.size() < kMaxEntry) {
    buffer.resize(buffer.size() * 2);
  }
  if (found != nullptr) {
    identity.gid = found->pw_gid;
    identity.name = found->pw_name;
    identity.home = found->pw_dir;
    int count = 64;
    identity.groups.resize(static_cast<std::size_t>(count));
    if (::getgrouplist(found->pw_name, found->pw_gid, identity.groups.data(), &count) < 0) {
      identity.groups.resize(static_cast<std::size_t>(count));
      if (::getgrouplist(found->pw_name, found->pw_gid, identity.groups.data(), &count) < 0) {
        count = 0;
      }
    }
    identity.groups.resize(static_cast<std::size_t>(count));
  }
  if (identity.groups.empty()) {
    identity.groups.push_back(identity.gid);
  }
  return identity;
}

}  // namespace limpet::liveness
