#include "storage/state_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string_view>
#include <utility>

#include "storage/frame.h"
#include "storage/reserve.h"

namespace limpet {

namespace {

constexpr char kReplacement[] = "db.new";
constexpr char kFormatFile[] = "FORMAT";
constexpr char kFormatTemporary[] = "FORMAT.new";
constexpr char kDatabase[] = "db";
constexpr std::string_view kMagic = "limpet state\n";
constexpr std::string_view kChecksumKey = "crc32c ";
constexpr std::size_t kMaxFormatSize = 4096;

// A file descriptor that closes itself.
struct Fd {
  explicit Fd(int value) : value(value) {}
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() {
    if (value >= 0) {
      close(value);
    }
  }
  int value;
};

Status system_error(const std::string& what, int error) {
  const std::string message = what + ": " + std::strerror(error);
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return Status(Errc::full, message);
    case EACCES:
    case EPERM:
      return Status(Errc::permission, message);
    default:
      return Status(Errc::io, message);
  }
}

std::string parent_of(const std::string& path) {
  const std::filesystem::path absolute = std::filesystem::path(path).lexically_normal();
  const std::filesystem::path parent = (absolute.has_filename() ? absolute : absolute.parent_path()).parent_path();
  return parent.empty() ? "." : parent.string();
}

Status sync_directory(const std::string& path) {
  const Fd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.value < 0 || fsync(fd.value) != 0) {
    return system_error("cannot sync " + path, errno);
  }
  return {};
}

Status make_directory(const std::string& path) {
  if (mkdir(path.c_str(), 0700) == 0) {
    return sync_directory(parent_of(path));
  }
  if (errno == EEXIST) {
    return {};
  }
  const Status failed = system_error("cannot make the state directory " + path, errno);
  return Status(failed.code(), failed.message() + "; name another, or make it: it must belong to uid " +
                                   std::to_string(geteuid()) + " and be closed to others (mode 0700)");
}

Status write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written < 0 && errno != EINTR) {
      return system_error(std::string("cannot write ") + kFormatTemporary, errno);
    }
    text.remove_prefix(written < 0 ? 0 : static_cast<std::size_t>(written));
  }
  return {};
}

bool is_empty(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_empty(path, error) && !error;
}

// The value of the line `key value` in `text`, or nothing.
std::string_view line_value(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    if (line.size() > key.size() && line.substr(0, key.size()) == key && line[key.size()] == ' ') {
      return line.substr(key.size() + 1);
    }
    text.remove_prefix(std::min(text.size(), line.size() + 1));
  }
  return {};
}

std::string checksum_line(std::string_view text) {
  char digits[9];
  std::snprintf(digits, sizeof(digits), "%08x", frame::crc32c(text));
  return std::string(kChecksumKey) + digits + "\n";
}

std::uint64_t occupied(const std::string& path) {
  std::uint64_t sum = 0;
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(opendir(path.c_str()), closedir);
  if (!directory) {
    return 0;
  }
  while (const dirent* entry = readdir(directory.get())) {
    struct stat info {};
    // A file that is deleted meanwhile no longer counts.
    if (fstatat(dirfd(directory.get()), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(info.st_mode) &&
        std::strcmp(entry->d_name, Reserve::kFile) != 0) {
      sum += static_cast<std::uint64_t>(info.st_blocks) * 512;
    }
  }
  return sum;
}

}  // namespace

StateDir::StateDir(std::string path, int fd) : path_(std::move(path)), db_path_(path_ + "/" + kDatabase), fd_(fd) {}

StateDir::StateDir(StateDir&& other) noexcept
    : path_(std::move(other.path_)),
      db_path_(std::move(other.db_path_)),
      fd_(std::exchange(other.fd_, -1)),
      stage_(other.stage_) {}

StateDir::~StateDir() {
  if (fd_ >= 0) {
    close(fd_);
  }
}

