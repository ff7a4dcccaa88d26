#include "tests/crash/small_disk.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>

namespace limpet::test {

namespace {

// Once per process: a mount namespace, so that nothing of this is seen outside. Empty, or why there is none.
std::string enter_namespace() {
  const uid_t uid = ::geteuid();
  const gid_t gid = ::getegid();
  if (uid == 0) {
    if (::unshare(CLONE_NEWNS) != 0) {
      return std::string("no mount namespace: ") + std::strerror(errno);
    }
  } else {
    if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
      return std::string("no user namespace: ") + std::strerror(errno);
    }
    std::ofstream("/proc/self/setgroups") << "deny";
    std::ofstream("/proc/self/uid_map") << "0 " << uid << " 1";
    std::ofstream("/proc/self/gid_map") << "0 " << gid << " 1";
  }
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return std::string("the mounts cannot be made private: ") + std::strerror(errno);
  }
  return "";
}

}  // namespace

SmallDisk::SmallDisk(std::uint64_t bytes) {
  static const std::string no_namespace = enter_namespace();
  why_not_ = no_namespace;
  char name[] = "/tmp/limpet-disk-XXXXXX";
  if (::mkdtemp(name) == nullptr) {
    std::abort();
  }
  path_ = name;
  const std::string options = "mode=0700,size=" + std::to_string(bytes);
  if (why_not_.empty() && ::mount("limpet", path_.c_str(), "tmpfs", 0, options.c_str()) != 0) {
    why_not_ = std::string("no tmpfs: ") + std::strerror(errno);
  }
}

SmallDisk::~SmallDisk() {
  if (why_not_.empty()) {
    ::umount2(path_.c_str(), MNT_DETACH);
  }
  ::rmdir(path_.c_str());
}

void SmallDisk::fill(std::uint64_t but) {
  struct statvfs info {};
  const int fd = ::open(filler().c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  const std::string block(4096, 'x');
  while (::statvfs(path_.c_str(), &info) == 0 && info.f_bavail * info.f_frsize >= but + block.size()) {
    if (::write(fd, block.data(), block.size()) <= 0) {
      break;
    }
  }
  ::close(fd);
}

void SmallDisk::empty() {
  ::unlink(filler().c_str());
}

bool SmallDisk::read_only(bool on) {
  return ::mount("none", path_.c_str(), nullptr, MS_REMOUNT | (on ? MS_RDONLY : 0), nullptr) == 0;
}

}  // namespace limpet::test
