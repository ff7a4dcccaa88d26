#include "storage/log_key.h"

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "storage/frame.h"

namespace limpet {

namespace {

constexpr std::size_t kFileSize = LogKey::kSize + sizeof(std::uint32_t);  // the key and its CRC-32C

std::uint64_t little_endian_word(std::string_view bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) {
    value = value << 8 | static_cast<std::uint8_t>(bytes[i]);
  }
  return value;
}

struct SipState {
  std::uint64_t v0, v1, v2, v3;

  void round() {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  }
  void take(std::uint64_t word) {
    v3 ^= word;
    round();
    round();
    v0 ^= word;
  }
};

Status failure(const char* what, const std::string& path, int error) {
  return Status(error == ENOSPC || error == EDQUOT ? Errc::full : Errc::io,
                std::string("cannot ") + what + " " + path + ": " + std::strerror(error));
}

// Writes `text` to `path`, mode 0600, and syncs it; errno says why not.
bool write_synced(const std::string& path, const std::string& text) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) {
    return false;
  }
  errno = ENOSPC;  // what a short write means
  const bool good = write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && fsync(fd) == 0;
  const int error = errno;
  close(fd);
  errno = error;
  return good;
}

bool directory_synced(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    return false;
  }
  const bool good = fsync(fd) == 0;
  const int error = errno;
  close(fd);
  errno = error;
  return good;
}

}  // namespace

std::uint64_t siphash(std::uint64_t low, std::uint64_t high, std::string_view bytes) {
  SipState state{0x736f6d6570736575 ^ low, 0x646f72616e646f6d ^ high, 0x6c7967656e657261 ^ low,
                 0x7465646279746573 ^ high};
  std::uint64_t last = static_cast<std::uint64_t>(bytes.size()) << 56;
  while (bytes.size() >= sizeof last) {
    state.take(little_endian_word(bytes.substr(0, sizeof last)));
    bytes.remove_prefix(sizeof last);
  }
  last |= little_endian_word(bytes);
  state.take(last);
  state.v2 ^= 0xff;
  for (int i = 0; i < 4; ++i) {
    state.round();
  }
  return state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
}

LogKey::LogKey(std::string_view bytes)
    : low_(little_endian_word(bytes.substr(0, kSize / 2))), high_(little_endian_word(bytes.substr(kSize / 2))) {
  assert(bytes.size() == kSize);
}

Result<std::optional<LogKey>> LogKey::read(const std::string& directory) {
  const std::string path = directory + "/" + kFile;
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) {
    return errno == ENOENT ? Result(std::optional<LogKey>()) : failure("read", path, errno);
  }
  std::array<char, kFileSize + 1> bytes;
  const ssize_t size = ::read(fd, bytes.data(), bytes.size());
  const int error = errno;
  close(fd);
  if (size < 0) {
    return failure("read", path, error);
  }
  const std::string_view text(bytes.data(), static_cast<std::size_t>(size));
  if (text.size() != kFileSize || frame::read_big_endian(text.substr(kSize)) != frame::crc32c(text.substr(0, kSize))) {
    return std::optional<LogKey>();
  }
  return std::optional(LogKey(text.substr(0, kSize)));
}

Result<LogKey> LogKey::make(const std::string& directory) {
  const std::string path = directory + "/" + kFile;
  std::string text(kSize, '\0');
  if (getrandom(text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    return failure("draw random bytes for", path, errno);
  }
  const LogKey key(text);
  frame::append_big_endian(text, frame::crc32c(text));
  if (!write_synced(path, text)) {
    return failure("write", path, errno);
  }
  if (!directory_synced(directory)) {
    return failure("sync", directory, errno);
  }
  return key;
}

std::string LogKey::mark(std::uint64_t number) const {
  std::string mark;
  frame::append_big_endian(mark, number);
  frame::append_big_endian(mark, siphash(low_, high_, mark));
  return mark;
}

bool LogKey::is_mark(std::string_view bytes) const {
  constexpr std::size_t kNumber = sizeof(std::uint64_t);
  return bytes.size() == kMarkSize &&
         frame::read_big_endian(bytes.substr(kNumber)) == siphash(low_, high_, bytes.substr(0, kNumber));
}

}  // namespace limpet
