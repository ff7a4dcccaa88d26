#include "storage/frame.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <limits>
#include <utility>

namespace limpet::frame {

namespace {

constexpr std::size_t kFieldHeaderSize = 5;

// CRC-32C, the polynomial 0x1EDC6F41 of Castagnoli, Braeuer and Herrmann (IEEE Trans. Commun. 41(6), 1993), chosen
// for iSCSI in RFC 3720 section 12.1 and given there with test vectors in B.4; bits reflected: 0x82F63B78.
constexpr std::uint32_t kPolynomial = 0x82F63B78;

// The checksum is taken eight bytes at a time, by eight tables (Kounavis and Berry, ISCC 2005): every record goes
// through here, and one table would take a good part of what an append costs.
constexpr std::size_t kStride = 8;
using Tables = std::array<std::array<std::uint32_t, 256>, kStride>;

// [0] is a byte's effect on the checksum; [n] the same after n more bytes of 0.
constexpr Tables make_tables() {
  Tables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    }
    tables[0][byte] = crc;
  }
  for (std::size_t n = 1; n < kStride; ++n) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t before = tables[n - 1][byte];
      tables[n][byte] = (before >> 8) ^ tables[0][before & 0xff];
    }
  }
  return tables;
}

constexpr Tables kTables = make_tables();

std::uint32_t crc_of_stride(const unsigned char* bytes, std::uint32_t crc) {
  std::uint32_t result = 0;
  for (std::size_t i = 0; i < kStride; ++i) {
    const std::uint32_t mixed = i < sizeof(crc) ? (crc >> 8 * i) & 0xff : 0;
    result ^= kTables[kStride - 1 - i][bytes[i] ^ mixed];
  }
  return result;
}

#if defined(__x86_64__)
// The processor has an instruction for this very polynomial (SSE 4.2, of 2008): a tenth of what the tables take.
__attribute__((target("sse4.2"))) std::uint32_t crc32c_by_processor(std::string_view bytes, std::uint32_t crc) {
  std::uint64_t wide = crc;
  const char* next = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= kStride; left -= kStride, next += kStride) {
    std::uint64_t word = 0;
    std::memcpy(&word, next, sizeof word);
    wide = __builtin_ia32_crc32di(wide, word);
  }
  crc = static_cast<std::uint32_t>(wide);
  for (; left > 0; --left, ++next) {
    crc = __builtin_ia32_crc32qi(crc, static_cast<unsigned char>(*next));
  }
  return crc;
}
#endif

// The checksum does not cover itself, but all else: also version and kind.
std::uint32_t checksum(std::string_view value) {
  return crc32c(value.substr(kHeaderSize), crc32c(value.substr(0, 2)));
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes, std::uint32_t crc) {
  crc = ~crc;
#if defined(__x86_64__)
  static const bool by_processor = __builtin_cpu_supports("sse4.2") != 0;
  if (by_processor) {
    return ~crc32c_by_processor(bytes, crc);
  }
#endif
  return ~crc32c_by_tables(bytes, crc);
}

std::uint32_t crc32c_by_tables(std::string_view bytes, std::uint32_t crc) {
  const auto* next = reinterpret_cast<const unsigned char*>(bytes.data());
  std::size_t left = bytes.size();
  for (; left >= kStride; left -= kStride, next += kStride) {
    crc = crc_of_stride(next, crc);
  }
  for (; left > 0; --left, ++next) {
    crc = (crc >> 8) ^ kTables[0][(crc ^ *next) & 0xff];
  }
  return crc;
}

std::uint64_t read_big_endian(std::string_view bytes) {
  assert(bytes.size() <= 8);
  std::uint64_t value = 0;
  for (const char c : bytes) {
    value = value << 8 | static_cast<unsigned char>(c);
  }
  return value;
}

void append_item(std::string& list, std::string_view item) {
  assert(item.size() <= std::numeric_limits<std::uint32_t>::max());
  append_big_endian(list, static_cast<std::uint32_t>(item.size()));
  list.append(item);
}

bool take_item(std::string_view& list, std::string_view& item) {
  if (list.size() < sizeof(std::uint32_t)) {
    return false;
  }
  const std::uint64_t size = read_big_endian(list.substr(0, sizeof(std::uint32_t)));
  if (size > list.size() - sizeof(std::uint32_t)) {
    return false;
  }
  item = list.substr(sizeof(std::uint32_t), size);
  list.remove_prefix(sizeof(std::uint32_t) + size);
  return true;
}

