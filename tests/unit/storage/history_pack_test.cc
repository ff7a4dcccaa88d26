// Entries of the history that share a value: they come back, alone or many, and what is broken or newer is told.
#include "storage/history_pack.h"

#include <gtest/gtest.h>

#include "fixtures.h"
#include "storage/frame.h"
#include "storage/rocks_store.h"

namespace limpet::test {
namespace {

std::string packed(std::uint64_t first, std::size_t entries) {
  HistoryPack pack;
  for (std::size_t i = 0; i < entries; ++i) {
    pack.add(sample_event(first + i));
  }
  EXPECT_EQ(pack.first_event(), first);
  std::string value(pack.finish());
  EXPECT_TRUE(pack.empty());
  return value;
}

TEST(HistoryPack, ComesBackAsItWas) {
  for (const std::size_t entries : {std::size_t{1}, std::size_t{2}, std::size_t{100}, HistoryPack::kMaxEntries}) {
    const auto read = decode_history(7, packed(7, entries));
    ASSERT_TRUE(read.ok()) << read.status().message();
    ASSERT_EQ(read->size(), entries);
    for (std::size_t i = 0; i < entries; ++i) {
      EXPECT_EQ((*read)[i].event, 7 + i);
      EXPECT_EQ((*read)[i].entry, sample_event(7 + i));
    }
  }
}

TEST(HistoryPack, AnEntryAloneIsItself) {
  EXPECT_EQ(packed(7, 1), encode(sample_event(7)));
}

TEST(HistoryPack, ServesForOnePackAfterTheOther) {
  HistoryPack pack;
  for (std::uint64_t first = 1; first < 40; first += 3) {
    for (std::uint64_t event = first; event < first + 3; ++event) {
      pack.add(sample_event(event));
    }
    EXPECT_EQ(pack.finish(), packed(first, 3));
  }
}

TEST(HistoryPack, EveryFlippedBitAndEveryCutIsRefused) {
  const std::string value = packed(7, 2);
  for (std::size_t bit = 0; bit < value.size() * 8; ++bit) {
    std::string bytes = value;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    EXPECT_EQ(decode_history(7, bytes).status().code(), Errc::damaged) << "bit " << bit;
  }
  for (std::size_t size = 0; size < value.size(); ++size) {
    EXPECT_EQ(decode_history(7, value.substr(0, size)).status().code(), Errc::damaged) << "cut to " << size;
  }
}

TEST(HistoryPack, AnEntryOfALaterLimpetHidesNoOther) {
  HistoryEntry newer = sample_event(8);
  newer.what = static_cast<Happening>(200);
  HistoryPack pack;
  pack.add(sample_event(7));
  pack.add(newer);
  pack.add(sample_event(9));
  const auto read = decode_history(7, pack.finish());
  ASSERT_TRUE(read.ok());
  ASSERT_EQ(read->size(), 3u);
  EXPECT_EQ((*read)[0].entry, sample_event(7));
  EXPECT_EQ((*read)[1].event, 8u);
  EXPECT_FALSE((*read)[1].entry);
  EXPECT_EQ((*read)[2].entry, sample_event(9));
}

// More than a pack takes, in one append; read back in pages that begin and end anywhere.
TEST(HistoryPack, ALongAppendIsSeveralPacks) {
  const TempDir temp;
  auto store = RocksStore::open(temp.path("state"));
  ASSERT_TRUE(store.ok());
  constexpr std::uint64_t kEvents = 3 * HistoryPack::kMaxEntries + 5;
  Batch batch;
  for (std::uint64_t event = 1; event <= kEvents; ++event) {
    batch.changes.emplace_back(AddHistory{sample_event(event)});
  }
  ASSERT_TRUE((*store)->append(batch, true).ok());
  HistoryQuery query;
  query.newest_first = false;
  query.limit = 100;
  std::uint64_t expected = 0;
  do {
    const auto page = (*store)->history(query);
    ASSERT_TRUE(page.ok()) << page.status().message();
    EXPECT_EQ(page->oldest_event, 1u);
    for (const HistoryEntry& entry : page->entries) {
      ASSERT_EQ(entry, sample_event(++expected));
    }
    query.after_event = page->next;
  } while (query.after_event != 0);
  EXPECT_EQ(expected, kEvents);
}

}  // namespace
}  // namespace limpet::test
