// How RocksDB is set up: durability, memory, disk and file modes. Part of RocksStore; nobody else includes this.
#pragma once

#include <rocksdb/options.h>

#include "storage/rocks_store.h"

namespace limpet {

// For the running store. `create`: a new database, and an error if there is one; otherwise the reverse.
rocksdb::Options options_for_writing(bool create);

// The history's column family.
inline constexpr char kHistoryFamily[] = "history";

// Of that family in the running store.
rocksdb::ColumnFamilyOptions options_for_history(const HistoryLimits& limits);

// For a look that changes nothing: not even a log file is made or rotated.
rocksdb::Options options_for_reading();

}  // namespace limpet
