// Write-ahead logs made and taken apart byte by byte, for tests of what a crash leaves of one. Pure.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/log_key.h"

namespace limpet::test {

inline constexpr std::size_t kLogBlock = 32768;
inline constexpr std::size_t kLogHead = 7;
inline constexpr std::size_t kDiskSector = 512;

// Writes as RocksDB does.
class LogBytes {
 public:
  // Adds a record, in as many fragments as it takes. Returns where it begins.
  std::size_t add(std::string_view payload);
  const std::string& bytes() const { return bytes_; }
  std::size_t size() const { return bytes_.size(); }

 private:
  void add_fragment(char type, std::string_view part);

  std::string bytes_;
};

// The key of the marks that batch_of() writes.
const LogKey& test_log_key();

// What a write batch is to the log: its number, its count, `mark` as log data if there is one, and `content` bytes that
// are not zero.
std::string batch_with_mark(std::uint64_t number, std::size_t content, std::string_view mark);
// The same, with the key's mark for `number` where `synced`.
std::string batch_of(std::uint64_t number, std::size_t content, bool synced);

// The payloads of the whole records of `log`, put together again; ends at the first that is not whole.
std::vector<std::string> records_of(std::string_view log);

// LogEnd's word on a whole log.
std::optional<std::uint64_t> written_end(std::string_view log, const std::optional<LogKey>& key = test_log_key());

// What a power cut leaves: the sectors of `now` that changed since it was `before` (shorter: zeros behind), each as it
// was where `keep(k)` is false, for the k-th of them. Returns how many changed.
template <typename Keep>
std::size_t tear(std::string& now, const std::string& before, Keep keep) {
  std::size_t count = 0;
  for (std::size_t at = 0; at < now.size(); at += kDiskSector) {
    const std::size_t size = std::min(kDiskSector, now.size() - at);
    std::string old = before.substr(std::min(at, before.size()), size);
    old.resize(size, '\0');
    if (now.compare(at, size, old) != 0 && !keep(count++)) {
      now.replace(at, size, old);
    }
  }
  return count;
}

}  // namespace limpet::test
