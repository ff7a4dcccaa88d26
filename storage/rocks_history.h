// The history within the database of a RocksStore: a column family of its own, whose keys are the event numbers.
//
// Owned by RocksStore, which opens and closes the database; commit thread only, but for read(), which RocksStore lets
// happen only between opened() and closing(). Entries are added with the batch of
// what they are about. The oldest tables are dropped once all of them together, or their age, are past the limits.
#pragma once

#include <rocksdb/db.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string_view>

#include "storage/error.h"
#include "storage/rocks_store.h"
#include "storage/store.h"

namespace limpet {

class RocksHistory {
 public:
  explicit RocksHistory(const HistoryLimits& limits) : limits_(limits) {}

  // With which the database is to be opened.
  rocksdb::ColumnFamilyDescriptor family() const;
  // The database is open: `db` lives until closing(); `handle` is taken over.
  void opened(rocksdb::DB& db, rocksdb::ColumnFamilyHandle* handle);
  void closing();

  // Adds entries (see history_pack.h) to `batch`. Precondition: opened.
  rocksdb::Status add(rocksdb::WriteBatch& batch, std::uint64_t first_event, std::string_view value);
  // Precondition: opened. Errc::damaged, Errc::io.
  Result<HistoryPage> read(const HistoryQuery& query) const;

  // Now and then: lets go of what is too old. Cheap where there is nothing to do. Whether it works is no matter: if
  // the disk fails, the next append tells.
  void tidy();

 private:
  void drop_aged(std::int64_t now_s);
  Status scan(const HistoryQuery& query, rocksdb::Iterator& it, class HistoryPageBuilder& page) const;
  std::uint64_t oldest_event() const;

  const HistoryLimits limits_;
  rocksdb::DB* db_ = nullptr;
  rocksdb::ColumnFamilyHandle* handle_ = nullptr;
  std::chrono::steady_clock::time_point next_tidy_;
};

}  // namespace limpet
