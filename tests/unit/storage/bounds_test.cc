// What must not grow: the time to load, the files, and RocksDB's own logs, however long the store is used.
#include <gtest/gtest.h>
#include <rocksdb/perf_context.h>
#include <rocksdb/perf_level.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "fixtures.h"
#include "storage/rocks_store.h"

namespace limpet::test {
namespace {

// The tombstones and overwritten values that a load steps over.
std::uint64_t skipped_by_load(RocksStore& store) {
  rocksdb::SetPerfLevel(rocksdb::kEnableCount);
  rocksdb::get_perf_context()->Reset();
  EXPECT_TRUE(store.load().ok());
  rocksdb::SetPerfLevel(rocksdb::kDisable);
  return rocksdb::get_perf_context()->internal_delete_skipped_count +
         rocksdb::get_perf_context()->internal_key_skipped_count;
}

TEST(Bounds, LoadAfterManyErasuresReadsFewTombstones) {
  constexpr std::uint64_t kCycles = 300000;
  constexpr std::uint64_t kPerBatch = 500;
  TempDir temp;
  const std::string dir = temp.path("state");
  auto opened = RocksStore::open(dir);
  ASSERT_TRUE(opened.ok());
  RocksStore& store = **opened;
  std::uint64_t most_bytes = 0;
  for (std::uint64_t seq = 0; seq < kCycles;) {
    // Written in one batch and erased in the next: in one and the same, neither would reach the disk.
    Batch made;
    Batch erased;
    for (std::uint64_t i = 0; i < kPerBatch; ++i) {
      ++seq;
      made.changes.emplace_back(PutRegistration{sample_registration(seq)});
      made.changes.emplace_back(PutRemoval{sample_removal(seq)});
      erased.changes.emplace_back(EraseRegistration{sample_id(seq)});
      erased.changes.emplace_back(EraseRemoval{Seq{seq}});
    }
    ASSERT_TRUE(store.append(made, false).ok());
    ASSERT_TRUE(store.append(erased, false).ok());
    most_bytes = std::max(most_bytes, store.bytes_on_disk());
  }
  ASSERT_TRUE(store.append(register_batch(kCycles + 1), true).ok());

  const auto state = store.load();
  ASSERT_TRUE(state.ok()) << state.status().message();
  EXPECT_EQ(state->last_seq, Seq{kCycles + 1});
  EXPECT_EQ(seqs(*state), std::vector<std::uint64_t>{kCycles + 1});
  // RocksDB takes tombstones away in its own time, on threads that give way to others.
  EXPECT_TRUE(eventually([&] { return skipped_by_load(store) < kCycles / 2; }, [] {}));
  EXPECT_LT(most_bytes, 64u << 20);
}

TEST(Bounds, ManyStartsLeaveFewFiles) {
  TempDir temp;
  const std::string dir = temp.path("state");
  std::uint64_t bytes = 0;
  for (std::uint64_t start = 1; start <= 60; ++start) {
    auto store = RocksStore::open(dir);
    ASSERT_TRUE(store.ok()) << store.status().message();
    ASSERT_TRUE((*store)->append(register_batch(start), true).ok());
    bytes = (*store)->bytes_on_disk();
  }
  EXPECT_LE(db_files(dir, "LOG", "").size(), 0u);
  EXPECT_LE(db_files(dir, "", ".log").size(), 2u);
  EXPECT_LE(db_files(dir, "MANIFEST", "").size(), 2u);
  EXPECT_LE(db_files(dir, "OPTIONS", "").size(), 0u);
  EXPECT_LE(db_files(dir, "", ".sst").size(), 20u);
  EXPECT_LT(bytes, 1u << 20);
  EXPECT_EQ(seqs(*RocksStore::read(dir)), up_to(60));
}

TEST(Bounds, OverwritingOneRegistrationDoesNotFillTheDisk) {
  TempDir temp;
  auto opened = RocksStore::open(temp.path("state"));
  ASSERT_TRUE(opened.ok());
  RocksStore& store = **opened;
  Registration registration = sample_registration(1);
  registration.data.assign(500000, 'x');
  std::uint64_t most_bytes = 0;
  for (std::uint64_t seq = 1; seq <= 300; ++seq) {
    registration.seq = Seq{seq};
    ASSERT_TRUE(store.append({Seq{seq}, {PutRegistration{registration}}}, false).ok());
    most_bytes = std::max(most_bytes, store.bytes_on_disk());
  }
  EXPECT_LT(most_bytes, 64u << 20);
  EXPECT_EQ(store.load()->registrations.at(0), registration);
}

// The logs of this are made of logs that are no longer needed (rocks_log.h): nothing of those shows through.
TEST(Bounds, LogsThatAreUsedAgainHoldWhatWasWrittenLast) {
  TempDir temp;
  const std::string dir = temp.path("state");
  auto store = RocksStore::open(dir);
  ASSERT_TRUE(store.ok());
  Registration registration = sample_registration(1);
  bool spare_seen = false;
  for (std::uint64_t seq = 1; seq <= 1'000; ++seq) {
    registration.seq = Seq{seq};
    registration.data.assign(100'000, static_cast<char>('a' + seq % 26));
    ASSERT_TRUE((*store)->append({Seq{seq}, {PutRegistration{registration}}}, seq % 10 == 0).ok());
    spare_seen = spare_seen || !db_files(dir, "", ".spare").empty();
    if (seq % 290 == 0) {
      store->reset();  // leaves what was appended last in the log
      store = RocksStore::open(dir);
      ASSERT_TRUE(store.ok()) << store.status().message();
      EXPECT_EQ((*store)->load()->registrations.at(0), registration);
    }
  }
  EXPECT_TRUE(spare_seen);
}

}  // namespace
}  // namespace limpet::test
