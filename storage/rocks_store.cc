#include "storage/rocks_store.h"

#include <rocksdb/db.h>
#include <rocksdb/iterator.h>
#include <rocksdb/options.h>
#include <rocksdb/write_batch.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <exception>
#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/ledger.h"
#include "storage/reserve.h"
#include "storage/rocks_history.h"
#include "storage/rocks_store_options.h"
#include "storage/state_dir.h"

namespace limpet {

namespace {

rocksdb::Slice slice(std::string_view bytes) {
  return {bytes.data(), bytes.size()};
}

class BatchSink : public Ledger::Sink {
 public:
  BatchSink(std::size_t changes, RocksHistory& history) : batch(kRoom * (changes + 1)), history_(history) {}
  void put(std::string_view key, std::string_view value) override { note(batch.Put(slice(key), slice(value))); }
  void erase(std::string_view key) override { note(batch.Delete(slice(key))); }
  void add_history(std::uint64_t event, std::string_view value) override { note(history_.add(batch, event, value)); }

  rocksdb::WriteBatch batch;
  rocksdb::Status status;

 private:
  void note(rocksdb::Status next) {
    if (status.ok()) {
      status = std::move(next);
    }
  }

  static constexpr std::size_t kRoom = 256;  // for a change, so that the batch seldom grows
  RocksHistory& history_;
};

// RocksDB takes only ENOSPC for "no space"; a full quota reaches us as its text.
bool is_full(const rocksdb::Status& status) {
  return status.IsNoSpace() || status.ToString().find(std::strerror(EDQUOT)) != std::string::npos;
}

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

struct Contents {
  Ledger ledger;
  StoredState state;
};

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

Result<std::unique_ptr<rocksdb::DB>> open_for_reading(const StateDir& dir) {
  rocksdb::DB* raw = nullptr;
  const rocksdb::Status status = rocksdb::DB::OpenForReadOnly(options_for_reading(), dir.db_path(), &raw);
  std::unique_ptr<rocksdb::DB> db(raw);
  if (!status.ok()) {
    return read_error(dir, status);
  }
  return db;
}

// Reads and checks everything; writes nothing.
Result<Contents> inspect(const StateDir& dir) {
  Result<std::unique_ptr<rocksdb::DB>> db = open_for_reading(dir);
  if (!db.ok()) {
    return db.status();
  }
  if (Status status = check_wal_present(dir, **db); !status.ok()) {
    return status;
  }
  return read_all(dir, **db);
}

// A first start that was cut off left at most an empty store behind. If there is more, FORMAT is not to be believed.
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

// RocksDB reports by Status, but memory can run out anywhere: nothing escapes as an exception.
template <typename Function>
auto guarded(Function function) -> decltype(function()) {
  try {
    return function();
  } catch (const std::exception& error) {
    return Status(Errc::io, std::string("the store failed: ") + error.what());
  }
}

}  // namespace

class RocksStore::Impl {
 public:
  Impl(StateDir dir, HistoryLimits limits)
      : dir_(std::move(dir)), path_(dir_.path()), reserve_(path_), history_(limits) {}
  ~Impl() { close(); }

  Status start();
  Result<StoredState> load();
  Status append(const Batch& batch, bool sync);
  Status reopen();
  Result<HistoryPage> history(const HistoryQuery& query);
  Reserve& reserve() { return reserve_; }
  const std::string& path() const { return path_; }

 private:
  Status create();
  Status open_existing();
  Status open_existing_with_reserve();
  Status open_for_writing(bool create);
  void close();
  Status closed() const { return Status(Errc::io, "the store in " + path_ + " is closed after an error"); }

  StateDir dir_;            // its lock outlives the database
  const std::string path_;  // for any thread
  Reserve reserve_;

