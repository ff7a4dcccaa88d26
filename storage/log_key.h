// The key of the marks in the write-ahead log.
//
// An append says in its mark that every append before it is on stable storage, and log_end.h takes that as proof of
// damage. A registration's data lies in the log as the caller sent it, so a caller who can guess a mark can forge one,
// and a torn append then looks like damage: the agent refuses to start. A mark is therefore a number and a keyed hash
// of that number; no two appends carry the same one. The key is 16 random bytes in the database's directory, which
// only the agent's user can read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "storage/error.h"

namespace limpet {

class LogKey {
 public:
  static constexpr std::size_t kSize = 16;
  static constexpr std::size_t kMarkSize = 16;
  static constexpr char kFile[] = "KEY";  // RocksDB deletes what is called LOG…

  // `bytes`: kSize of them.
  explicit LogKey(std::string_view bytes);

  // The key in `directory`; nothing where there is none, or none that verifies: then no mark of a log there can be
  // checked. Errc::io where that cannot be told. Blocks for the disk.
  static Result<std::optional<LogKey>> read(const std::string& directory);
  // A new key from the kernel's random numbers, in the place of what is in `directory`; on stable storage on return.
  static Result<LogKey> make(const std::string& directory);

  // The mark for `number`, kMarkSize bytes. Pure, as is is_mark().
  std::string mark(std::uint64_t number) const;
  bool is_mark(std::string_view bytes) const;

 private:
  std::uint64_t low_;
  std::uint64_t high_;
};

// SipHash-2-4 of `bytes` under a key of two numbers (Aumasson and Bernstein, INDOCRYPT 2012). Pure. For LogKey and
// tests.
std::uint64_t siphash(std::uint64_t low, std::uint64_t high, std::string_view bytes);

}  // namespace limpet
