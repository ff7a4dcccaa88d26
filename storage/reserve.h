// Room kept back on the disk, so that deregistrations still get through when it is full. Knows nothing of RocksDB.
//
// A file of allocated but meaningless bytes in the state directory. While the disk has room it stands there; when an
// append finds the disk full, it is given up, and what it occupied lets the store open again and take what makes it
// smaller. It is built anew when there is room for it and for a margin, so that an agent on a full disk does not
// change its mind with every record.
//
// Owned by RocksStore; one thread at a time (the commit thread), but for low(), which any thread may ask.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace limpet {

class Reserve {
 public:
  static constexpr char kFile[] = "RESERVE";
  // Enough to write full write buffers (8 MiB, and 4 of history) into tables, with a new log and a new MANIFEST.
  static constexpr std::uint64_t kMaxBytes = 16u << 20;

  // `dir` must exist; nothing is touched yet.
  explicit Reserve(const std::string& dir) : file_(dir + "/" + kFile) {}

  // Makes sure that the room is kept, as far as there is any. Blocks for the disk. Where something else than a full
  // disk stands against it (a file system that cannot allocate in advance, a limit on the size of files), nothing is
  // kept, and it is not low().
  void regain();
  // Gives the room up: low() from now on.
  void give_up();

  // The room is not there: either given up, or the disk was too full to keep it from the start.
  bool low() const { return low_.load(std::memory_order_relaxed); }

 private:
  bool whole(std::uint64_t bytes) const;
  int allocate(std::uint64_t bytes) const;

  const std::string file_;
  std::atomic<bool> low_{false};
};

}  // namespace limpet
