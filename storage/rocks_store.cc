#include "storage/rocks_store.h"

#include <rocksdb/db.h>
#include <rocksdb/options.h>
#include <rocksdb/write_batch.h>

#include <chrono>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <string_view>
#include <utility>
#include <vector>

#include "storage/ledger.h"
#include "storage/log_key.h"
#include "storage/reserve.h"
#include "storage/rocks_history.h"
#include "storage/rocks_inspect.h"
#include "storage/rocks_store_options.h"
#include "storage/state_dir.h"

namespace limpet {

namespace {

rocksdb::Slice slice(std::string_view bytes) {
  return {bytes.data(), bytes.size()};
}

// One append in the making.
class Draft : public Ledger::Sink {
 public:
  explicit Draft(RocksHistory& history) : history_(&history) {}

  // First of all. `mark`: says that all before it is synced (see log_end.h), or empty.
  void begin(std::string_view mark) {
    begun_ = true;
    if (!mark.empty()) {
      note(batch_.PutLogData(slice(mark)));
    }
  }
  bool begun() const { return begun_; }
  std::size_t size() const { return batch_.GetDataSize(); }
  void put(std::string_view key, std::string_view value) override { note(batch_.Put(slice(key), slice(value))); }
  void erase(std::string_view key) override { note(batch_.Delete(slice(key))); }
  void add_history(std::uint64_t event, std::string_view value) override { note(history_->add(batch_, event, value)); }

  // It is not whole, because memory ran out: it cannot be written.
  void spoil(std::string_view why) { note(rocksdb::Status::IOError(slice(why))); }
  rocksdb::Status write_to(rocksdb::DB& db, bool sync) {
    rocksdb::WriteOptions options;
    options.sync = sync;
    return status_.ok() ? db.Write(options, &batch_) : status_;
  }
  // Its memory serves again, unless it has become large.
  void clear() {
    constexpr std::size_t kKept = 256u << 10;
    begun_ = false;
    status_ = rocksdb::Status();
    if (batch_.Data().capacity() > kKept) {
      batch_ = rocksdb::WriteBatch();
    } else {
      batch_.Clear();
    }
  }

 private:
  void note(rocksdb::Status next) {
    if (status_.ok()) {
      status_ = std::move(next);
    }
  }

  RocksHistory* history_;
  rocksdb::WriteBatch batch_;
  rocksdb::Status status_;
  bool begun_ = false;
};

// An append in the making takes nothing further once it holds this much.
constexpr std::size_t kMostPrepared = 4u << 20;

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
  bool prepare(const Batch& batch);
  void seal(bool sync);
  Status write();
  Status reopen();
  Result<HistoryPage> history(const HistoryQuery& query);
  Reserve& reserve() { return reserve_; }
  const std::string& path() const { return path_; }
  const Histogram& sync_times() const { return sync_times_; }

 private:
  Status create();
  Status open_existing();
  Status open_existing_with_reserve();
  rocksdb::Status open_for_writing(bool create);
  Status take_log_key();
  Status leave_history_behind(const std::string& why);
  Status note_gap();
  Status append(const Batch& batch);
  void close();
  Status closed() const { return Status(Errc::io, "the store in " + path_ + " is closed after an error"); }

  StateDir dir_;            // its lock outlives the database
  const std::string path_;  // for any thread
  Reserve reserve_;
  Histogram sync_times_;

  // Changed by the commit thread under db_mutex_, which who reads the history holds meanwhile.
  std::mutex db_mutex_;
  std::unique_ptr<rocksdb::DB> db_;  // null while closed
  RocksHistory history_;             // within db_

  // Commit thread only.
  Draft sealed_{history_};
  bool sealed_sync_ = false;
  std::optional<StoredState> read_at_open_;  // for the first load(); gone once something is appended
  Status failed_;                            // why appends are refused until reopen()
  rocksdb::Status corrupt_;                  // what RocksDB found damaged while it ran
  std::string gap_;                          // why the history was begun anew, until it says so itself