Result<StateDir> StateDir::lock(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    return system_error("cannot open the state directory " + path, errno);
  }
  StateDir dir(path, fd);
  if (Status status = dir.take_lock(); !status.ok()) {
    return status;
  }
  if (Status status = dir.read_format(); !status.ok()) {
    return status;
  }
  return dir;
}

Result<StateDir> StateDir::lock_for_writing(const std::string& path) {
  if (Status status = make_directory(path); !status.ok()) {
    return status;
  }
  Result<StateDir> dir = lock(path);
  if (!dir.ok()) {
    return dir;
  }
  if (Status status = dir->check_private(); !status.ok()) {
    return status;
  }
  return dir;
}

Status StateDir::take_lock() const {
  if (flock(fd_, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) {
      return Status(Errc::in_use, "state directory " + path_ + " is in use by another process");
    }
    return system_error("cannot lock the state directory " + path_, errno);
  }
  return still_there();
}

Status StateDir::still_there() const {
  struct stat locked {};
  struct stat named {};
  if (fstat(fd_, &locked) != 0 || stat(path_.c_str(), &named) != 0) {
    return system_error("cannot look at the state directory " + path_, errno);
  }
  if (locked.st_dev != named.st_dev || locked.st_ino != named.st_ino) {
    return Status(Errc::io, "state directory " + path_ + " was moved away or replaced while it was in use");
  }
  return {};
}

Status StateDir::check_private() const {
  struct stat info {};
  if (fstat(fd_, &info) != 0) {
    return system_error("cannot look at the state directory " + path_, errno);
  }
  if (info.st_uid != geteuid()) {
    return Status(Errc::permission, "state directory " + path_ + " belongs to uid " + std::to_string(info.st_uid) +
                                        ", but this process runs as uid " + std::to_string(geteuid()));
  }
  if ((info.st_mode & 022) != 0) {
    return Status(Errc::permission, "others may write to the state directory " + path_ +
                                        ", so what it holds cannot be trusted; look at it, then: chmod 700 " + path_);
  }
  return (info.st_mode & 077) == 0 ? Status() : make_private();
}

Status StateDir::make_private() const {
  // A directory that is neither limpet's nor empty may be one given by mistake, such as /var/lib: to take that from
  // everybody else would be far worse than not to start.
  if (stage_ == Stage::absent && !is_empty(path_)) {
    return Status(Errc::permission, "state directory " + path_ +
                                        " holds other files and others may read it; give limpet a directory of its "
                                        "own, or, if it is: chmod 700 " +
                                        path_);
  }
  if (fchmod(fd_, 0700) != 0) {
    return system_error("cannot make the state directory " + path_ + " private", errno);
  }
  return {};
}

Status StateDir::read_format() {
  const Fd file(openat(fd_, kFormatFile, O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (file.value < 0) {
    if (errno != ENOENT) {
      return system_error("cannot read " + path_ + "/" + kFormatFile, errno);
    }
    struct stat info {};
    if (fstatat(fd_, kDatabase, &info, AT_SYMLINK_NOFOLLOW) == 0) {
      return damaged(std::string("there is a database, but the file ") + kFormatFile + " is missing");
    }
    stage_ = Stage::absent;
    return {};
  }
  std::string text(kMaxFormatSize + 1, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = read(file.value, text.data() + size, text.size() - size);
    if (got < 0 && errno != EINTR) {
      return system_error("cannot read " + path_ + "/" + kFormatFile, errno);
    }
    if (got == 0) {
      break;
    }
    size += got < 0 ? 0 : static_cast<std::size_t>(got);
  }
  text.resize(size);
  return parse_format(text);
}

Status StateDir::parse_format(const std::string& text) {
  const std::size_t checksum_at = text.rfind(kChecksumKey);
  if (text.size() > kMaxFormatSize || text.compare(0, kMagic.size(), kMagic) != 0 || checksum_at == std::string::npos ||
      checksum_line(text.substr(0, checksum_at)) != text.substr(checksum_at)) {
    return damaged(std::string("the file ") + kFormatFile + " cannot be verified");
  }
  const std::string_view number = line_value(text, "format");
  int format = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), format);
  if (error != std::errc() || end != number.data() + number.size() || format < 1) {
    return damaged(std::string("the file ") + kFormatFile + " names no format");
  }
  if (format > kFormat) {
    return newer_format("format " + std::to_string(format) + ", this one knows " + std::to_string(kFormat));
  }
  const std::string_view stage = line_value(text, "stage");
  if (stage == "creating") {
    stage_ = Stage::creating;
  } else if (stage == "ready") {
    stage_ = Stage::ready;
  } else {
    return damaged(std::string("the file ") + kFormatFile + " names no stage");
  }
  return {};
}

