// The store's own logs after a crash: copied while the store is open, as kill -9 leaves them, with sectors of what was
// not synced put back to zeros, as a power cut does. What was acknowledged is there and the store opens without help;
// damage to what was synced is refused.
#include <gtest/gtest.h>
#include <rocksdb/db.h>

#include <random>
#include <set>

#include "fixtures.h"
#include "log_bytes.h"
#include "storage/log_key.h"
#include "storage/rocks_store.h"

namespace limpet::test {
namespace {

// Registration `seq` with `size` bytes of data.
Batch sized_batch(std::uint64_t seq, std::size_t size) {
  Registration registration = sample_registration(seq);
  registration.data.assign(size, static_cast<char>('a' + seq % 26));
  return {Seq{seq}, {PutRegistration{std::move(registration)}}};
}

class LogRecovery : public ::testing::Test {
 protected:
  LogRecovery() { start(); }

  void start() {
    auto store = RocksStore::open(live());
    ASSERT_TRUE(store.ok()) << store.status().message();
    store_ = std::move(*store);
  }
  void append(std::uint64_t first, std::uint64_t last, bool sync, std::size_t size = 100) {
    for (std::uint64_t seq = first; seq <= last; ++seq) {
      ASSERT_TRUE(store_->append(sized_batch(seq, size), sync).ok());
    }
  }
  std::string live() const { return temp_.path("live"); }
  std::string copy() const { return temp_.path("copy"); }
  std::string log_of(const std::string& dir) const {
    const auto logs = db_files(dir, "", ".log");
    EXPECT_EQ(logs.size(), 1u);
    return logs.at(0);
  }
  std::string log() const { return read_file(log_of(live())); }

  // The directory as it is now, without a word to the store; with `log` in place of its log.
  void crash() { copy_state(live(), copy()); }
  void crash(const std::string& log) {
    crash();
    write_file(log_of(copy()), log);
  }
  // What of the copy is there when it is opened.
  std::vector<std::uint64_t> reopened() {
    auto store = RocksStore::open(copy());
    EXPECT_TRUE(store.ok()) << store.status().message();
    if (!store.ok()) {
      return {};
    }
    const auto state = (*store)->load();
    EXPECT_TRUE(state.ok());
    const auto found = seqs(*state);
    // It goes on from there.
    EXPECT_TRUE((*store)->append(register_batch(state->last_seq.value + 1), true).ok());
    return found;
  }
  void expect_refused() {
    const Picture before = picture_of(copy());
    const auto store = RocksStore::open(copy());
    ASSERT_FALSE(store.ok());
    EXPECT_EQ(store.status().code(), Errc::damaged) << store.status().message();
    EXPECT_EQ(changed(before, picture_of(copy())), std::vector<std::string>{});
    EXPECT_EQ(RocksStore::read(copy()).status().code(), Errc::damaged);
  }