  // Whoever prepares.
  Ledger ledger_;  // of all that was prepared
  Draft draft_{history_};
  std::optional<LogKey> log_key_;  // while the database is open
  std::uint64_t mark_number_ = 0;  // of the newest append
  bool all_synced_ = true;  // what was sealed before is on stable storage, or will be before the draft is written
};

Status RocksStore::Impl::start() {
  Status status = dir_.stage() == StateDir::Stage::ready ? open_existing_with_reserve() : create();
  if (status.ok()) {
    status = note_gap();
  }
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
  if (const rocksdb::Status opened = open_for_writing(true); !opened.ok()) {
    return write_error(opened);
  }
  if (Status status = take_log_key(); !status.ok()) {
    return status;
  }
  // From here on the record of last_seq is always there: if not, something was lost.
  if (Status status = append(Batch{}); !status.ok()) {
    return status;
  }
  return dir_.finish_creation();
}

Status RocksStore::Impl::open_existing() {
  Result<Contents> contents = inspect(dir_);
  if (!contents.ok()) {
    return contents.status();
  }
  dir_.discard_replacement();
  ledger_ = std::move(contents->ledger);
  // The state is whole. What RocksDB takes offence at, now or in the run before this reopening, is the history.
  const rocksdb::Status opened = corrupt_.ok() ? open_for_writing(false) : corrupt_;
  Status status = opened.ok() ? Status() : read_error(dir_, opened);
  if (status.code() == Errc::damaged && contents->has_history) {
    status = leave_history_behind(opened.ToString());
  }
  if (status.ok()) {
    status = take_log_key();
  }
  if (!status.ok()) {
    close();
    return status;
  }
  corrupt_ = rocksdb::Status();
  read_at_open_ = std::move(contents->state);
  return {};
}

// No registration is given up for the sake of a history: a database with the state alone takes the place of this one.
Status RocksStore::Impl::leave_history_behind(const std::string& why) {
  const Result<std::string> path = dir_.begin_replacement();
  Status status = path.ok() ? copy_state(dir_, *path) : path.status();
  if (status.ok()) {
    status = dir_.finish_replacement();
  }
  if (!status.ok()) {
    dir_.discard_replacement();
    return status.code() == Errc::full ? status : dir_.damaged(why + " (" + status.message() + ")");
  }
  gap_ = why;
  const rocksdb::Status opened = open_for_writing(false);
  return opened.ok() ? Status() : read_error(dir_, opened);
}

// Says in the history that its beginning is missing.
Status RocksStore::Impl::note_gap() {
  if (gap_.empty()) {
    return {};
  }
  HistoryEntry entry;
  entry.event = ledger_.last_event() + 1;
  entry.last_seq = ledger_.last_seq();
  entry.time =
      std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count();
  entry.what = Happening::history_gap;
  entry.why = "what was there before was damaged on disk and is left behind: " + std::exchange(gap_, {});
  return append({{}, {AddHistory{std::move(entry)}}});
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

rocksdb::Status RocksStore::Impl::open_for_writing(bool create) {
  const rocksdb::Options options = options_for_writing(create);
  const std::vector<rocksdb::ColumnFamilyDescriptor> families = {{rocksdb::kDefaultColumnFamilyName, options},
                                                                 history_.family()};
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* raw = nullptr;
  rocksdb::Status status = rocksdb::DB::Open(options, dir_.db_path(), families, &handles, &raw);
  if (status.ok()) {
    const std::lock_guard lock(db_mutex_);
    db_.reset(raw);
    all_synced_ = true;                                // what the logs held is in tables now
    (void)db_->DestroyColumnFamilyHandle(handles[0]);  // the database has its own
    history_.opened(*db_, handles[1]);
  }
  return status;
}

// Only once the logs that were there are read and in tables: where the key is missing, an older limpet wrote them.
Status RocksStore::Impl::take_log_key() {
  auto found = LogKey::read(dir_.db_path());
  if (!found.ok()) {
    return found.status();
  }
  log_key_ = *found;
  if (!log_key_) {
    const auto made = LogKey::make(dir_.db_path());
    if (!made.ok()) {
      return made.status();
    }
    log_key_ = *made;
  }
  // The log is a new one, and its marks are to be like those of no other.
  mark_number_ = (std::uint64_t{std::random_device{}()} << 32) | std::random_device{}();
  return {};
}

void RocksStore::Impl::close() {
  read_at_open_.reset();
  const std::lock_guard lock(db_mutex_);
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

bool RocksStore::Impl::prepare(const Batch& batch) {
  if (!draft_.begun()) {
    draft_.begin(all_synced_ && log_key_ ? log_key_->mark(++mark_number_) : std::string());
  }
  if (draft_.size() >= kMostPrepared) {
    return false;
  }
  try {
    ledger_.apply(batch, draft_);
  } catch (const std::exception& error) {
    draft_.spoil(error.what());
  }
  return true;
}

void RocksStore::Impl::seal(bool sync) {
  try {
    ledger_.close(draft_);
  } catch (const std::exception& error) {
    draft_.spoil(error.what());
  }
  std::swap(draft_, sealed_);
  draft_.clear();  // if what was sealed before was never written
  sealed_sync_ = sync;
  all_synced_ = sync;
}

Status RocksStore::Impl::write() {
  if (!failed_.ok()) {
    return failed_;
  }
  // Until the write is known to have succeeded; also if memory runs out on the way.
  failed_ = closed();
  read_at_open_.reset();
  const auto began = std::chrono::steady_clock::now();
  const rocksdb::Status status = sealed_.write_to(*db_, sealed_sync_);
  if (status.ok()) {
    if (sealed_sync_) {
      sync_times_.observe(std::chrono::steady_clock::now() - began);
    }
    sealed_.clear();
    failed_ = Status();
    history_.tidy();
    return {};
  }
  if (status.IsCorruption()) {
    corrupt_ = status;
  }
  failed_ = write_error(status);
  return failed_;
}

Status RocksStore::Impl::append(const Batch& batch) {
  (void)prepare(batch);  // nothing else was, so there is room
  seal(true);
  return write();
}

Status RocksStore::Impl::reopen() {
  close();
  const bool full = failed_.code() == Errc::full;
  if (failed_.ok()) {
    failed_ = Status(Errc::io, "the store in " + path_ + " is closed");
  }
  draft_.clear();
  sealed_.clear();
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
  return note_gap();
}

Result<HistoryPage> RocksStore::Impl::history(const HistoryQuery& query) {
  const std::lock_guard lock(db_mutex_);
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

bool RocksStore::prepare(const Batch& batch) {
  return impl_->prepare(batch);
}

void RocksStore::seal(bool sync) {
  impl_->seal(sync);
}

Status RocksStore::write() {
  return guarded([&]() { return impl_->write(); });
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

const Histogram& RocksStore::sync_times() const {
  return impl_->sync_times();
}

}  // namespace limpet
