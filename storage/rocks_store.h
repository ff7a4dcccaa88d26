// The durable store on RocksDB; its .cc files (rocks_*.cc) alone know RocksDB. storage/FORMAT.md gives the files.
//
// Owned by the agent. Opened on the main thread before there is any other, then used by the commit thread alone
// (through GroupCommit), but for what is prepared ahead (see Store), for history(), and for bytes_on_disk(),
// low_on_space() and sync_times(). It is safe to kill the process at any time. The directory is locked for as long as
// the store lives, and never touched before that lock is held: a second agent changes nothing.
//
// Before the database is opened for writing it is opened read-only, and every record is read and checked (see
// Ledger). So damage is found while nothing has been written, and what is refused stays as it was found.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "storage/error.h"
#include "storage/histogram.h"
#include "storage/store.h"

namespace limpet {

// How much of the history is kept. The oldest goes first, in portions of a sixteenth of this, or of 4 MiB.
struct HistoryLimits {
  std::uint64_t max_bytes = 64u << 20;
  std::int64_t max_age_s = 7 * 24 * 3600;
};

class RocksStore : public Store {
 public:
  // Opens the state directory `dir`, making it (mode 0700; its parent must exist) and an empty store if there is
  // none. Blocks for the disk. Fails with
  //   Errc::in_use        another process has it; nothing was touched
  //   Errc::damaged       something is missing or does not verify; nothing was changed; the message says what to do
  //   Errc::newer_format  of a later limpet; nothing was changed
  //   Errc::permission    not ours, or others may write to it
  //   Errc::full, Errc::io
  static Result<std::unique_ptr<RocksStore>> open(const std::string& dir, HistoryLimits limits = {});

  // What the state directory `dir` of a stopped agent holds; changes nothing, whoever it belongs to. Fails as open()
  // does; a directory that holds no store is Errc::invalid.
  static Result<StoredState> read(const std::string& dir);

  // Closes. What was appended without sync stays in the write-ahead log.
  ~RocksStore() override;
  RocksStore(const RocksStore&) = delete;
  RocksStore& operator=(const RocksStore&) = delete;

  // May also fail with Errc::damaged or Errc::newer_format, as open().
  Result<StoredState> load() override;
  bool prepare(const Batch& batch) override;
  void seal(bool sync) override;
  Status write() override;
  // May also fail as open() does, but keeps the directory's lock in any case. Where the disk is full, gives up the
  // room kept back (see Reserve) and is then low_on_space().
  Status reopen() override;
  bool low_on_space() const override;
  void regain_space() override;
  Result<HistoryPage> history(const HistoryQuery& query) override;
  std::uint64_t bytes_on_disk() const override;

  // How long appends with sync took. Any thread.
  const Histogram& sync_times() const;

 private:
  class Impl;
  explicit RocksStore(std::unique_ptr<Impl> impl);

  std::unique_ptr<Impl> impl_;
};

}  // namespace limpet
