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

// Whether a whole record in `block` says kAllBeforeIsSynced. A batch is its number (8), its count (4), and its parts;
// the part that PutLogData() makes is its kind (3), its length, its bytes.
bool says_synced(std::string_view block) {
  static const std::string part = {'\3', static_cast<char>(kAllBeforeIsSynced.size())};
  static const std::string sought = part + std::string(kAllBeforeIsSynced);
  constexpr std::size_t kInFront = kHead + 12;
  for (std::size_t at = kInFront; (at = block.find(sought, at)) != std::string_view::npos; ++at) {
    if (is_whole(block, at - kInFront)) {
      return true;
    }
  }
  return false;
}

}  // namespace

void LogEnd::add(std::string_view block) {
  std::size_t unread = 0;  // where what is not known to be whole begins
  if (!broken_) {
    unread = walk(block);
  }
  damaged_ = damaged_ || (broken_ && says_synced(block.substr(unread)));
  size_ += block.size();
}

std::optional<std::uint64_t> LogEnd::end() const {
  if (damaged_) {
    return std::nullopt;
  }
  return torn_ ? end_ : size_;
}

// Returns where the whole records end.
std::size_t LogEnd::walk(std::string_view block) {
  std::size_t at = 0;
  while (is_whole(block, at)) {
    at += kHead + read_little_endian(block.substr(at + 4, 2));
  }
  if (block.size() - at >= kHead) {  // less is filled up with zeros by RocksDB, or cut off by the end
    broken_ = true;
    torn_ = is_torn(block, at);
    end_ = size_ + at;
  }
  return at;
}

}  // namespace limpet
