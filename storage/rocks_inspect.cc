#include "storage/rocks_inspect.h"

#include <rocksdb/iterator.h>
#include <rocksdb/options.h>
#include <rocksdb/write_batch.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/rocks_store_options.h"

namespace limpet {

namespace {

// RocksDB takes only ENOSPC for "no space"; a full quota reaches us as its text.
bool is_full(const rocksdb::Status& status) {
  return status.IsNoSpace() || status.ToString().find(std::strerror(EDQUOT)) != std::string::npos;
}

}  // namespace

// For a failed write. That nothing was verified as damaged holds even for Corruption: reopen() will tell.
Status write_error(const rocksdb::Status& status) {
  return Status(is_full(status) ? Errc::full : Errc::io, "cannot write to the store: " + status.ToString());
}

// For a failed open or read: a file that is missing is damage, a device that does not answer is not.
Status read_error(const StateDir& dir, const rocksdb::Status& status) {
  if (is_full(status)) {
    return Status(Errc::full, "cannot open the store in " + dir.path() + ": " + status.ToString());
  }
  switch (status.code()) {
    case rocksdb::Status::kCorruption:
    case rocksdb::Status::kNotFound:
    case rocksdb::Status::kInvalidArgument:
    case rocksdb::Status::kNotSupported:
      return dir.damaged(status.ToString());
    default:
      break;
  }
  if (status.IsPathNotFound()) {
    return dir.damaged(status.ToString());
  }
  return Status(Errc::io, "cannot open the store in " + dir.path() + ": " + status.ToString());
}

namespace {

Status with_advice(const StateDir& dir, const Status& status) {
  switch (status.code()) {
    case Errc::damaged:
      return dir.damaged(status.message());
    case Errc::newer_format:
      return dir.newer_format(status.message());
    default:
      return status;
  }
}

// A write-ahead log that is simply missing raises no error in RocksDB. But there is always one whose number is not
// below what the MANIFEST says must be kept: RocksDB makes the new one before it writes that down.
Status check_wal_present(const StateDir& dir, rocksdb::DB& db) {
  std::uint64_t oldest = 0;
  if (!db.GetIntProperty(rocksdb::DB::Properties::kMinLogNumberToKeep, &oldest)) {
    return {};
  }
  std::error_code error;
  for (std::filesystem::directory_iterator it(dir.db_path(), error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    std::uint64_t number = 0;
    const auto parsed = std::from_chars(name.data(), name.data() + name.size(), number);
    if (parsed.ec == std::errc() && std::string_view(parsed.ptr) == ".log" && number >= oldest) {
      return {};
    }
  }
  if (error) {
    return Status(Errc::io, "cannot list " + dir.db_path() + ": " + error.message());
  }
  return dir.damaged("the write-ahead log (a file " + dir.db_path() + "/NNNNNN.log, NNNNNN from " +
                     std::to_string(oldest) + " on) is missing");
}

Status scan(const StateDir& dir, rocksdb::DB& db, Ledger& ledger) {
  rocksdb::ReadOptions options;
  options.verify_checksums = true;
  options.fill_cache = false;
  const std::unique_ptr<rocksdb::Iterator> it(db.NewIterator(options));
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    const std::string_view key(it->key().data(), it->key().size());
    const std::string_view value(it->value().data(), it->value().size());
    if (Status status = ledger.add(key, value); !status.ok()) {
      return with_advice(dir, status);
    }
  }
  return it->status().ok() ? Status() : read_error(dir, it->status());
}

Result<std::unique_ptr<rocksdb::DB>> open_for_reading(const StateDir& dir) {
  rocksdb::DB* raw = nullptr;
  const rocksdb::Status status = rocksdb::DB::OpenForReadOnly(options_for_reading(), dir.db_path(), &raw);
  std::unique_ptr<rocksdb::DB> db(raw);
  if (!status.ok()) {
    return read_error(dir, status);
  }
  return db;
}

// Whether the database has a family for the history. Another than that is of a later limpet.
Result<bool> find_history(const StateDir& dir) {
  std::vector<std::string> families;
  const rocksdb::Status status = rocksdb::DB::ListColumnFamilies(options_for_reading(), dir.db_path(), &families);
  if (!status.ok()) {
    return read_error(dir, status);
  }
  bool found = false;
  for (const std::string& family : families) {
    if (family == kHistoryFamily) {
      found = true;
    } else if (family != rocksdb::kDefaultColumnFamilyName) {
      return dir.newer_format("it keeps records in a family of their own, " + family);
    }
  }
  return found;
}

}  // namespace

Result<Contents> read_all(const StateDir& dir, rocksdb::DB& db) {
  Contents contents;
  if (Status status = scan(dir, db, contents.ledger); !status.ok()) {
    return status;
  }
  Result<StoredState> state = contents.ledger.finish();
  if (!state.ok()) {
    return with_advice(dir, state.status());
  }
  contents.state = std::move(*state);
  return contents;
}

Result<Contents> inspect(const StateDir& dir) {
  const Result<bool> has_history = find_history(dir);
  if (!has_history.ok()) {
    return has_history.status();
  }
  Result<std::unique_ptr<rocksdb::DB>> db = open_for_reading(dir);
  if (!db.ok()) {
    return db.status();
  }
  if (Status status = check_wal_present(dir, **db); !status.ok()) {
    return status;
  }
  Result<Contents> contents = read_all(dir, **db);
  if (contents.ok()) {
    contents->has_history = *has_history;
  }
  return contents;
}

Status check_unfinished(const StateDir& dir) {
  const Result<std::unique_ptr<rocksdb::DB>> db = open_for_reading(dir);
  if (!db.ok()) {
    return {};
  }
  Ledger ledger;
  const Status status = scan(dir, **db, ledger);
  if (!status.ok() || !ledger.untouched()) {
    return dir.damaged("the file FORMAT says that the store was never finished, but it holds records");
  }
  return {};
}

namespace {

// Writes what `from` holds to `to`; durable on return.
rocksdb::Status copy_records(rocksdb::DB& from, rocksdb::DB& to) {
  constexpr std::size_t kBatchBytes = 1u << 20;
  rocksdb::WriteBatch batch;
  rocksdb::Status status;
  const std::unique_ptr<rocksdb::Iterator> it(from.NewIterator({}));
  for (it->SeekToFirst(); it->Valid() && status.ok(); it->Next()) {
    status = batch.Put(it->key(), it->value());
    if (status.ok() && batch.GetDataSize() > kBatchBytes) {
      status = to.Write({}, &batch);
      batch.Clear();
    }
  }
  if (status.ok()) {
    status = it->status();
  }
  rocksdb::WriteOptions synced;
  synced.sync = true;
  return status.ok() ? to.Write(synced, &batch) : status;
}

}  // namespace

Status copy_state(const StateDir& dir, const std::string& path) {
  Result<std::unique_ptr<rocksdb::DB>> from = open_for_reading(dir);
  if (!from.ok()) {
    return from.status();
  }
  rocksdb::DB* raw = nullptr;
  rocksdb::Status status = rocksdb::DB::Open(options_for_writing(true), path, &raw);
  const std::unique_ptr<rocksdb::DB> to(raw);
  if (status.ok()) {
    status = copy_records(**from, *to);
  }
  if (!status.ok()) {
    return write_error(status);
  }
  const Result<Contents> copied = read_all(dir, *to);
  return copied.ok() ? Status() : copied.status();
}

}  // namespace limpet