// ---- Writer

Writer::Writer(Kind kind, std::size_t capacity, std::string room) : out_(std::move(room)) {
  assert(capacity >= kHeaderSize);
  if (out_.size() < capacity) {
    out_.resize(capacity);
  }
  out_[0] = static_cast<char>(kVersion);
  out_[1] = static_cast<char>(kind);
  used_ = kHeaderSize;  // the checksum's place is filled by finish()
}

Writer Writer::nested() {
  Writer writer;
  writer.nested_ = true;
  return writer;
}

// Where the next `size` bytes go.
char* Writer::take(std::size_t size) {
  if (out_.size() - used_ < size) {
    out_.resize(std::max(2 * out_.size(), used_ + size));
  }
  char* const place = out_.data() + used_;
  used_ += size;
  return place;
}

// Writes the field's header; returns where its `size` bytes go.
char* Writer::begin_field(std::uint8_t tag, std::size_t size) {
  assert(tag > last_tag_ && size <= std::numeric_limits<std::uint32_t>::max());
  last_tag_ = tag;
  char* const place = take(kFieldHeaderSize + size);
  *place = static_cast<char>(tag);
  put_big_endian(place + 1, static_cast<std::uint32_t>(size));
  return place + kFieldHeaderSize;
}

template <typename T>
Writer& Writer::number(std::uint8_t tag, T value) {
  put_big_endian(begin_field(tag, sizeof(T)), value);
  return *this;
}

Writer& Writer::bytes(std::uint8_t tag, std::string_view value) {
  value.copy(begin_field(tag, value.size()), value.size());
  return *this;
}

Writer& Writer::u8(std::uint8_t tag, std::uint8_t value) {
  return number(tag, value);
}

Writer& Writer::u32(std::uint8_t tag, std::uint32_t value) {
  return number(tag, value);
}

Writer& Writer::u64(std::uint8_t tag, std::uint64_t value) {
  return number(tag, value);
}

Writer& Writer::u8_unless_0(std::uint8_t tag, std::uint8_t value) {
  return value == 0 ? *this : u8(tag, value);
}

Writer& Writer::u32_unless_0(std::uint8_t tag, std::uint32_t value) {
  return value == 0 ? *this : u32(tag, value);
}

Writer& Writer::u64_unless_0(std::uint8_t tag, std::uint64_t value) {
  return value == 0 ? *this : u64(tag, value);
}

Writer& Writer::bytes_unless_empty(std::uint8_t tag, std::string_view value) {
  return value.empty() ? *this : bytes(tag, value);
}

std::string Writer::finish() {
  out_.resize(used_);
  if (!nested_) {
    put_big_endian(out_.data() + 2, checksum(out_));
  }
  return std::move(out_);
}

// ---- Reader

Reader::Reader(std::string_view bytes, Kind kind, std::uint8_t known_tags) : kind_(kind) {
  parse(bytes, known_tags);
}

Reader Reader::nested(std::string_view bytes, Kind kind, std::uint8_t known_tags) {
  Reader reader(kind);
  reader.parse_fields(bytes, known_tags);
  return reader;
}

bool Reader::has(std::uint8_t tag) const {
  assert(tag < kMaxTags);
  return status_.ok() && present_[tag];
}

bool Reader::hints(std::uint8_t tag) const {
  assert((tag & kIgnorable) != 0);
  return status_.ok() && hints_[tag ^ kIgnorable];
}

Reader& Reader::optional(std::uint8_t first, std::uint8_t last) {
  for (std::size_t tag = first; tag <= last; ++tag) {
    optional_.set(tag);
  }
  return *this;
}

void Reader::parse(std::string_view bytes, std::uint8_t known_tags) {
  if (bytes.size() < kHeaderSize) {
    return fail(Errc::damaged, "shorter than its header");
  }
  if (read_big_endian(bytes.substr(2, 4)) != checksum(bytes)) {
    return fail(Errc::damaged, "checksum does not match");
  }
  const auto version = static_cast<std::uint8_t>(bytes[0]);
  if (version > kVersion) {
    return fail(Errc::newer_format, "version " + std::to_string(version) + " is later than " +
                                        std::to_string(kVersion) + ", the last that this limpet knows");
  }
  if (version != kVersion || bytes[1] != static_cast<char>(kind_)) {
    return fail(Errc::damaged, "another kind of value stands in its place");
  }
  parse_fields(bytes.substr(kHeaderSize), known_tags);
}