  // Commit thread only.
  std::unique_ptr<rocksdb::DB> db_;  // null while closed
  RocksHistory history_;             // within db_
  Ledger ledger_;
  std::optional<StoredState> read_at_open_;  // for the first load(); gone once something is appended
  Status failed_;                            // why appends are refused until reopen()
};

Status RocksStore::Impl::start() {
  Status status = dir_.stage() == StateDir::Stage::ready ? open_existing_with_reserve() : create();
  if (status.ok() && !reserve_.low()) {
    reserve_.regain();
  }
  return status;
}

Status RocksStore::Impl::create() {
  if (dir_.stage() == StateDir::Stage::creating) {
    if (Status status = check_unfinished(dir_); !status.ok()) {
      return status;
    }
  }
  if (Status status = dir_.begin_creation(); !status.ok()) {
    return status;
  }
  if (Status status = open_for_writing(true); !status.ok()) {
    return status;
  }
  // From here on the record of last_seq is always there: if not, something was lost.
  if (Status status = append(Batch{}, true); !status.ok()) {
    return status;
  }
  return dir_.finish_creation();
}

Status RocksStore::Impl::open_existing() {
  Result<Contents> contents = inspect(dir_);
  if (!contents.ok()) {
    return contents.status();
  }
  ledger_ = std::move(contents->ledger);
  if (Status status = open_for_writing(false); !status.ok()) {
    return status;
  }
  read_at_open_ = std::move(contents->state);
  return {};
}

// Opening writes what the log holds into a table: on a full disk that takes the room kept back.
Status RocksStore::Impl::open_existing_with_reserve() {
  Status status = open_existing();
  if (status.code() == Errc::full && !reserve_.low()) {
    reserve_.give_up();
    status = open_existing();
  }
  return status;
}

Status RocksStore::Impl::open_for_writing(bool create) {
  const rocksdb::Options options = options_for_writing(create);
  const std::vector<rocksdb::ColumnFamilyDescriptor> families = {{rocksdb::kDefaultColumnFamilyName, options},
                                                                 history_.family()};
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* raw = nullptr;
  const rocksdb::Status status = rocksdb::DB::Open(options, dir_.db_path(), families, &handles, &raw);
  db_.reset(raw);
  if (!status.ok()) {
    db_.reset();
    return create ? write_error(status) : read_error(dir_, status);
  }
  (void)db_->DestroyColumnFamilyHandle(handles[0]);  // the database has its own
  history_.opened(*db_, handles[1]);
  return {};
}

void RocksStore::Impl::close() {
  read_at_open_.reset();
  if (db_) {
    history_.closing();
    // What it could still report is no news: everything acknowledged is on stable storage.
    (void)db_->Close();
    db_.reset();
  }
}

Result<StoredState> RocksStore::Impl::load() {
  if (!db_) {
    return closed();
  }
  if (read_at_open_) {
    Result<StoredState> state(std::move(*read_at_open_));
    read_at_open_.reset();
    return state;
  }
  Result<Contents> contents = read_all(dir_, *db_);
  if (!contents.ok()) {
    return contents.status();
  }
  ledger_ = std::move(contents->ledger);
  return std::move(contents->state);
}

Status RocksStore::Impl::append(const Batch& batch, bool sync) {
  if (!failed_.ok()) {
    return failed_;
  }
  // Until the write is known to have succeeded; also if memory runs out on the way.
  failed_ = closed();
  read_at_open_.reset();
  BatchSink sink(batch.changes.size(), history_);
  ledger_.apply(batch, sink);
  rocksdb::WriteOptions options;
  options.sync = sync;
  rocksdb::Status status = sink.status;
  if (status.ok()) {
    status = db_->Write(options, &sink.batch);
  }
  failed_ = status.ok() ? Status() : write_error(status);
  history_.tidy();
  return failed_;
}

Status RocksStore::Impl::reopen() {
  close();
  const bool full = failed_.code() == Errc::full;
  if (failed_.ok()) {
    failed_ = Status(Errc::io, "the store in " + path_ + " is closed");
  }
  if (Status status = dir_.still_there(); !status.ok()) {
    return status;
  }
  if (full && !reserve_.low()) {
    reserve_.give_up();
  }
  if (Status status = open_existing_with_reserve(); !status.ok()) {
    return status;
  }
  failed_ = Status();
  return {};
}

Result<HistoryPage> RocksStore::Impl::history(const HistoryQuery& query) {
  if (!db_) {
    return closed();
  }
  return history_.read(query);
}

RocksStore::RocksStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

RocksStore::~RocksStore() = default;

Result<std::unique_ptr<RocksStore>> RocksStore::open(const std::string& dir, HistoryLimits limits) {
  return guarded([&]() -> Result<std::unique_ptr<RocksStore>> {
    Result<StateDir> locked = StateDir::lock_for_writing(dir);
    if (!locked.ok()) {
      return locked.status();
    }
    auto impl = std::make_unique<Impl>(std::move(*locked), limits);
    if (Status status = impl->start(); !status.ok()) {
      return status;
    }
    return std::unique_ptr<RocksStore>(new RocksStore(std::move(impl)));
  });
}

Result<StoredState> RocksStore::read(const std::string& dir) {
  return guarded([&]() -> Result<StoredState> {
    const Result<StateDir> locked = StateDir::lock(dir);
    if (!locked.ok()) {
      return locked.status();
    }
    if (locked->stage() != StateDir::Stage::ready) {
      return Status(Errc::invalid, dir + " holds no limpet state");
    }
    Result<Contents> contents = inspect(*locked);
    if (!contents.ok()) {
      return contents.status();
    }
    return std::move(contents->state);
  });
}

Result<StoredState> RocksStore::load() {
  return guarded([&]() { return impl_->load(); });
}

Status RocksStore::append(const Batch& batch, bool sync) {
  return guarded([&]() { return impl_->append(batch, sync); });
}

Status RocksStore::reopen() {
  return guarded([&]() { return impl_->reopen(); });
}

bool RocksStore::low_on_space() const {
  return impl_->reserve().low();
}

void RocksStore::regain_space() {
  impl_->reserve().regain();
}

Result<HistoryPage> RocksStore::history(const HistoryQuery& query) {
  return guarded([&]() { return impl_->history(query); });
}

std::uint64_t RocksStore::bytes_on_disk() const {
  return StateDir::bytes_on_disk(impl_->path());
}

}  // namespace limpet