Status StateDir::write_format(const char* stage) const {
  std::string text(kMagic);
  text.append("format ").append(std::to_string(kFormat)).append("\nstage ").append(stage).append("\n");
  text += checksum_line(text);
  {
    const Fd file(openat(fd_, kFormatTemporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (file.value < 0) {
      return system_error("cannot write " + path_ + "/" + kFormatTemporary, errno);
    }
    if (Status status = write_all(file.value, text); !status.ok()) {
      return status;
    }
    if (fsync(file.value) != 0) {
      return system_error("cannot sync " + path_ + "/" + kFormatTemporary, errno);
    }
  }
  if (renameat(fd_, kFormatTemporary, fd_, kFormatFile) != 0 || fsync(fd_) != 0) {
    return system_error("cannot put " + path_ + "/" + kFormatFile + " in place", errno);
  }
  return {};
}

Status StateDir::begin_creation() {
  if (stage_ == Stage::absent) {
    if (Status status = write_format("creating"); !status.ok()) {
      return status;
    }
    stage_ = Stage::creating;
  }
  std::error_code error;
  std::filesystem::remove_all(db_path_, error);
  if (error) {
    return system_error("cannot remove the unfinished " + db_path_, error.value());
  }
  if (mkdirat(fd_, kDatabase, 0700) != 0 || fsync(fd_) != 0) {
    return system_error("cannot make " + db_path_, errno);
  }
  return {};
}

Status StateDir::finish_creation() {
  if (Status status = write_format("ready"); !status.ok()) {
    return status;
  }
  stage_ = Stage::ready;
  return {};
}

Result<std::string> StateDir::begin_replacement() const {
  discard_replacement();
  if (mkdirat(fd_, kReplacement, 0700) != 0 || fsync(fd_) != 0) {
    return system_error("cannot make " + path_ + "/" + kReplacement, errno);
  }
  return path_ + "/" + kReplacement;
}

Status StateDir::finish_replacement() const {
  if (renameat2(fd_, kReplacement, fd_, kDatabase, RENAME_EXCHANGE) != 0 || fsync(fd_) != 0) {
    return system_error("cannot put " + path_ + "/" + kReplacement + " in the place of " + db_path_, errno);
  }
  discard_replacement();
  return {};
}

void StateDir::discard_replacement() const {
  std::error_code ignored;
  std::filesystem::remove_all(path_ + "/" + kReplacement, ignored);
}

Status StateDir::damaged(const std::string& what) const {
  return Status(
      Errc::damaged,
      "state directory " + path_ + " is damaged: " + what +
          ". Nothing that was in it was changed. What to do: put back a whole copy if there is one; otherwise stop "
          "limpetd, `mv " +
          path_ + " " + path_ +
          ".damaged`, start limpetd (it starts empty) and restart the local programs, so that they "
          "register again");
}

Status StateDir::newer_format(const std::string& what) const {
  return Status(Errc::newer_format, "state directory " + path_ + " was written by a later limpet (" + what +
                                        "). Nothing in it was changed. What to do: install that version again");
}

std::uint64_t StateDir::bytes_on_disk(const std::string& path) {
  return occupied(path) + occupied(path + "/" + kDatabase);
}

}  // namespace limpet
