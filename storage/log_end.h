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

namespace limpet {

// What the store puts in front of an append (WriteBatch::PutLogData(), which goes to the log and nowhere else) when all
// appends before it are on stable storage: where it can be read, nothing in front of it can be torn or cut off.
inline constexpr std::string_view kAllBeforeIsSynced = "s";

class LogEnd {
 public:
  static constexpr std::size_t kBlock = 32768;  // RocksDB's

  // The log's next block. Each but the last has kBlock bytes.
  void add(std::string_view block);

  // Behind the last record that is whole, if the one that follows was never written or is torn: one of its sectors of
  // 512 bytes is still all zeros, from where the record begins in it to the sector's end. Otherwise the end of all that
  // was added: where a record is broken in another way, or cut off, RocksDB is to judge. Nothing where a record is
  // broken although one behind it says kAllBeforeIsSynced: that is damage.
  std::optional<std::uint64_t> end() const;

 private:
  std::size_t walk(std::string_view block);

  std::uint64_t size_ = 0;  // of the blocks so far
  std::uint64_t end_ = 0;   // where the first broken record begins
  bool broken_ = false;
  bool torn_ = false;
  bool damaged_ = false;
};

}  // namespace limpet
