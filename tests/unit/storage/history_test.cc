// The history: pages in both directions, what bounds it, and that its loss never costs a registration.
#include <gtest/gtest.h>

#include <limits>

#include "fixtures.h"
#include "open_ok.h"
#include "storage/rocks_store.h"
#include "surgery.h"
#include "tests/support/fake_store.h"

namespace limpet::test {
namespace {

std::vector<std::uint64_t> events(const HistoryPage& page) {
  std::vector<std::uint64_t> numbers;
  for (const HistoryEntry& entry : page.entries) {
    numbers.push_back(entry.event);
  }
  return numbers;
}

std::vector<std::uint64_t> events(Store& store, const HistoryQuery& query) {
  const auto page = store.history(query);
  EXPECT_TRUE(page.ok()) << page.status().message();
  return page.ok() ? events(*page) : std::vector<std::uint64_t>{};
}

// All entries that match, by as many looks as it takes.
std::vector<std::uint64_t> all_events(Store& store, HistoryQuery query) {
  std::vector<std::uint64_t> numbers;
  while (true) {
    const auto page = store.history(query);
    EXPECT_TRUE(page.ok()) << page.status().message();
    if (!page.ok()) {
      return numbers;
    }
    for (const std::uint64_t event : events(*page)) {
      numbers.push_back(event);
    }
    if (page->next == 0) {
      return numbers;
    }
    (query.newest_first ? query.before_event : query.after_event) = page->next;
  }
}

void append_history(Store& store, std::uint64_t first, std::uint64_t last, std::uint64_t per_batch = 1) {
  for (std::uint64_t event = first; event <= last;) {
    Batch batch;
    for (std::uint64_t i = 0; i < per_batch && event <= last; ++i, ++event) {
      batch.changes.emplace_back(AddHistory{sample_event(event)});
    }
    ASSERT_TRUE(store.append(batch, false).ok());
  }
}

HistoryQuery oldest_first() {
  HistoryQuery query;
  query.newest_first = false;
  return query;
}

// ---- The same on both stores

template <typename T>
struct Opened;
template <>
struct Opened<FakeStore> {
  FakeStore store;
};
template <>
struct Opened<RocksStore> {
  TempDir temp;
  std::unique_ptr<RocksStore> opened = open_ok(temp.path("state"));
  RocksStore& store = *opened;
};

template <typename T>
class HistoryOf : public ::testing::Test {
 protected:
  HistoryOf() { append_history(store(), 1, 30, 4); }
  Store& store() { return opened_.store; }

