// How RocksDB is set up: durability, memory, disk and file modes. Part of RocksStore; nobody else includes this.
#pragma once

#include <rocksdb/options.h>

namespace limpet {

// For the running store. `create`: a new database, and an error if there is one; otherwise the reverse.
rocksdb::Options options_for_writing(bool create);

// For a look that changes nothing: not even a log file is made or rotated.
rocksdb::Options options_for_reading();

}  // namespace limpet