  TempDir temp_;
  std::unique_ptr<RocksStore> store_;
};

TEST_F(LogRecovery, AfterAKillZerosStandBehindTheLogAndAllIsThere) {
  for (std::uint64_t seq = 1; seq < 400; seq += 40) {
    append(seq, seq + 39, seq % 3 != 0, seq * 10);
    crash();
    const std::string bytes = log();
    EXPECT_LT(written_end(bytes).value(), bytes.size());
    const auto offline = RocksStore::read(copy());
    ASSERT_TRUE(offline.ok()) << offline.status().message();
    EXPECT_EQ(seqs(*offline), up_to(seq + 39));
    EXPECT_EQ(reopened(), up_to(seq + 39));
  }
}

TEST_F(LogRecovery, SeveralLivesInARow) {
  append(1, 20, true);
  for (std::uint64_t life = 1; life <= 6; ++life) {
    crash();
    store_.reset();
    std::filesystem::remove_all(live());
    std::filesystem::rename(copy(), live());
    start();
    EXPECT_EQ(seqs(*store_->load()), up_to(20 * life));
    append(20 * life + 1, 20 * (life + 1), true);
  }
}

TEST_F(LogRecovery, ACleanCloseCutsTheLog) {
  append(1, 50, true);
  const std::string bytes = log();
  store_.reset();
  EXPECT_EQ(log(), bytes.substr(0, written_end(bytes).value()));
}

TEST_F(LogRecovery, EverySubsetOfTheSectorsOfTheLastAppend) {
  append(1, 60, true);
  const std::string before = log();
  append(61, 61, true, 2500);
  const std::string after = log();
  std::string none = after;
  const std::size_t changed = tear(none, before, [](std::size_t) { return false; });
  ASSERT_EQ(none, before);
  ASSERT_GE(changed, 6u);
  ASSERT_LE(changed, 8u);
  const unsigned all = (1u << changed) - 1;
  for (unsigned kept = 0; kept <= all; ++kept) {
    SCOPED_TRACE("sectors kept: " + std::to_string(kept));
    std::string torn = after;
    tear(torn, before, [&](std::size_t k) { return (kept >> k & 1) != 0; });
    crash(torn);
    EXPECT_EQ(reopened(), up_to(kept == all ? 61 : 60));
  }
}

// The mark of an older limpet, in a whole record of 22 bytes: a caller's data.
TEST_F(LogRecovery, AnOldMarkInTheDataIsNotTakenForDamageHoweverTheAppendIsTorn) {
  LogBytes record;
  record.add(std::string(12, '\0') + "\3\1s");
  ASSERT_EQ(record.size(), 22u);
  Registration registration = sample_registration(11);
  for (std::size_t i = 0; registration.data.size() < 2500; ++i) {
    registration.data.append(record.bytes()).append(1 + i % 7, 'x');
  }
  append(1, 10, true);
  const std::string before = log();
  ASSERT_TRUE(store_->append({Seq{11}, {PutRegistration{registration}}}, true).ok());
  const std::string after = log();
  const std::size_t begin = written_end(before).value();
  const std::size_t end = written_end(after).value();
  for (std::size_t size = begin; size < end; size += 61) {
    SCOPED_TRACE("cut at " + std::to_string(size));
    crash(after.substr(0, size));
    EXPECT_EQ(reopened(), up_to(10));
  }
  for (std::size_t lost = 0; lost < (end - begin) / kDiskSector; ++lost) {
    SCOPED_TRACE("sector " + std::to_string(lost));
    std::string torn = after;
    tear(torn, before, [&](std::size_t k) { return k != lost; });
    crash(torn);
    EXPECT_EQ(reopened(), up_to(10));
  }
  crash(after);
  EXPECT_EQ(reopened(), up_to(11));
}

TEST_F(LogRecovery, NoTwoAppendsHaveTheSameMarkAndEachStartHasOthers) {
  std::set<std::string> marks;
  std::size_t appends = 0;
  for (int life = 0; life < 3; ++life) {
    append(10 * life + 1, 10 * life + 10, true);
    for (const std::string& record : records_of(log())) {
      ASSERT_EQ(record.substr(12, 2), std::string("\3\x10"));
      marks.insert(record.substr(14, LogKey::kMarkSize));
      ++appends;
    }
    store_.reset();
    start();
  }
  EXPECT_EQ(marks.size(), appends);
  EXPECT_GE(appends, 30u);
}

TEST_F(LogRecovery, WithoutTheKeyAWholeLogOpensAndATornOneIsRefused) {
  append(1, 10, true);
  const std::string before = log();
  append(11, 11, true, 2500);
  for (const bool garbled : {false, true}) {
    SCOPED_TRACE(garbled);
    const auto lose_key = [&] {
      std::filesystem::remove(copy() + "/db/KEY");
      if (garbled) {
        write_file(copy() + "/db/KEY", std::string(20, 'x'));
      }
    };
    crash();
    lose_key();
    EXPECT_EQ(reopened(), up_to(11));
    EXPECT_TRUE(LogKey::read(copy() + "/db")->has_value());
    std::string torn = log();
    tear(torn, before, [](std::size_t k) { return k != 1; });
    crash(torn);
    lose_key();
    expect_refused();
    EXPECT_NE(RocksStore::read(copy()).status().message().find("KEY"), std::string::npos);
  }
}

TEST_F(LogRecovery, TheKeyIsPrivateAndStays) {
  const std::string path = live() + "/db/KEY";
  const std::string key = read_file(path);
  EXPECT_EQ(key.size(), 20u);
  EXPECT_EQ(std::filesystem::status(path).permissions() & std::filesystem::perms::all,
            std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  store_.reset();
  start();
  EXPECT_EQ(read_file(path), key);
}

TEST_F(LogRecovery, SomeSectorsOfSeveralAppendsThatWereNotSynced) {
  std::mt19937 random(5);
  append(1, 60, true);
  const std::string before = log();
  append(61, 64, false, 1000);
  append(65, 65, false, 70'000);
  append(66, 68, false);
  append(69, 69, true);  // not acknowledged: the cut comes before its sync ends
  const std::string after = log();
  for (int round = 0; round < 60; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    std::string torn = after;
    tear(torn, before, [&](std::size_t) { return random() % 16 >= static_cast<unsigned>(round % 8); });
    // The file may have become shorter, too, as long as it was not filled that far at the last sync.
    if (round % 3 == 0) {
      torn.resize(before.size() + random() % (after.size() - before.size() + 1));
    }
    crash(torn);
    const auto found = reopened();
    EXPECT_GE(found.size(), 60u);
    EXPECT_EQ(found, up_to(found.size()));
  }
}

TEST_F(LogRecovery, ABitFlippedInWhatWasSyncedIsRefused) {
  append(1, 100, true);
  const std::string bytes = log();
  const std::size_t end = written_end(bytes).value();
  for (std::size_t at = 3; at + 300 < end; at += 509) {
    SCOPED_TRACE("byte " + std::to_string(at));
    std::string flipped = bytes;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x10);
    crash(flipped);
    expect_refused();
  }
}

TEST_F(LogRecovery, ASectorLostOfWhatWasSyncedIsRefused) {
  append(1, 100, true);
  append(101, 101, true, 3000);
  append(102, 102, true);
  const std::string bytes = log();
  const std::size_t end = written_end(bytes).value();
  // But not of the last append: that could be torn.
  for (std::size_t at = 0; at + 512 + 400 < end; at += 1024) {
    SCOPED_TRACE("byte " + std::to_string(at));
    std::string lost = bytes;
    lost.replace(at, 512, 512, '\0');
    crash(lost);
    expect_refused();
  }
}

// Two logs: the account in Meta finds what is missing in between.
TEST_F(LogRecovery, ATornRecordInFrontOfANewerLogIsRefused) {
  append(1, 100, true);
  const std::string bytes = log();
  const auto records = records_of(bytes);
  ASSERT_GT(records.size(), 100u);
  const auto with_two_logs = [&](bool torn) {
    LogBytes first;
    LogBytes second;
    std::size_t last = 0;
    for (std::size_t i = 0; i < records.size(); ++i) {
      if (i < 60) {
        last = first.add(records[i]);
      } else {
        second.add(records[i]);
      }
    }
    std::string older = first.bytes();
    if (torn) {
      older.resize(last);
    }
    older.append(4096, '\0');
    crash(older);
    write_file(copy() + "/db/900000.log", second.bytes() + std::string(4096, '\0'));
  };
  with_two_logs(false);
  EXPECT_EQ(reopened(), up_to(100));
  with_two_logs(true);
  expect_refused();
}

// Everything in the store as RocksDB's own files show it, to a program that knows nothing of rocks_log.h.
rocksdb::Status read_by_rocksdb_alone(const std::string& dir, std::size_t& count) {
  rocksdb::Options options;
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  rocksdb::DB* raw = nullptr;
  rocksdb::Status status = rocksdb::DB::OpenForReadOnly(options, dir + "/db", &raw);
  const std::unique_ptr<rocksdb::DB> db(raw);
  count = 0;
  if (status.ok()) {
    const std::unique_ptr<rocksdb::Iterator> it(db->NewIterator({}));
    for (it->SeekToFirst(); it->Valid(); it->Next()) {
      count += it->key().starts_with("R") ? 1 : 0;
    }
    status = it->status();
  }
  return status;
}

TEST_F(LogRecovery, AnOlderLimpetReadsWhatAKillLeaves) {
  std::size_t count = 0;
  for (std::uint64_t seq = 1; seq < 200; seq += 10) {
    append(seq, seq + 9, true, seq * 20);
    crash();
    ASSERT_TRUE(read_by_rocksdb_alone(copy(), count).ok());
    EXPECT_EQ(count, seq + 9);
  }
}

// Why the log is shown to RocksDB only up to where the writing ended.
TEST_F(LogRecovery, RocksDBAloneTakesATornOverwriteForDamage) {
  append(1, 60, true);
  const std::string before = log();
  append(61, 61, true, 2500);
  std::string torn = log();
  tear(torn, before, [](std::size_t k) { return k != 2; });
  crash(torn);
  std::size_t count = 0;
  EXPECT_TRUE(read_by_rocksdb_alone(copy(), count).IsCorruption());
  EXPECT_EQ(reopened(), up_to(60));
}

}  // namespace
}  // namespace limpet::test
