#include "agent/api/peer.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <sstream>
#include <string>
#include <vector>

#include "agent/liveness/descriptor.h"
#include "agent/liveness/text.h"

namespace limpet::api {
namespace {

#ifndef SO_PEERPIDFD
constexpr int SO_PEERPIDFD = 77;  // socket(7), Linux 6.5
#endif

// The beginning of /proc/PID/FILE; empty where it cannot be read.
std::string read_proc(const std::string& pid, const char* file) {
  const liveness::Descriptor fd(::open(("/proc/" + pid + "/" + file).c_str(), O_RDONLY | O_CLOEXEC));
  std::array<char, 4096> buffer;
  const ssize_t bytes = fd ? ::read(fd.get(), buffer.data(), buffer.size()) : 0;
  return {buffer.data(), static_cast<std::size_t>(std::max<ssize_t>(bytes, 0))};
}

bool same_and_known(const std::string& a, const std::string& b) {
  return !a.empty() && a == b;
}

// By the namespace's inode where the agent may look at it; else by the mapping, which anybody may read.
bool shares_user_namespace(const std::string& pid) {
  std::array<char, 64> theirs{};
  std::array<char, 64> ours{};
  const ssize_t size = ::readlink(("/proc/" + pid + "/ns/user").c_str(), theirs.data(), theirs.size() - 1);
  if (size > 0 && ::readlink("/proc/self/ns/user", ours.data(), ours.size() - 1) == size) {
    return theirs == ours;
  }
  return same_and_known(read_proc(pid, "uid_map"), read_proc("self", "uid_map"));
}

// The numbers of the process in the agent's pid namespace, and in each one below it down to its own.
std::vector<std::int32_t> numbers_of(const std::string& pid) {
  const std::string status = read_proc(pid, "status");
  std::vector<std::int32_t> numbers;
  std::size_t at = status.find("\nNSpid:");
  if (at == std::string::npos) {
    return numbers;
  }
  std::istringstream words(status.substr(at + 7, status.find('\n', at + 1) - at - 7));
  for (std::int32_t number = 0; words >> number;) {
    numbers.push_back(number);
  }
  return numbers;
}

liveness::Descriptor pidfd_of_peer(int fd, std::int32_t pid) {
  int pidfd = -1;
  socklen_t size = sizeof pidfd;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) == 0 || errno != ENOPROTOOPT) {
    return liveness::Descriptor(pidfd);
  }
  return liveness::Descriptor(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
}

}  // namespace

PeerPlace locate_peer(int fd) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0 || credentials.pid <= 0) {
    return {};
  }
  const liveness::Descriptor pidfd = pidfd_of_peer(fd, credentials.pid);
  const std::string pid = std::to_string(credentials.pid);
  const std::vector<std::int32_t> numbers = numbers_of(pid);
  PeerPlace place;
  place.pid = credentials.pid;
  place.own_pid = numbers.empty() ? 0 : numbers.back();
  place.shares_pid_namespace = numbers.size() == 1;
  place.shares_namespaces = place.shares_pid_namespace && shares_user_namespace(pid);
  // What was read is about the process that connected if that one still lives.
  pollfd query{pidfd.get(), POLLIN, 0};
  place.known = pidfd && ::poll(&query, 1, 0) == 0 && !numbers.empty();
  return place.known ? place : PeerPlace{};
}

std::optional<core::Caller> identify_peer(int fd) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    return std::nullopt;
  }
  core::Caller caller;
  caller.owner.uid = credentials.uid;
  caller.owner.pid = credentials.pid;
  if (credentials.uid == 0 || credentials.uid == ::geteuid()) {
    caller.privileged = locate_peer(fd).shares_namespaces;
    caller.owner.contained = !caller.privileged;
  }
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
