#include "storage/log_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "storage/frame.h"

namespace limpet {

namespace {

using rocksdb::FSWritableFile;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

// RocksDB's log format (its db/log_format.h): blocks, in each records that do not cross its end, and zeros where not
// even a record's head has room. A head is CRC (4, of what follows the length), length (2), type (1), lowest byte
// first.
constexpr std::size_t kBlock = 32768;
constexpr std::size_t kHead = 7;

// What a disk writes wholly or not at all; no disk has smaller ones.
constexpr std::size_t kSector = 512;

// A tenth of a second of writing at full load; measured, what is smaller or larger by a factor of four is as good.
constexpr std::size_t kAhead = 256u << 10;

std::uint32_t read_little_endian(std::string_view bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) {
    value = value << 8 | static_cast<std::uint8_t>(bytes[i]);
  }
  return value;
}

bool all_zero(std::string_view bytes) {
  return bytes.find_first_not_of('\0') == std::string_view::npos;
}

// RocksDB stores a CRC so that the CRC of bytes that hold CRCs is none of the trivial ones (LevelDB's masking).
std::uint32_t masked(std::uint32_t crc) {
  return (crc >> 15 | crc << 17) + 0xa282ead8U;
}

// Whether in [from, to) of `log` there is a stretch, between the borders of sectors, that nothing was written to.
bool torn(std::string_view log, std::size_t from, std::size_t to) {
  while (from < to) {
    const std::size_t end = std::min(to, (from / kSector + 1) * kSector);
    if (all_zero(log.substr(from, end - from))) {
      return true;
    }
    from = end;
  }
  return false;
}

class FilledAhead : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  // `fd` is of the same file, and owned.
  FilledAhead(std::unique_ptr<FSWritableFile> file, int fd) : FSWritableFileOwnerWrapper(std::move(file)), fd_(fd) {}
  ~FilledAhead() override {
    if (fd_ >= 0) {
      close(fd_);
    }
  }
  FilledAhead(const FilledAhead&) = delete;
  FilledAhead& operator=(const FilledAhead&) = delete;

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* debug) override {
    fill_behind(data.size());
    return counted(data.size(), target()->Append(data, options, debug));
  }
  IOStatus Append(const Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo& verification,
                  IODebugContext* debug) override {
    fill_behind(data.size());
    return counted(data.size(), target()->Append(data, options, verification, debug));
  }
  IOStatus Close(const IOOptions& options, IODebugContext* debug) override {
    if (fd_ >= 0 && filled_ > written_) {
      // Should it fail, the zeros stay; whoever reads the log can tell them.
      (void)!ftruncate(fd_, static_cast<off_t>(written_));
      filled_ = written_;
    }
    return target()->Close(options, debug);
  }

 private:
  // Sees to zeros behind the `size` bytes that are about to be appended.
  void fill_behind(std::size_t size) {
    static constexpr std::array<char, kAhead> kZeros{};
    const std::uint64_t end = written_ + size;
    if (fd_ < 0 || end <= filled_) {
      return;
    }
    if (pwrite(fd_, kZeros.data(), kZeros.size(), static_cast<off_t>(end)) == static_cast<ssize_t>(kZeros.size())) {
      filled_ = end + kZeros.size();
    } else {
      close(std::exchange(fd_, -1));
    }
  }

  IOStatus counted(std::size_t size, IOStatus status) {
    if (status.ok()) {
      written_ += size;
    }
    return status;
  }

  int fd_;
  std::uint64_t written_ = 0;
  std::uint64_t filled_ = 0;
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

}  // namespace

std::uint64_t written_end(std::string_view log) {
  std::size_t at = 0;
  while (at < log.size()) {
    const std::size_t block_end = std::min(log.size(), (at / kBlock + 1) * kBlock);
    if (block_end - at < kHead) {
      at = block_end;
      continue;
    }
    const std::uint32_t crc = read_little_endian(log.substr(at, 4));
    const std::size_t length = read_little_endian(log.substr(at + 4, 2));
    const std::size_t end = at + kHead + length;
    if (end <= block_end && masked(frame::crc32c(log.substr(at + kHead - 1, length + 1))) == crc) {
      at = end;
      continue;
    }
    return torn(log, at, std::min(end, block_end)) || all_zero(log.substr(at)) ? at : log.size();
  }
  return log.size();
}

std::unique_ptr<FSWritableFile> filled_ahead(const std::string& name, std::unique_ptr<FSWritableFile> file) {
  const int fd = open(name.c_str(), O_WRONLY | O_CLOEXEC);
  return std::make_unique<FilledAhead>(std::move(file), fd);
}

IOStatus open_written_part(rocksdb::FileSystem& files, const std::string& name, const rocksdb::FileOptions& options,
                           std::unique_ptr<rocksdb::FSSequentialFile>* file, IODebugContext* debug) {
  std::string log;
  std::unique_ptr<rocksdb::FSSequentialFile> reader;
  IOStatus status = files.NewSequentialFile(name, options, &reader, debug);
  std::string chunk(kBlock, '\0');
  for (Slice read = chunk; status.ok() && !read.empty();) {
    status = reader->Read(chunk.size(), options.io_options, &read, chunk.data(), debug);
    if (status.ok()) {
      log.append(read.data(), read.size());
    }
  }
  if (status.ok()) {
    status = files.NewSequentialFile(name, options, file, debug);
  }
  if (status.ok()) {
    *file = std::make_unique<FirstPart>(std::move(*file), written_end(log));
  }
  return status;
}

}  // namespace limpet
