#include "agent/liveness/unix_connect.h"

#include <sys/prctl.h>
#include <sys/socket.h>
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

// The effective user and the groups of the calling thread, for as long as this lives. By system calls: the functions
// of the C library change all threads. The real and the saved user stay root, so the way back is open.
class ActingAs {
 public:
  explicit ActingAs(const Identity& identity) {
    const int count = ::getgroups(0, nullptr);
    groups_.resize(count > 0 ? static_cast<std::size_t>(count) : 0);
    if (::getgroups(count, groups_.data()) != count) {
      return;
    }
    // A change of the effective user turns core dumps off, of the whole program.
    dumpable_ = ::prctl(PR_GET_DUMPABLE) == 1;
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
    if (changed_ && dumpable_) {
      ::prctl(PR_SET_DUMPABLE, 1);
    }
  }
  ActingAs(const ActingAs&) = delete;
  ActingAs& operator=(const ActingAs&) = delete;

  bool ok() const { return ok_; }

 private:
  const gid_t own_gid_ = ::getegid();
  std::vector<gid_t> groups_;
  bool dumpable_ = false;
  bool changed_ = false;
  bool ok_ = false;
};

std::string words_of(int error) {
  // What connect(2) says where the other end does not accept, and the socket does not wait.
  return error == EAGAIN ? "its queue of connections is full" : std::generic_category().message(error);
}

}  // namespace

Result<Descriptor> connect_unix_as(std::uint32_t uid, const std::string& path) {
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
  // One at a time: whether core dumps are on is the whole program's.
  static std::mutex one_at_a_time;
  std::unique_lock<std::mutex> lock(one_at_a_time, std::defer_lock);
  std::optional<ActingAs> acting;
  if (identity) {
    lock.lock();
    acting.emplace(*identity);
    if (!acting->ok()) {
      return Status(Errc::permission, "the agent may not act as uid " + std::to_string(uid));
    }
  }
  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket || ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return Status(is_want(errno) ? Errc::full : Errc::io, words_of(errno));
  }
  return socket;
}

}  // namespace limpet::liveness
