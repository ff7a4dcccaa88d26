// The frame around every value on disk: version, kind, checksum, then tagged fields. Pure: no I/O; any thread.
//
//     version (1) | kind (1) | CRC-32C of all other bytes (4) | field | field | …
//     field = tag (1) | length (4) | that many bytes; tags strictly ascending; numbers big-endian
//
// The first six bytes mean the same in every version, so a flipped bit is told from a value of a later version. A
// later limpet adds fields and writes them only where they differ from their default: an older one goes on reading
// every value that does not use them. A new field that may be ignored has its tag's high bit set; one that may not
// (ignoring a `ttl` would make a registration immortal) has not, and the older limpet refuses the value as
// Errc::newer_format. storage/FORMAT.md says the same for operators.
#pragma once

#include <array>
#include <bit>
#include <bitset>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "storage/error.h"

namespace limpet::frame {

// What a value is. The same letter is the first byte of its key.
enum class Kind : char {
  event = 'E',         // HistoryEntry; its key is its number alone, and it stands in the history, not among the state
  former = 'F',        // FormerSessions
  hold = 'H',          // Hold
  meta = 'M',          // the store's own: last_seq, last_event and the tally of all records
  outcome = 'O',       // Outcome
  parent = 'p',        // Parent; a limpet that knows none ignores it
  pack = 'P',          // several HistoryEntry, see history_pack.h
  registration = 'R',  // Registration
  session = 'S',       // Session
  removal = 'X',       // Removal
};

inline constexpr std::uint8_t kVersion = 1;
inline constexpr std::size_t kHeaderSize = 6;
inline constexpr std::uint8_t kIgnorable = 0x80;  // bit of a tag that an older reader may skip

// CRC-32C (Castagnoli) of `bytes`, continuing from `crc`: crc32c(b, crc32c(a)) == crc32c(a + b).
std::uint32_t crc32c(std::string_view bytes, std::uint32_t crc = 0);

// What it does where the processor has no instruction for it; without the first and the last step, which turn all bits
// round: crc32c(b, c) == ~crc32c_by_tables(b, ~c). For crc32c(), and for tests, which compare the two.
std::uint32_t crc32c_by_tables(std::string_view bytes, std::uint32_t crc);

// Writes `value` to `target`, big-endian, in sizeof(T) bytes.
template <typename T>
void put_big_endian(char* target, T value) {
  static_assert(std::is_unsigned_v<T>);
  if constexpr (std::endian::native == std::endian::little && sizeof(T) == sizeof(std::uint64_t)) {
    value = __builtin_bswap64(value);
  } else if constexpr (std::endian::native == std::endian::little && sizeof(T) == sizeof(std::uint32_t)) {
    value = __builtin_bswap32(value);
  } else {
    static_assert(std::endian::native == std::endian::big || sizeof(T) == 1);
  }
  std::memcpy(target, &value, sizeof(T));
}

// Appends `value` to `out`, big-endian, in sizeof(T) bytes.
template <typename T>
void append_big_endian(std::string& out, T value) {
  std::array<char, sizeof(T)> bytes;
  put_big_endian(bytes.data(), value);
  out.append(bytes.data(), bytes.size());
}

// Reads the big-endian number that is all of `bytes`; at most 8 bytes.
std::uint64_t read_big_endian(std::string_view bytes);

// Appends `item` to `list`, its length (4) in front: how a field holds several things of any size.
void append_item(std::string& list, std::string_view item);

// Takes the first item off `list`. False: its length is cut off, or says more than there is.
bool take_item(std::string_view& list, std::string_view& item);

// Builds one value. Tags must be added in ascending order; a field holds less than 4 GiB.
class Writer {
 public:
  // `capacity`: the expected size, so that the value is allocated once at most. `room`: a string whose memory is used
  // again.
  explicit Writer(Kind kind, std::size_t capacity = 64, std::string room = {});
  // Fields alone, without the header: for what is nested in a field of a value.
  static Writer nested();

