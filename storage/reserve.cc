#include "storage/reserve.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace limpet {

namespace {

// A part of a small disk only: it is there for the data.
constexpr std::uint64_t kPartOfDisk = 4;

std::uint64_t bytes_to_keep(const std::string& file) {
  struct statvfs info {};
  if (statvfs(file.substr(0, file.rfind('/')).c_str(), &info) != 0 || info.f_blocks == 0) {
    return Reserve::kMaxBytes;
  }
  const std::uint64_t capacity = static_cast<std::uint64_t>(info.f_blocks) * info.f_frsize;
  return std::min(Reserve::kMaxBytes, capacity / kPartOfDisk);
}

}  // namespace

bool Reserve::whole(std::uint64_t bytes) const {
  struct stat info {};
  return lstat(file_.c_str(), &info) == 0 && S_ISREG(info.st_mode) &&
         static_cast<std::uint64_t>(info.st_blocks) * 512 >= bytes;
}

// 0, or the error. Room for the margin must be there as well, but is not kept. Asking the file system for all of it,
// rather than how much is free, also minds quotas.
int Reserve::allocate(std::uint64_t bytes) const {
  const int fd = open(file_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) {
    return errno;
  }
  const auto margin = static_cast<off_t>(bytes / 2);
  int error = 0;
  do {
    error = fallocate(fd, 0, 0, static_cast<off_t>(bytes) + margin) == 0 ? 0 : errno;
  } while (error == EINTR);
  if (error == 0 && ftruncate(fd, static_cast<off_t>(bytes)) != 0) {
    error = errno;
  }
  close(fd);
  if (error != 0) {
    (void)unlink(file_.c_str());
  }
  return error;
}

void Reserve::regain() {
  const std::uint64_t bytes = bytes_to_keep(file_);
  const int error = whole(bytes) ? 0 : allocate(bytes);
  low_.store(error == ENOSPC || error == EDQUOT, std::memory_order_relaxed);
}

void Reserve::give_up() {
  (void)unlink(file_.c_str());
  low_.store(true, std::memory_order_relaxed);
}

}  // namespace limpet
