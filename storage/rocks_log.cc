#include "storage/rocks_log.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <system_error>
#include <utility>

#include "storage/log_end.h"

namespace limpet {

namespace {

namespace fs = std::filesystem;

using rocksdb::FSWritableFile;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

// A tenth of a second of writing at full load; measured, what is smaller or larger by a factor of four is as good.
constexpr std::size_t kAhead = 256u << 10;

bool write_zeros(int fd, std::uint64_t at) {
  static std::array<char, kAhead> zeros;  // not const: so it takes no room, neither in the program nor in memory
  return pwrite(fd, zeros.data(), zeros.size(), static_cast<off_t>(at)) == static_cast<ssize_t>(zeros.size());
}

class FilledAhead : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  // `fd` is of the same file, and owned.
  FilledAhead(std::unique_ptr<FSWritableFile> file, int fd, std::uint64_t filled)
      : FSWritableFileOwnerWrapper(std::move(file)), fd_(fd), filled_(filled) {}
  ~FilledAhead() override { stop_filling(); }
  FilledAhead(const FilledAhead&) = delete;
  FilledAhead& operator=(const FilledAhead&) = delete;

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* debug) override {
    fill_behind(data.size());
    return target()->Append(data, options, debug);
  }
  IOStatus Append(const Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo& verification,
                  IODebugContext* debug) override {
    fill_behind(data.size());
    return target()->Append(data, options, verification, debug);
  }

 private:
  // Sees to zeros behind the `size` bytes that are about to be appended.
  void fill_behind(std::size_t size) {
    end_ += size;
    if (fd_ < 0 || end_ <= filled_) {
      return;
    }
    if (write_zeros(fd_, end_)) {
      filled_ = end_ + kAhead;
      return;
    }
    // What little there was room for is for the records.
    (void)!ftruncate(fd_, static_cast<off_t>(filled_));
    stop_filling();
  }

  void stop_filling() {
    if (fd_ >= 0) {
      close(std::exchange(fd_, -1));
    }
  }

  int fd_;
  std::uint64_t end_ = 0;  // nothing was written beyond, also by an append that failed half-way
  std::uint64_t filled_;   // the file's length; while fd_ is open, not below end_
};

// The first `size` bytes of a file.
class FirstPart : public rocksdb::FSSequentialFileOwnerWrapper {
 public:
  FirstPart(std::unique_ptr<rocksdb::FSSequentialFile> file, std::uint64_t size)
      : FSSequentialFileOwnerWrapper(std::move(file)), left_(size) {}

  IOStatus Read(std::size_t n, const IOOptions& options, Slice* result, char* scratch, IODebugContext* debug) override {
    IOStatus status = target()->Read(std::min<std::uint64_t>(n, left_), options, result, scratch, debug);
    left_ -= status.ok() ? result->size() : 0;
    return status;
  }
  IOStatus Skip(std::uint64_t n) override {
    n = std::min(n, left_);
    left_ -= n;
    return target()->Skip(n);
  }

 private:
  std::uint64_t left_;
};

// A log is as large as the write buffer that it belongs to, and a little more.
constexpr off_t kSmallestSpare = 1 << 20;
constexpr off_t kLargestSpare = 32 << 20;

constexpr std::size_t kMostSpares = 3;  // so many RocksDB lets go of at a time, when the history's buffer is written
constexpr std::string_view kSpare = ".spare";

// With less than this free, what spares take is wanted for what is stored.
constexpr std::uint64_t kRoomForSpares = 128u << 20;

bool has_room_for_spares(const fs::path& directory) {
  struct statvfs info {};
  return statvfs(directory.c_str(), &info) == 0 &&
         static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize >= kRoomForSpares;
}

void remove_spares(const fs::path& directory) {
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() == kSpare) {
      unlink(it->path().c_str());
    }
  }
}

// Fills the file with zeros, which are on stable storage then; returns how many, or nothing where it failed. A bit at a
// time: what is appended to another meanwhile must not wait for all of it.
std::optional<std::uint64_t> fill_with_zeros(const std::string& path, std::uint64_t size) {
  const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
  bool filled = fd >= 0;
  std::uint64_t zeros = 0;
  for (; filled && zeros < size; zeros += kAhead) {
    filled = write_zeros(fd, zeros) && fdatasync(fd) == 0;
  }
  if (fd >= 0) {
    close(fd);
  }
  return filled ? std::optional(zeros) : std::nullopt;
}

IOStatus error_of(const std::string& what, int error) {
  return error == ENOSPC || error == EDQUOT ? IOStatus::NoSpace(what, std::strerror(error))
                                            : IOStatus::IOError(what, std::strerror(error));
}

}  // namespace