  Writer& bytes(std::uint8_t tag, std::string_view value);
  Writer& u8(std::uint8_t tag, std::uint8_t value);
  Writer& u32(std::uint8_t tag, std::uint32_t value);
  Writer& u64(std::uint8_t tag, std::uint64_t value);
  // As above, but only where `value` is not 0 (or empty), which is what its absence means.
  Writer& u8_unless_0(std::uint8_t tag, std::uint8_t value);
  Writer& u32_unless_0(std::uint8_t tag, std::uint32_t value);
  Writer& u64_unless_0(std::uint8_t tag, std::uint64_t value);
  Writer& bytes_unless_empty(std::uint8_t tag, std::string_view value);
  // The finished value, checksum included. The Writer is spent.
  std::string finish();

 private:
  Writer() = default;
  template <typename T>
  Writer& number(std::uint8_t tag, T value);
  char* begin_field(std::uint8_t tag, std::size_t size);
  char* take(std::size_t size);

  std::string out_;       // as long as may be needed; its memory is filled where it grows, and never twice
  std::size_t used_ = 0;  // of it
  bool nested_ = false;
  int last_tag_ = -1;
};

// Takes one value apart. The constructor checks everything but the fields' own sizes; the getters record the first
// failure and then leave their targets alone, so a caller reads all fields and asks status() once.
// Errc::damaged: checksum, bounds, order, a missing or mis-sized field. Errc::newer_format: the checksum holds, but
// the version, or a field that must be understood, is of a later limpet.
class Reader {
 public:
  static constexpr std::size_t kMaxTags = 16;

  // `bytes` must outlive the Reader and what its getters return. Tags 1 … `known_tags` (< kMaxTags) are understood.
  Reader(std::string_view bytes, Kind kind, std::uint8_t known_tags);
  // What a nested Writer built, within a value of this kind.
  static Reader nested(std::string_view bytes, Kind kind, std::uint8_t known_tags);

  // Whether the field is there: for those that are written only where they differ from a default. What is absent leaves
  // its target alone with the getters below, too, once its tag was declared to be optional().
  bool has(std::uint8_t tag) const;
  // Whether a field is there that an older reader may skip. What it holds is not read.
  bool hints(std::uint8_t tag) const;
  // The tags from `first` to `last` may be absent.
  Reader& optional(std::uint8_t first, std::uint8_t last);

  void bytes(std::uint8_t tag, std::string_view& target);
  void string(std::uint8_t tag, std::string& target);
  void u8(std::uint8_t tag, std::uint8_t& target);
  void u32(std::uint8_t tag, std::uint32_t& target);
  void u64(std::uint8_t tag, std::uint64_t& target);
  void i32(std::uint8_t tag, std::int32_t& target);
  void i64(std::uint8_t tag, std::int64_t& target);
  // A u8 that is one of an enumeration's, from `first` to `last`. Another number is Errc::newer_format: the checksum
  // holds, so it is no accident, and a later limpet knows what it means. `name` says of what, for people.
  template <typename Enum>
  void choice(std::uint8_t tag, Enum first, Enum last, const char* name, Enum& target) {
    auto number = static_cast<std::uint8_t>(target);
    if (u8_between(tag, static_cast<std::uint8_t>(first), static_cast<std::uint8_t>(last), name, number)) {
      target = static_cast<Enum>(number);
    }
  }

  const Status& status() const { return status_; }
  // Records a failure that the caller found in a field's content.
  void fail(Errc code, const std::string& what);
  // Likewise, of a nested Reader.
  void fail(const Status& status);

 private:
  explicit Reader(Kind kind) : kind_(kind) {}
  void parse(std::string_view bytes, std::uint8_t known_tags);
  void parse_fields(std::string_view rest, std::uint8_t known_tags);
  bool field(std::uint8_t tag, std::string_view& target);
  bool u8_between(std::uint8_t tag, std::uint8_t first, std::uint8_t last, const char* name, std::uint8_t& target);
  bool number(std::uint8_t tag, std::size_t size, std::uint64_t& target);

  Kind kind_;
  Status status_;
  std::array<std::string_view, kMaxTags> fields_{};
  std::bitset<kMaxTags> present_;
  std::bitset<kMaxTags> optional_;
  std::bitset<kIgnorable> hints_;
};

// Room for the frame and the fixed-width fields of any record; strings come on top.
inline constexpr std::size_t kFixedSize = 128;

// `value`, read by `reader`, or why it could not be.
template <typename T>
Result<T> finish(const Reader& reader, T&& value) {
  if (!reader.status().ok()) {
    return reader.status();
  }
  return Result<T>(std::forward<T>(value));
}

}  // namespace limpet::frame
