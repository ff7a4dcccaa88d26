#include "agent/liveness/unix_connect.h"

#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <optional>
#include <system_error>
#include <vector>

#include "agent/liveness/identity.h"
#include "agent/liveness/want.h"

namespace limpet::liveness {
namespace {

constexpr long kKeep = -1;

// A change of the effective user turns core dumps off, for the whole program: they are on again when no thread acts as
// somebody else.
class CoreDumps {
 public:
  static void hold() {
    const std::lock_guard lock(mutex_);
    if (holders_++ == 0) {
      dumpable_ = ::prctl(PR_GET_DUMPABLE) == 1;
    }
  }
  static void let_go() {
    const std::lock_guard lock(mutex_);
    if (--holders_ == 0 && dumpable_) {
      ::prctl(PR_SET_DUMPABLE, 1);
    }
  }

 private:
  static inline std::mutex mutex_;
  static inline int holders_ = 0;
  static inline bool dumpable_ = false;
};

// The effective user and the groups of the calling thread, for as long as this lives. By system calls: the functions
// of the C library change all threads. The real and the saved user stay root, so the way back is open.
class ActingAs {
 public:
  explicit ActingAs(const Identity& identity) {
    CoreDumps::hold();
    const int count = ::getgroups(0, nullptr);
    groups_.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
    if (::getgroups(count, groups_.data()) != count) {
      return;
    }
    changed_ = ::syscall(SYS_setgroups, identity.groups.size(), identity.groups.data()) == 0;
    ok_ = changed_ && ::syscall(SYS_setresgid, kKeep, identity.gid, kKeep) == 0 &&
          ::syscall(SYS_setresuid, kKeep, identity.uid, kKeep) == 0;
  }
  ~ActingAs() {
    if (changed_ &&
        (::syscall(SYS_setresuid, kKeep, 0, kKeep) != 0 || ::syscall(SYS_setresgid, kKeep, own_gid_, kKeep) != 0 ||
         ::syscall(SYS_setgroups, groups_.size(), groups_.data()) != 0)) {
      std::abort();  // a thread with a stranger's rights must not go on
    }
    CoreDumps::let_go();
  }
  ActingAs(const ActingAs&) = delete;
  ActingAs& operator=(const ActingAs&) = delete;

  bool ok() const { return ok_; }

 private:
  const gid_t own_gid_ = ::getegid();
  std::vector<gid_t> groups_;
  bool changed_ = false;
  bool ok_ = false;
};

// Whether `path` leads to the very file of the agent's own socket, by whatever name.
bool same_file(const std::string& path, const std::string& own) {
  struct stat theirs {};
  struct stat ours {};
  return ::stat(path.c_str(), &theirs) == 0 && ::stat(own.c_str(), &ours) == 0 && theirs.st_dev == ours.st_dev &&
         theirs.st_ino == ours.st_ino;
}

// Whether the other end is the agent itself: the name under which the socket was bound is the listener's, whoever made
// the directory entry that led there.
bool bound_to(int socket, const std::string& own) {
  sockaddr_un address{};
  socklen_t size = sizeof address;
  if (::getpeername(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return false;
  }
  return own == std::string(address.sun_path, ::strnlen(address.sun_path, sizeof address.sun_path));
}

std::string words_of(int error) {
  // What connect(2) says where the other end does not accept, and the socket does not wait.
  return error == EAGAIN ? "its queue of connections is full" : std::generic_category().message(error);
}

}  // namespace

Result<Descriptor> connect_unix_as(std::uint32_t uid, const std::string& path, const std::string& own_socket) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return Status(Errc::invalid, words_of(ENAMETOOLONG));
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  std::optional<Identity> identity;
  if (::geteuid() == 0 && uid != 0) {
    identity = identity_of(uid);
  }
  const Status own(Errc::permission, "that is the agent's own socket");
  std::optional<ActingAs> acting;
  if (identity) {
    acting.emplace(*identity);
    if (!acting->ok()) {
      return Status(Errc::permission, "the agent may not act as uid " + std::to_string(uid));
    }
  }
  if (same_file(path, own_socket)) {
    return own;
  }
  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket || ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return Status(is_want(errno) ? Errc::full : Errc::io, words_of(errno));
  }
  if (bound_to(socket.get(), own_socket)) {
    return own;
  }
  return socket;
}

}  // namespace limpet::liveness
