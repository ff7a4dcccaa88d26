#include "agent/api/peer.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>

#include "agent/liveness/text.h"

namespace limpet::api {

std::optional<core::Caller> identify_peer(int fd) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return std::nullopt;
  }
  core::Caller caller;
  caller.owner.uid = credentials.uid;
  caller.owner.pid = credentials.pid;
  caller.privileged = credentials.uid == 0 || credentials.uid == ::geteuid();
  return caller;
}

void read_peer_groups(int fd, core::Caller& caller) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return;
  }
  std::vector<gid_t> groups(32);
  size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
  int result = ::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size);
  if (result != 0 && errno == ERANGE) {  // `size` now says how much it takes
    groups.resize(size / sizeof(gid_t));
    result = ::getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size);
  }
  groups.resize(result == 0 ? size / sizeof(gid_t) : 0);
  caller.groups.assign(1, credentials.gid);
  caller.groups.insert(caller.groups.end(), groups.begin(), groups.end());
}

void read_program(core::Caller& caller) {
  caller.program.clear();
  const std::string path = "/proc/" + std::to_string(caller.owner.pid) + "/comm";
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return;
  }
  std::array<char, 64> buffer{};
  const ssize_t bytes = ::read(fd, buffer.data(), buffer.size());
  ::close(fd);
  constexpr std::size_t kMaxName = 60;  // 15 bytes, each of them escaped
  caller.program =
      liveness::printable({buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(bytes, 0))}, kMaxName);
}

}  // namespace limpet::api