 private:
  Opened<T> opened_;
};
using Stores = ::testing::Types<FakeStore, RocksStore>;
TYPED_TEST_SUITE(HistoryOf, Stores);

TYPED_TEST(HistoryOf, NewestFirst) {
  std::vector<std::uint64_t> expected = up_to(30);
  std::reverse(expected.begin(), expected.end());
  const auto page = this->store().history({});
  ASSERT_TRUE(page.ok());
  EXPECT_EQ(events(*page), expected);
  EXPECT_EQ(page->oldest_event, 1u);
  EXPECT_EQ(page->next, 0u);
  EXPECT_EQ(page->entries.back(), sample_event(1));
}

TYPED_TEST(HistoryOf, OldestFirst) {
  EXPECT_EQ(events(this->store(), oldest_first()), up_to(30));
}

TYPED_TEST(HistoryOf, PagesFollowEachOtherWithoutGapOrRepetition) {
  for (const std::size_t limit : {1u, 4u, 7u, 29u, 30u, 31u}) {
    for (const std::size_t scan_limit : {1u, 5u, 30u, 1000u}) {
      HistoryQuery query = oldest_first();
      query.limit = limit;
      query.scan_limit = scan_limit;
      EXPECT_EQ(all_events(this->store(), query), up_to(30));
      query.newest_first = true;
      auto backwards = all_events(this->store(), query);
      std::reverse(backwards.begin(), backwards.end());
      EXPECT_EQ(backwards, up_to(30));
    }
  }
}

TYPED_TEST(HistoryOf, BoundsAreExclusive) {
  HistoryQuery query;
  query.before_event = 3;
  EXPECT_EQ(events(this->store(), query), (std::vector<std::uint64_t>{2, 1}));
  query.before_event = 1;
  EXPECT_EQ(events(this->store(), query), std::vector<std::uint64_t>{});
  query.before_event = 1000;
  query.limit = 1;
  EXPECT_EQ(events(this->store(), query), std::vector<std::uint64_t>{30});
  query = oldest_first();
  query.after_event = 28;
  EXPECT_EQ(events(this->store(), query), (std::vector<std::uint64_t>{29, 30}));
  query.after_event = 30;
  const auto page = this->store().history(query);
  EXPECT_TRUE(page->entries.empty());
  EXPECT_EQ(page->next, 0u);
  query.after_event = std::numeric_limits<std::uint64_t>::max();
  EXPECT_EQ(events(this->store(), query), std::vector<std::uint64_t>{});
}

// sample_event(): every third is about service "db"; every fifth is about no registration and no change.
TYPED_TEST(HistoryOf, Filters) {
  HistoryQuery query = oldest_first();
  query.service = "db";
  EXPECT_EQ(events(this->store(), query), (std::vector<std::uint64_t>{3, 6, 9, 12, 18, 21, 24, 27}));
  query.instance = "i-9";
  EXPECT_EQ(events(this->store(), query), std::vector<std::uint64_t>{9});
  query.service.reset();
  query.instance = "i-1";
  EXPECT_EQ(events(this->store(), query), std::vector<std::uint64_t>{1});
  query.instance.reset();
  query.before_seq = Seq{1007};
  EXPECT_EQ(events(this->store(), query), up_to(6)) << "what is about no change goes by the newest of its time";
}

TYPED_TEST(HistoryOf, WorkOfOneLookIsBounded) {
  HistoryQuery query;
  query.service = "none of this name";
  query.scan_limit = 10;
  const auto page = this->store().history(query);
  ASSERT_TRUE(page.ok());
  EXPECT_TRUE(page->entries.empty());
  EXPECT_EQ(page->next, 21u);
  EXPECT_EQ(all_events(this->store(), query), std::vector<std::uint64_t>{});
}

// ---- What becomes of it

TEST(History, SurvivesReopeningAndIsReadWithoutChangingAnything) {
  TempDir temp;
  const std::string dir = temp.path("state");
  for (std::uint64_t round = 0; round < 3; ++round) {
    auto store = open_ok(dir);
    EXPECT_EQ(store->load()->last_event, round * 10);
    append_history(*store, round * 10 + 1, round * 10 + 10);
    EXPECT_EQ(events(*store, oldest_first()), up_to(round * 10 + 10));
    ASSERT_TRUE(store->reopen().ok());
    EXPECT_EQ(events(*store, oldest_first()), up_to(round * 10 + 10));
  }
  const Picture before = picture_of(dir);
  const auto state = RocksStore::read(dir);
  ASSERT_TRUE(state.ok()) << state.status().message();
  EXPECT_EQ(state->last_event, 30u);
  EXPECT_EQ(changed(before, picture_of(dir)), std::vector<std::string>{});
}

TEST(History, GoesWithTheBatchThatItIsAboutWhenThePowerFails) {
  FakeStore store;
  ASSERT_TRUE(store.append({Seq{1}, {AddHistory{sample_event(1)}}}, true).ok());
  ASSERT_TRUE(store.append({Seq{2}, {AddHistory{sample_event(2)}}}, false).ok());
  ASSERT_TRUE(store.append({Seq{3}, {AddHistory{sample_event(3)}}}, false).ok());
  store.power_cut(1);
  EXPECT_EQ(store.load()->last_event, 2u);
  EXPECT_EQ(events(store, oldest_first()), up_to(2));
}

TEST(History, IsBoundedBySize) {
  constexpr std::uint64_t kEvents = 100'000;
  constexpr std::uint64_t kMaxBytes = 1u << 20;
  TempDir temp;
  const std::string dir = temp.path("state");
  auto store = open_ok(dir, {kMaxBytes, 7 * 24 * 3600});
  std::uint64_t most_bytes = 0;
  for (std::uint64_t event = 1; event <= kEvents; event += 100) {
    append_history(*store, event, event + 99, 2);
    most_bytes = std::max(most_bytes, store->bytes_on_disk());
  }
  // All that was written would be more than this: 6 MiB in tables, and the logs.
  EXPECT_LT(most_bytes, kMaxBytes + (12u << 20));
  ASSERT_TRUE(store->reopen().ok());
  EXPECT_LT(store->bytes_on_disk(), 2 * kMaxBytes) << "the logs are gone, this is what is kept";

  std::uint64_t oldest = 0;
  std::vector<std::uint64_t> kept;
  do {  // a table may go between two pages
    oldest = store->history({})->oldest_event;
    kept = all_events(*store, oldest_first());
  } while (store->history({})->oldest_event != oldest);
  EXPECT_GT(oldest, kEvents / 2);
  ASSERT_FALSE(kept.empty());
  EXPECT_EQ(kept.front(), oldest);
  EXPECT_EQ(kept.back(), kEvents);
  EXPECT_EQ(kept.size(), kEvents - oldest + 1) << "nothing is missing between";
  EXPECT_GT(kept.size(), 3000u) << "the limit has room for more of these entries";
}

TEST(History, IsBoundedByAge) {
  TempDir temp;
  auto store = open_ok(temp.path("state"), {64u << 20, 0});
  std::uint64_t event = 0;
  EXPECT_TRUE(eventually([&] { return store->history({})->oldest_event > 5; },
                         [&] {
                           append_history(*store, event + 1, event + 1);
                           ++event;
                         }));
  EXPECT_EQ(store->load()->last_event, event);
}

TEST(History, ManyStartsLeaveFewTables) {
  TempDir temp;
  const std::string dir = temp.path("state");
  for (std::uint64_t start = 1; start <= 60; ++start) {
    append_history(*open_ok(dir), start, start);
  }
  auto store = open_ok(dir);
  EXPECT_TRUE(eventually([&] { return db_files(dir, "", ".sst").size() < 20; }, [] {}));
  EXPECT_EQ(events(*store, oldest_first()), up_to(60));
}

TEST(History, NumbersAreNotUsedAgainWhenNoneIsKept) {
  TempDir temp;
  const std::string dir = temp.path("state");
  append_history(*open_ok(dir), 1, 50);
  open_ok(dir).reset();  // moves them from the log into a table
  const auto tables = history_tables(dir);
  ASSERT_FALSE(tables.empty());
  std::filesystem::remove(tables[0]);
  auto store = open_ok(dir);
  EXPECT_EQ(events(*store, {}), std::vector<std::uint64_t>{51}) << "that there is a gap";
  EXPECT_EQ(store->load()->last_event, 51u);
}

// ---- Older and later stores

TEST(History, StoreFromBeforeThereWasOneGainsIt) {
  TempDir temp;
  const std::string dir = temp.path("state");
  ASSERT_TRUE(open_ok(dir)->append(register_batch(1), true).ok());
  make_older(dir);
  EXPECT_EQ(RocksStore::read(dir)->last_event, 0u);
  {
    auto store = open_ok(dir);
    EXPECT_EQ(seqs(*store->load()), up_to(1));
    EXPECT_EQ(events(*store, {}), std::vector<std::uint64_t>{});
    append_history(*store, 1, 5);
    EXPECT_EQ(events(*store, oldest_first()), up_to(5));
  }
  EXPECT_EQ(seqs(*open_ok(dir)->load()), up_to(1));
  EXPECT_EQ(read_file(dir + "/FORMAT"), "limpet state\nformat 1\nstage ready\ncrc32c f5bc40ff\n");
}

TEST(History, LimpetFromBeforeThereWasOneRefusesTheStoreAsNewer) {
  TempDir temp;
  const std::string dir = temp.path("state");
  open_ok(dir).reset();
  constexpr std::uint8_t kTagsOfThatTime = 3;
  EXPECT_EQ(frame::Reader(meta_of(dir), frame::Kind::meta, kTagsOfThatTime).status().code(), Errc::newer_format);
}

TEST(History, FamilyOfALaterLimpetIsRefusedUntouched) {
  TempDir temp;
  const std::string dir = temp.path("state");
  open_ok(dir).reset();
  add_family(dir, "cache");
  const Picture before = picture_of(dir);
  EXPECT_EQ(RocksStore::open(dir).status().code(), Errc::newer_format);
  EXPECT_EQ(changed(before, picture_of(dir)), std::vector<std::string>{});
}

}  // namespace
}  // namespace limpet::test
