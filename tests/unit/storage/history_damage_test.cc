// Damage to the history costs history, and nothing else: the store opens with every registration, says what is missing,
// and goes on.
#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "fixtures.h"
#include "storage/rocks_store.h"
#include "surgery.h"

namespace limpet::test {
namespace {

constexpr std::uint64_t kStarts = 4;
constexpr std::uint64_t kPerStart = 50;
constexpr std::uint64_t kEvents = kStarts * kPerStart;

// Registrations and as many entries, a table of each for every start but the last, whose are in the log.
void fill(const std::string& dir, std::uint64_t starts) {
  for (std::uint64_t start = 0; start < starts; ++start) {
    auto store = RocksStore::open(dir);
    ASSERT_TRUE(store.ok()) << store.status().message();
    for (std::uint64_t number = start * kPerStart + 1; number <= (start + 1) * kPerStart; ++number) {
      Batch batch = register_batch(number);
      batch.changes.emplace_back(AddHistory{sample_event(number)});
      ASSERT_TRUE((*store)->append(batch, false).ok());
    }
  }
}

class HistoryDamage : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    pattern_ = new TempDir;
    fill(pattern_->path("state"), kStarts);
  }
  static void TearDownTestSuite() {
    delete pattern_;
    pattern_ = nullptr;
  }
  HistoryDamage() { restore(); }

  void restore() { copy_state(pattern_->path("state"), dir()); }
  std::string dir() const { return temp_.path("state"); }

  // Opens: every registration must be there, and more can be added. Returns what the history says then, oldest first.
  Result<HistoryPage> open_and_go_on() {
    auto store = RocksStore::open(dir());
    if (!store.ok()) {
      ADD_FAILURE() << store.status().message();
      return store.status();
    }
    const auto state = (*store)->load();
    EXPECT_TRUE(state.ok()) << state.status().message();
    EXPECT_EQ(seqs(*state), up_to(kEvents));
    EXPECT_GE(state->last_event, kEvents);
    Batch batch = register_batch(kEvents + 1);
    batch.changes.emplace_back(AddHistory{sample_event(state->last_event + 1)});
    EXPECT_TRUE((*store)->append(batch, true).ok());
    HistoryQuery query;
    query.newest_first = false;
    Result<HistoryPage> page = (*store)->history(query);
    store->reset();
    EXPECT_EQ(seqs(*RocksStore::read(dir())), up_to(kEvents + 1));
    EXPECT_FALSE(std::filesystem::exists(dir() + "/db.new"));
    return page;
  }
  // It was begun anew, and says so.
  void expect_begun_anew() {
    const Result<HistoryPage> page = open_and_go_on();
    ASSERT_TRUE(page.ok()) << page.status().message();
    ASSERT_EQ(page->entries.size(), 2u);
    EXPECT_EQ(page->entries[0].event, kEvents + 1);
    EXPECT_EQ(page->entries[0].what, Happening::history_gap);
    EXPECT_NE(page->entries[0].why.find("damaged"), std::string::npos);
    EXPECT_EQ(page->entries[0].last_seq, Seq{kEvents});
    EXPECT_EQ(page->oldest_event, kEvents + 1);
  }

  TempDir temp_;
  static TempDir* pattern_;
};
TempDir* HistoryDamage::pattern_ = nullptr;

TEST_F(HistoryDamage, NoneIsWhole) {
  ASSERT_EQ(history_tables(dir()).size(), kStarts - 1);
  const Result<HistoryPage> page = open_and_go_on();
  ASSERT_TRUE(page.ok()) << page.status().message();
  EXPECT_EQ(page->entries.size(), kEvents + 1);
  EXPECT_EQ(page->entries[7], sample_event(8));
}

TEST_F(HistoryDamage, MissingTableBeginsItAnew) {
  for (std::size_t table = 0; table < kStarts - 1; ++table) {
    restore();
    std::filesystem::remove(history_tables(dir()).at(table));
    expect_begun_anew();
  }
}

