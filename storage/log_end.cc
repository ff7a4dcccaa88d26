#include "storage/log_end.h"

#include <algorithm>
#include <string>

#include "storage/frame.h"

namespace limpet {

namespace {

// RocksDB's log format (its db/log_format.h): blocks, in each records that do not cross its end, and zeros where not
// even a record's head has room. A head is CRC (4, of what follows the length), length (2), type (1), lowest byte
// first.
constexpr std::size_t kHead = 7;

// What a disk writes wholly or not at all; no disk has smaller ones.
constexpr std::size_t kSector = 512;

std::uint32_t read_little_endian(std::string_view bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) {
    value = value << 8 | static_cast<std::uint8_t>(bytes[i]);
  }
  return value;
}

// RocksDB stores a CRC so that the CRC of bytes that hold CRCs is none of the trivial ones (LevelDB's masking).
std::uint32_t masked(std::uint32_t crc) {
  return (crc >> 15 | crc << 17) + 0xa282ead8U;
}

// Whether `block` has a whole record at `at`.
bool is_whole(std::string_view block, std::size_t at) {
  if (block.size() - at < kHead) {
    return false;
  }
  const std::size_t length = read_little_endian(block.substr(at + 4, 2));
  return length <= block.size() - at - kHead &&
         masked(frame::crc32c(block.substr(at + kHead - 1, length + 1))) == read_little_endian(block.substr(at, 4));
}

// Whether one of the sectors that the broken record at `at` of `block` lies in was never written. What was written
// before ends at `at`; so from there, or from the sector's beginning, to the sector's end there is nothing but zeros.
bool is_torn(std::string_view block, std::size_t at) {
  const std::size_t length = read_little_endian(block.substr(at + 4, 2));
  const std::size_t end = std::min(block.size(), at + kHead + length);
  while (at < end) {
    const std::size_t next_sector = (at / kSector + 1) * kSector;
    if (block.substr(at, next_sector - at).find_first_not_of('\0') == std::string_view::npos) {
      return true;
    }
    at = next_sector;
  }
  return false;
}

// A batch is its number (8), its count (4), and its parts; the part that PutLogData() makes is its kind (3), its length
// (one byte, for one so short), its bytes. A mark is the first part of a batch.
constexpr std::size_t kInFront = kHead + 12;
constexpr char kLogData = 3;

std::string part_of(std::size_t size) {
  return {kLogData, static_cast<char>(size)};
}

}  // namespace

void LogEnd::add(std::string_view block) {
  std::size_t unread = 0;  // where what is not known to be whole begins
  if (!broken_) {
    unread = walk(block);
  }
  if (broken_ && !written_behind_) {
    written_behind_ = block.find_first_not_of('\0', unread) != std::string_view::npos;
  }
  damaged_ = damaged_ || (broken_ && has_mark(block.substr(unread)));
  size_ += block.size();
}

std::optional<std::uint64_t> LogEnd::end() const {
  if (damaged_ || lacks_key()) {
    return std::nullopt;
  }
  return torn_ ? end_ : size_;
}

// Returns where the whole records end.
std::size_t LogEnd::walk(std::string_view block) {
  std::size_t at = 0;
  while (is_whole(block, at)) {
    const std::size_t size = kHead + read_little_endian(block.substr(at + 4, 2));
    note_mark(block.substr(at, size));
    at += size;
  }
  if (block.size() - at >= kHead) {  // less is filled up with zeros by RocksDB, or cut off by the end
    broken_ = true;
    torn_ = is_torn(block, at);
    end_ = size_ + at;
  }
  return at;
}

// `record` is whole.
void LogEnd::note_mark(std::string_view record) {
  constexpr char kFull = 1;
  constexpr char kFirst = 2;
  const char type = record[kHead - 1];
  if ((type != kFull && type != kFirst) || record.size() < kInFront) {
    return;
  }
  const std::string_view part = record.substr(kInFront);
  old_marks_ = old_marks_ || part.starts_with(part_of(kOldMark.size()) + std::string(kOldMark));
  keyed_marks_ = keyed_marks_ || part.starts_with(part_of(LogKey::kMarkSize));
}

// Whether a whole record in `block`, wherever it begins, has a mark.
bool LogEnd::has_mark(std::string_view block) const {
  const auto any = [block](std::size_t size, const auto& is_mark) {
    const std::string part = part_of(size);
    for (std::size_t at = kInFront; (at = block.find(part, at)) != std::string_view::npos; ++at) {
      if (is_mark(block.substr(at + part.size(), size)) && is_whole(block, at - kInFront)) {
        return true;
      }
    }
    return false;
  };
  return (key_ && any(LogKey::kMarkSize, [this](std::string_view bytes) { return key_->is_mark(bytes); })) ||
         ((!key_ || old_marks_) && any(kOldMark.size(), [](std::string_view bytes) { return bytes == kOldMark; }));
}

}  // namespace limpet
