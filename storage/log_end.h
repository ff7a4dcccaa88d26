// Where the writing of a write-ahead log ended, when zeros stand behind it (rocks_log.h says why they do).
//
// A power cut in the middle of an overwrite leaves any part of the overwritten sectors as they were, zeros; a cut in
// the middle of an append leaves a shorter file. RocksDB forgives only the latter, and rightly so: it cannot tell the
// former from damage. This can: by the sectors, as readers of etcd's WAL do, and by what the store says of itself in
// each append. Pure; one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "storage/log_key.h"

namespace limpet {

// The mark in front of an append (WriteBatch::PutLogData(), which goes to the log and nowhere else) says that all
// appends before it are on stable storage: where it can be read, nothing in front of it can be torn or cut off. It is
// one of LogKey's. An older limpet wrote this one instead, which a caller can put into a registration's data.
inline constexpr std::string_view kOldMark = "s";

class LogEnd {
 public:
  static constexpr std::size_t kBlock = 32768;  // RocksDB's

  // `key`: of the log's directory. Without one, every limpet that wrote there was an older one, or the key was lost.
  explicit LogEnd(std::optional<LogKey> key = std::nullopt) : key_(key) {}

  // The log's next block. Each but the last has kBlock bytes.
  void add(std::string_view block);

  // Behind the last record that is whole, if the one that follows was never written or is torn: one of its sectors of
  // 512 bytes is still all zeros, from where the record begins in it to the sector's end. Otherwise the end of all that
  // was added: where a record is broken in another way, or cut off, RocksDB is to judge. Nothing where a record is
  // broken although one behind it has a mark: that is damage. kOldMark counts without a key, and in a log in which a
  // whole record in front of the broken one has it: the place of a mark is not one that a caller's data can get to.
  // Nothing also where lacks_key().
  std::optional<std::uint64_t> end() const;
  // A record is torn, and whether that is damage cannot be told: there are marks, and no key to check them.
  bool lacks_key() const { return torn_ && written_behind_ && keyed_marks_ && !key_; }

 private:
  std::size_t walk(std::string_view block);
  void note_mark(std::string_view record);
  bool has_mark(std::string_view block) const;

  const std::optional<LogKey> key_;
  bool old_marks_ = false;       // seen in whole records, as is the next
  bool keyed_marks_ = false;     // of whatever key
  std::uint64_t size_ = 0;       // of the blocks so far
  std::uint64_t end_ = 0;        // where the first broken record begins
  bool written_behind_ = false;  // something but zeros, where the first broken record begins or behind
  bool broken_ = false;
  bool torn_ = false;
  bool damaged_ = false;
};

}  // namespace limpet