TEST_F(HistoryDamage, TruncatedTableBeginsItAnew) {
  for (const std::uintmax_t keep : {0u, 1u, 1000u}) {
    restore();
    std::filesystem::resize_file(history_tables(dir()).at(1), keep);
    expect_begun_anew();
  }
}

// Whether it is found at the start or when that part is read depends on which block it is in.
TEST_F(HistoryDamage, FlippedBitCostsNothingButHistory) {
  const std::size_t size = std::filesystem::file_size(history_tables(dir()).at(0));
  int unreadable = 0;
  int begun_anew = 0;
  for (std::size_t at = 3; at < size; at += 211) {
    SCOPED_TRACE("byte " + std::to_string(at));
    restore();
    flip_bit(history_tables(dir()).at(0), at);
    const Result<HistoryPage> page = open_and_go_on();
    if (!page.ok()) {
      EXPECT_EQ(page.status().code(), Errc::damaged);
      ++unreadable;
    } else if (page->entries.front().what == Happening::history_gap) {
      ++begun_anew;
    } else {
      EXPECT_EQ(page->entries.size(), kEvents + 1);
    }
  }
  EXPECT_GT(unreadable, 5);
  EXPECT_GT(begun_anew, 0);
}

TEST_F(HistoryDamage, CrashWhileItIsBegunAnewIsDoneAgain) {
  std::filesystem::create_directory(dir() + "/db.new");
  std::filesystem::copy(dir() + "/db/CURRENT", dir() + "/db.new/CURRENT");
  std::filesystem::remove(history_tables(dir()).at(0));
  expect_begun_anew();
}

TEST_F(HistoryDamage, DamageToTheStateIsStillRefusedUntouched) {
  for (const std::string& table : db_files(dir(), "", ".sst")) {
    restore();
    const auto tables = history_tables(dir());
    if (std::find(tables.begin(), tables.end(), table) != tables.end()) {
      continue;
    }
    std::filesystem::remove(table);
    std::filesystem::remove(tables.at(0));  // and the history, too
    const Picture before = picture_of(dir());
    EXPECT_EQ(RocksStore::open(dir()).status().code(), Errc::damaged);
    EXPECT_EQ(changed(before, picture_of(dir())), std::vector<std::string>{});
  }
}

// Small tables are merged in the background. What cannot be read then must not stop the agent for ever.
TEST(HistoryMerge, DamageEndsOneAppendAndReopeningBeginsItAnew) {
  TempDir temp;
  const std::string dir = temp.path("state");
  fill(dir, 8);
  const auto tables = history_tables(dir);
  ASSERT_EQ(tables.size(), 7u) << "one more, and they are merged";
  flip_bit(tables.at(3), 100);

  auto opened = RocksStore::open(dir);
  ASSERT_TRUE(opened.ok()) << opened.status().message();
  RocksStore& store = **opened;
  std::uint64_t seq = 8 * kPerStart;
  Status status;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (status.ok() && std::chrono::steady_clock::now() < deadline) {
    status = store.append(register_batch(++seq), true);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ASSERT_FALSE(status.ok()) << "the damage was not met";
  ASSERT_TRUE(store.reopen().ok());
  const std::uint64_t last = store.load()->last_seq.value;
  EXPECT_GE(last, seq - 1);
  EXPECT_EQ(seqs(*store.load()), up_to(last));
  const auto page = store.history({});
  ASSERT_TRUE(page.ok()) << page.status().message();
  ASSERT_EQ(page->entries.size(), 1u);
  EXPECT_EQ(page->entries[0].what, Happening::history_gap);
  EXPECT_TRUE(store.append(register_batch(last + 1), true).ok());
  EXPECT_TRUE(store.reopen().ok());
  EXPECT_EQ(store.history({})->entries.size(), 1u);
}

}  // namespace
}  // namespace limpet::test