std::unique_ptr<FSWritableFile> filled_ahead(const std::string& name, std::unique_ptr<FSWritableFile> file,
                                             std::uint64_t zeros) {
  const int fd = open(name.c_str(), O_WRONLY | O_CLOEXEC);
  return std::make_unique<FilledAhead>(std::move(file), fd, zeros);
}

bool SpareLogs::keep(const std::string& name) {
  const fs::path log = name;
  struct stat file {};
  if (stat(name.c_str(), &file) != 0 || file.st_size < kSmallestSpare || file.st_size > kLargestSpare) {
    return false;
  }
  if (!has_room_for_spares(log.parent_path())) {
    let_go(log.parent_path());
    return false;
  }
  const std::string spare = fs::path(log).replace_extension(kSpare);
  {
    const std::lock_guard lock(mutex_);
    Directory& directory = directories_[log.parent_path()];
    if (directory.ready.size() + directory.being_filled >= kMostSpares) {
      return false;
    }
    // Another database may have taken the place of the one whose spares these were, and number its logs from the start.
    std::erase_if(directory.ready, [&spare](const Spare& ready) { return ready.path == spare; });
    ++directory.being_filled;
  }
  const bool kept = rename(name.c_str(), spare.c_str()) == 0;
  const std::optional<std::uint64_t> zeros =
      kept ? fill_with_zeros(spare, static_cast<std::uint64_t>(file.st_size)) : std::nullopt;
  const std::lock_guard lock(mutex_);
  Directory& directory = directories_[log.parent_path()];
  --directory.being_filled;
  if (zeros) {
    directory.ready.push_back({spare, *zeros});
  } else if (kept) {
    unlink(spare.c_str());
  }
  return kept;
}

void SpareLogs::let_go(const std::string& directory) {
  const std::lock_guard lock(mutex_);
  for (const Spare& spare : std::exchange(directories_[directory].ready, {})) {
    unlink(spare.path.c_str());
  }
}

std::optional<SpareLogs::Spare> SpareLogs::take(const std::string& name) {
  const fs::path log = name;
  const std::lock_guard lock(mutex_);
  Directory& directory = directories_[log.parent_path()];
  std::vector<Spare>& ready = directory.ready;
  if (!std::exchange(directory.looked_at, true)) {
    remove_spares(log.parent_path());  // of an earlier process: nobody knows what is in them
  }
  if (ready.empty()) {
    return std::nullopt;
  }
  const Spare spare = ready.back();
  ready.pop_back();
  return spare;
}

IOStatus sync_earlier_logs(const std::string& name) {
  std::error_code error;
  for (fs::directory_iterator it(fs::path(name).parent_path(), error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() != ".log") {
      continue;
    }
    const int fd = open(it->path().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
      continue;  // no longer needed
    }
    const int failed = fd < 0 || fdatasync(fd) != 0 ? errno : 0;
    if (fd >= 0) {
      close(fd);
    }
    if (failed != 0) {
      return error_of("cannot sync " + it->path().string(), failed);
    }
  }
  return error ? error_of("cannot list the logs beside " + name, error.value()) : IOStatus::OK();
}

IOStatus open_written_part(rocksdb::FileSystem& files, const std::string& name, const rocksdb::FileOptions& options,
                           std::unique_ptr<rocksdb::FSSequentialFile>* file, IODebugContext* debug) {
  const auto key = LogKey::read(fs::path(name).parent_path());
  if (!key.ok()) {
    return IOStatus::IOError(key.status().message());
  }
  std::unique_ptr<rocksdb::FSSequentialFile> reader;
  IOStatus status = files.NewSequentialFile(name, options, &reader, debug);
  LogEnd seeker(*key);
  std::string block(LogEnd::kBlock, '\0');
  for (Slice read = block; status.ok() && read.size() == LogEnd::kBlock;) {
    status = reader->Read(LogEnd::kBlock, options.io_options, &read, block.data(), debug);
    if (status.ok()) {
      seeker.add({read.data(), read.size()});
    }
  }
  const std::optional<std::uint64_t> end = seeker.end();
  if (status.ok() && !end) {
    status = IOStatus::Corruption(seeker.lacks_key()
                                      ? std::string("a record is torn, and without the file ") + LogKey::kFile +
                                            " beside it nobody can tell whether that is damage"
                                      : "a record is broken in front of others that were written after it was synced",
                                  name);
  }
  if (status.ok()) {
    status = files.NewSequentialFile(name, options, file, debug);
  }
  if (status.ok()) {
    *file = std::make_unique<FirstPart>(std::move(*file), *end);
  }
  return status;
}

}  // namespace limpet
