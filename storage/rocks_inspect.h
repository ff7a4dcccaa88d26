// Reading and checking a whole database before anything is written to it. Part of RocksStore; nobody else includes
// this. The thread that uses the store.
#pragma once

#include <rocksdb/db.h>
#include <rocksdb/status.h>

#include <string>

#include "storage/error.h"
#include "storage/ledger.h"
#include "storage/state_dir.h"

namespace limpet {

// What RocksDB reports, as an error of ours: of a failed write, and of a failed open or read.
Status write_error(const rocksdb::Status& status);
Status read_error(const StateDir& dir, const rocksdb::Status& status);

struct Contents {
  Ledger ledger;
  StoredState state;
  bool has_history = false;  // there is a family for it; false also where that was not looked at
};

// Every record of the state in `db`, checked one by one and by the account. The history is not looked at.
Result<Contents> read_all(const StateDir& dir, rocksdb::DB& db);

// Opens the database in `dir` read-only and does the same; writes nothing.
Result<Contents> inspect(const StateDir& dir);

// A first start that was cut off left at most an empty store behind. If there is more, FORMAT is not to be believed.
Status check_unfinished(const StateDir& dir);

// Makes a database at `path`, an empty directory, of all that `dir` holds but for the history; on stable storage, and
// read again to make sure. `dir` must have passed inspect().
Status copy_state(const StateDir& dir, const std::string& path);

}  // namespace limpet
