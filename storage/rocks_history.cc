#include "storage/rocks_history.h"

#include <rocksdb/iterator.h>
#include <rocksdb/metadata.h>
#include <rocksdb/options.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <ctime>
#include <string>
#include <utility>
#include <vector>

#include "storage/frame.h"
#include "storage/history_pack.h"
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

// Whether the query's page may begin with this event, or have it further on.
bool within(const HistoryQuery& query, std::uint64_t event) {
  return query.newest_first ? query.before_event == 0 || event < query.before_event : event > query.after_event;
}

// To the value in which the page begins. What lies at a key goes from that event on, for all that is known here.
void seek(const HistoryQuery& query, rocksdb::Iterator& it) {
  if (query.newest_first && query.before_event == 0) {
    return it.SeekToLast();
  }
  it.SeekForPrev(key_of(query.newest_first ? query.before_event - 1 : query.after_event));
  if (!query.newest_first && !it.Valid() && it.status().ok()) {
    it.SeekToFirst();
  }
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

rocksdb::Status RocksHistory::add(rocksdb::WriteBatch& batch, std::uint64_t first_event, std::string_view value) {
  return batch.Put(handle_, key_of(first_event), {value.data(), value.size()});
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
  seek(query, it);
  for (; it.Valid(); query.newest_first ? it.Prev() : it.Next()) {
    Result<std::vector<StoredEntry>> entries = decode_history(event_of(view(it.key())), view(it.value()));
    if (!entries.ok()) {
      return unreadable(entries.status().message(), Errc::damaged);
    }
    if (query.newest_first) {
      std::reverse(entries->begin(), entries->end());
    }
    for (StoredEntry& stored : *entries) {
      if (!within(query, stored.event)) {
        continue;
      }
      if (stored.entry ? !page.offer(std::move(*stored.entry)) : !page.pass_over(stored.event)) {
        return {};
      }
    }
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
// The age of a table that was begun before this program existed, or at no known time, is unknown: a host without a
// clock of its own begins in 1970. Its successor then says how old it is at least.
void RocksHistory::drop_aged(std::int64_t now_s) {
  constexpr std::int64_t kFirstPossibleS = 1'704'067'200;  // 2024
  rocksdb::ColumnFamilyMetaData family;
  db_->GetColumnFamilyMetaData(handle_, &family);
  std::vector<rocksdb::SstFileMetaData> tables = family.levels.at(0).files;  // newest first
  const auto begun = [](const rocksdb::SstFileMetaData& table) {
    return static_cast<std::int64_t>(table.oldest_ancester_time);
  };
  while (tables.size() > 1) {
    const auto successor = std::find_if(tables.rbegin() + 1, tables.rend(),
                                        [&](const auto& table) { return begun(table) >= kFirstPossibleS; });
    if (successor == tables.rend() || begun(*successor) >= now_s - limits_.max_age_s ||
        !db_->DeleteFile(tables.back().name).ok()) {
      return;
    }
    tables.pop_back();
  }
}

}  // namespace limpet
