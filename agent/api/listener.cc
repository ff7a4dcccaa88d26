#include "agent/api/listener.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <optional>
#include <utility>
#include <vector>

namespace limpet::api {
namespace {

constexpr mode_t kSocketMode = 0660;
constexpr mode_t kDirectoryMask = 0022;
constexpr int kBacklog = 1024;

Errc errc_of(int error) {
  switch (error) {
    case EACCES:
    case EPERM:
    case EROFS:
      return Errc::permission;
    case ENOSPC:
    case EDQUOT:
      return Errc::full;
    default:  // hundreds of them, all the same to us
      return Errc::io;
  }
}

Status failure(const std::string& what, int error) {
  return Status(errc_of(error), what + ": " + std::strerror(error));
}

// The process's file mode mask, for the time of a scope: of all threads, so what they make must not rely on it.
class ScopedMask {
 public:
  explicit ScopedMask(mode_t mask) : before_(::umask(mask)) {}
  ~ScopedMask() { ::umask(before_); }
  ScopedMask(const ScopedMask&) = delete;
  ScopedMask& operator=(const ScopedMask&) = delete;

 private:
  const mode_t before_;
};

Result<sockaddr_un> to_address(const std::string& path) {
  sockaddr_un address{};
  if (path.empty() || path.find('\0') != std::string::npos) {
    return Status(Errc::invalid, "the path of the socket is empty or holds a NUL");
  }
  if (path.size() >= sizeof address.sun_path) {
    return Status(Errc::invalid, "the path of the socket has " + std::to_string(path.size()) +
                                     " bytes; a unix socket's may have " + std::to_string(sizeof address.sun_path - 1) +
                                     ": " + path);
  }
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

Status connect_to(const sockaddr_un& address, int& error) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) {
    return failure("cannot make a socket", errno);
  }
  error = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
  ::close(fd);
  return Status();
}

// Makes sure that nothing is at `path`, or says who is in the way.
Status clear_path(const std::string& path, const sockaddr_un& address) {
  struct stat found {};
  if (::lstat(path.c_str(), &found) != 0) {
    return errno == ENOENT ? Status() : failure("cannot look at " + path, errno);
  }
  if (!S_ISSOCK(found.st_mode)) {
    const char* const kind = S_ISDIR(found.st_mode)   ? "a directory"
                             : S_ISLNK(found.st_mode) ? "a symbolic link"
                                                      : "a file that is not a socket";
    return Status(Errc::invalid, path + " is " + kind + "; remove it or choose another path for the socket");
  }
  int error = 0;
  if (Status status = connect_to(address, error); !status) {
    return status;
  }
  switch (error) {
    case ECONNREFUSED:
      break;
    case ENOENT:
      return Status();  // its owner just removed it
    case 0:
    case EAGAIN:
    case EPROTOTYPE:
      return Status(Errc::in_use, "another process listens on " + path);
    default:  // above all EACCES: a socket that we may not try is not ours to replace
      return failure("cannot tell whether another process listens on " + path, error);
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return failure("cannot remove the socket that a dead process left at " + path, errno);
  }
  return Status();
}

// Whoever owns the directory, or may write to it, may put a socket of his own in the place of ours. In one with the
// sticky bit, as /tmp is, only its owner can touch another's files. The agent's own group is no exception: those who
// may register are in it.
Status check_directory(const std::string& directory) {
  struct stat found {};
  if (::stat(directory.c_str(), &found) != 0) {
    return failure("cannot look at the directory " + directory, errno);
  }
  const std::string replaced = ", who could put another socket in its place; ";
  if (found.st_uid != 0 && found.st_uid != ::geteuid()) {
    return Status(Errc::permission, "the directory of the socket, " + directory + ", belongs to uid " +
                                        std::to_string(found.st_uid) + replaced + "chown it to root or to uid " +
                                        std::to_string(::geteuid()) + ", or choose another path for the socket");
  }
  const bool others = (found.st_mode & S_IWOTH) != 0;
  const bool group = (found.st_mode & S_IWGRP) != 0 && found.st_gid != 0;
  if ((found.st_mode & S_ISVTX) != 0 || (!others && !group)) {
    return Status();
  }
  return Status(Errc::permission, "the directory of the socket, " + directory + ", can be written to by " +
                                      (others ? "everybody" : "the group " + std::to_string(found.st_gid)) + replaced +
                                      "chmod go-w " + directory + ", or choose another path for the socket");
}

std::optional<gid_t> find_group(const std::string& name) {
  constexpr std::size_t kMaxBytes = 1 << 20;
  std::vector<char> buffer(4096);
  while (!name.empty()) {
    group entry{};
    group* found = nullptr;
    const int error = ::getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found);
    if (error == ERANGE && buffer.size() < kMaxBytes) {
      buffer.resize(buffer.size() * 4);
      continue;
    }
    return error == 0 && found != nullptr ? std::optional(entry.gr_gid) : std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

Result<Listener> Listener::open(const std::string& path, const std::string& group) {
  auto address = to_address(path);
  if (!address) {
    return address.status();
  }
  const auto directory = std::filesystem::path(path).parent_path();
  if (!directory.empty()) {
    const ScopedMask mask(kDirectoryMask);
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    if (error) {
      return failure("cannot make the directory " + directory.string(), error.value());
    }
  }
  if (Status status = check_directory(directory.empty() ? "." : directory.string()); !status) {
    return status;
  }
  if (Status status = clear_path(path, *address); !status) {
    return status;
  }
  Listener listener;
  if (Status status = listener.bind_and_listen(path, group); !status) {
    return status;
  }
  return listener;
}

Status Listener::bind_and_listen(const std::string& path, const std::string& group) {
  fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd_ < 0) {
    return failure("cannot make a socket", errno);
  }
  const auto address = to_address(path);
  {
    const ScopedMask mask(static_cast<mode_t>(~kSocketMode & 0777));
    if (::bind(fd_, reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0) {
      return errno == EADDRINUSE ? Status(Errc::in_use, "another process just took " + path)
                                 : failure("cannot make the socket " + path, errno);
    }
  }
  struct stat made {};
  if (::lstat(path.c_str(), &made) != 0) {
    return failure("cannot look at the socket just made, " + path, errno);
  }
  std::error_code ignored;
  const auto absolute = std::filesystem::absolute(path, ignored);
  path_ = ignored ? path : absolute.string();
  device_ = made.st_dev;
  inode_ = made.st_ino;
  removes_ = true;
  // Nobody can connect before listen(), so the group is there before the first caller. A process that is neither root
  // nor in the group cannot give the file to it: then it stays with the process's own group.
  if (const auto gid = find_group(group);
      gid && ::lchown(path.c_str(), static_cast<uid_t>(-1), *gid) != 0 && errno != EPERM) {
    return failure("cannot give " + path + " to group " + group, errno);
  }
  if (::listen(fd_, kBacklog) != 0) {
    return failure("cannot listen on " + path, errno);
  }
  return Status();
}

Result<Listener> Listener::adopt(int fd) {
  int listening = 0;
  int domain = 0;
  int type = 0;
  const auto option = [fd](int name, int& value) {
    socklen_t size = sizeof value;
    return ::getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0;
  };
  if (!option(SO_DOMAIN, domain) || !option(SO_TYPE, type) || !option(SO_ACCEPTCONN, listening) || domain != AF_UNIX ||
      type != SOCK_STREAM || listening == 0) {
    return Status(Errc::invalid, "file descriptor " + std::to_string(fd) + " is not a listening unix stream socket");
  }
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 || ::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0) {
    return failure("cannot set up file descriptor " + std::to_string(fd), errno);
  }
  Listener listener;
  listener.fd_ = fd;
  sockaddr_un address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0 && size > offsetof(sockaddr_un, sun_path) &&
      address.sun_path[0] == '/') {
    listener.path_.assign(address.sun_path, ::strnlen(address.sun_path, size - offsetof(sockaddr_un, sun_path)));
    struct stat found {};
    if (::lstat(listener.path_.c_str(), &found) == 0) {
      listener.device_ = found.st_dev;
      listener.inode_ = found.st_ino;
    }
  }
  return listener;
}

bool Listener::in_place() const {
  struct stat found {};
  return path_.empty() || (::lstat(path_.c_str(), &found) == 0 && found.st_dev == device_ && found.st_ino == inode_);
}

Listener::Listener(Listener&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      path_(std::exchange(other.path_, {})),
      removes_(std::exchange(other.removes_, false)),
      device_(other.device_),
      inode_(other.inode_) {}

Listener::~Listener() {
  if (fd_ >= 0) {
    ::close(fd_);
  }
  if (removes_ && in_place()) {
    ::unlink(path_.c_str());
  }
}

}  // namespace limpet::api
