#include "storage/rocks_history.h"

#include <rocksdb/iterator.h>
#include <rocksdb/metadata.h>
#include <rocksdb/options.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <ctime>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "storage/frame.h"
#include "storage/history_page.h"
#include "storage/rocks_store_options.h"

namespace limpet {

namespace {

std::string key_of(std::uint64_t event) {
  std::string key;
  frame::append_big_endian(key, event);
  return key;
}

std::uint64_t event_of(std::string_view key) {
  return key.size() == sizeof(std::uint64_t) ? frame::read_big_endian(key) : 0;
}

std::string_view view(const rocksdb::Slice& slice) {
  return {slice.data(), slice.size()};
}

Status unreadable(const std::string& why, Errc code) {
  return Status(code, "a part of the history cannot be read: " + why);
}

}  // namespace

rocksdb::ColumnFamilyDescriptor RocksHistory::family() const {
  return {kHistoryFamily, options_for_history(limits_)};
}

void RocksHistory::opened(rocksdb::DB& db, rocksdb::ColumnFamilyHandle* handle) {
  db_ = &db;
  handle_ = handle;
  next_tidy_ = {};
  tidy();
}

void RocksHistory::closing() {
  if (handle_ != nullptr) {
    (void)db_->DestroyColumnFamilyHandle(handle_);
  }
  handle_ = nullptr;
  db_ = nullptr;
}

rocksdb::Status RocksHistory::add(rocksdb::WriteBatch& batch, std::uint64_t event, std::string_view value) {
  return batch.Put(handle_, key_of(event), {value.data(), value.size()});
}

// ---- Reading

Result<HistoryPage> RocksHistory::read(const HistoryQuery& query) const {
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(options, handle_));
  HistoryPageBuilder page(query);
  if (Status status = scan(query, *it, page); !status.ok()) {
    return status;
  }
  if (!it->status().ok()) {
    return unreadable(it->status().ToString(), it->status().IsCorruption() ? Errc::damaged : Errc::io);
  }
  HistoryPage result = page.finish();
  result.oldest_event = oldest_event();
  return result;
}

Status RocksHistory::scan(const HistoryQuery& query, rocksdb::Iterator& it, HistoryPageBuilder& page) const {
  constexpr std::uint64_t kEnd = std::numeric_limits<std::uint64_t>::max();
  if (query.newest_first && query.before_event == 0) {
    it.SeekToLast();
  } else if (query.newest_first) {
    it.SeekForPrev(key_of(query.before_event - 1));
  } else if (query.after_event != kEnd) {
    it.Seek(key_of(query.after_event + 1));
  }
  while (it.Valid()) {
    Result<HistoryEntry> entry = decode_history_entry(view(it.value()));
    const bool shown = entry.status().code() != Errc::newer_format;
    if (shown && !entry.ok()) {
      return unreadable(entry.status().message(), Errc::damaged);
    }
    if (shown ? !page.offer(std::move(*entry)) : !page.pass_over(event_of(view(it.key())))) {
      return {};
    }
    query.newest_first ? it.Prev() : it.Next();
  }
  return {};
}

// By what RocksDB knows of its tables, so that none is read for it: what is in memory is younger than all of them.
std::uint64_t RocksHistory::oldest_event() const {
  rocksdb::ColumnFamilyMetaData family;
  db_->GetColumnFamilyMetaData(handle_, &family);
  std::uint64_t oldest = 0;
  for (const rocksdb::LevelMetaData& level : family.levels) {
    for (const rocksdb::SstFileMetaData& table : level.files) {
      const std::uint64_t event = event_of(table.smallestkey);
      oldest = oldest == 0 ? event : std::min(oldest, event);
    }
  }
  if (oldest == 0) {
    const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator({}, handle_));
    it->SeekToFirst();
    oldest = it->Valid() ? event_of(view(it->key())) : 0;
  }
  return oldest;
}

// ---- Letting go

void RocksHistory::tidy() {
  const auto now = std::chrono::steady_clock::now();
  if (now < next_tidy_) {
    return;
  }
  // A table holds at most what came in between two of these, so that its entries are about of one age.
  next_tidy_ = now + std::chrono::seconds(limits_.max_age_s / 8);
  rocksdb::FlushOptions flush;
  flush.wait = false;
  (void)db_->Flush(flush, handle_);
  drop_aged(std::time(nullptr));
}

// Drops each table whose successor was already begun longer ago than the limit: all that it holds is older than that.
void RocksHistory::drop_aged(std::int64_t now_s) {
  rocksdb::ColumnFamilyMetaData family;
  db_->GetColumnFamilyMetaData(handle_, &family);
  std::vector<rocksdb::SstFileMetaData> tables = family.levels.at(0).files;  // newest first
  while (tables.size() > 1) {
    const auto begun = static_cast<std::int64_t>(tables[tables.size() - 2].oldest_ancester_time);
    if (begun == 0 || begun >= now_s - limits_.max_age_s || !db_->DeleteFile(tables.back().name).ok()) {
      return;
    }
    tables.pop_back();
  }
}

}  // namespace limpet