void Reader::parse_fields(std::string_view rest, std::uint8_t known_tags) {
  assert(known_tags < kMaxTags);
  int last_tag = 0;
  while (!rest.empty()) {
    if (rest.size() < kFieldHeaderSize) {
      return fail(Errc::damaged, "a field's header is cut off");
    }
    const auto tag = static_cast<std::uint8_t>(rest[0]);
    const std::uint64_t size = read_big_endian(rest.substr(1, 4));
    rest.remove_prefix(kFieldHeaderSize);
    if (size > rest.size()) {
      return fail(Errc::damaged, "field " + std::to_string(tag) + " is cut off");
    }
    if (tag <= last_tag) {
      return fail(Errc::damaged, "fields out of order");
    }
    last_tag = tag;
    if (tag <= known_tags) {
      fields_[tag] = rest.substr(0, size);
      present_.set(tag);
    } else if ((tag & kIgnorable) != 0) {
      hints_.set(tag ^ kIgnorable);
    } else {
      return fail(Errc::newer_format, "field " + std::to_string(tag) + " is of a later limpet");
    }
    rest.remove_prefix(size);
  }
}

void Reader::fail(Errc code, const std::string& what) {
  if (status_.ok()) {
    status_ = Status(code, std::string("record of kind ") + static_cast<char>(kind_) + ": " + what);
  }
}

void Reader::fail(const Status& status) {
  if (status_.ok()) {
    status_ = status;
  }
}

// Whether there is a value to be taken.
bool Reader::field(std::uint8_t tag, std::string_view& target) {
  assert(tag < kMaxTags);
  if (!status_.ok()) {
    return false;
  }
  if (!present_[tag]) {
    if (!optional_[tag]) {
      fail(Errc::damaged, "field " + std::to_string(tag) + " is missing");
    }
    return false;
  }
  target = fields_[tag];
  return true;
}

void Reader::bytes(std::uint8_t tag, std::string_view& target) {
  (void)field(tag, target);
}

void Reader::string(std::uint8_t tag, std::string& target) {
  std::string_view view;
  if (field(tag, view)) {
    target.assign(view);
  }
}

bool Reader::number(std::uint8_t tag, std::size_t size, std::uint64_t& target) {
  std::string_view view;
  if (!field(tag, view)) {
    return false;
  }
  if (view.size() != size) {
    fail(Errc::damaged, "field " + std::to_string(tag) + " has the wrong size");
    return false;
  }
  target = read_big_endian(view);
  return true;
}

void Reader::u8(std::uint8_t tag, std::uint8_t& target) {
  std::uint64_t value = 0;
  if (number(tag, sizeof(target), value)) {
    target = static_cast<std::uint8_t>(value);
  }
}

bool Reader::u8_between(std::uint8_t tag, std::uint8_t first, std::uint8_t last, const char* name,
                        std::uint8_t& target) {
  std::uint64_t value = 0;
  if (!number(tag, sizeof(target), value)) {
    return false;
  }
  if (value < first || value > last) {
    fail(Errc::newer_format, name + (" " + std::to_string(value)) + " is of a later limpet");
    return false;
  }
  target = static_cast<std::uint8_t>(value);
  return true;
}

void Reader::u32(std::uint8_t tag, std::uint32_t& target) {
  std::uint64_t value = 0;
  if (number(tag, sizeof(target), value)) {
    target = static_cast<std::uint32_t>(value);
  }
}

void Reader::u64(std::uint8_t tag, std::uint64_t& target) {
  std::uint64_t value = 0;
  if (number(tag, sizeof(target), value)) {
    target = value;
  }
}

void Reader::i32(std::uint8_t tag, std::int32_t& target) {
  std::uint64_t value = 0;
  if (number(tag, sizeof(target), value)) {
    target = static_cast<std::int32_t>(static_cast<std::uint32_t>(value));
  }
}

void Reader::i64(std::uint8_t tag, std::int64_t& target) {
  std::uint64_t value = 0;
  if (number(tag, sizeof(target), value)) {
    target = static_cast<std::int64_t>(value);
  }
}

}  // namespace limpet::frame
