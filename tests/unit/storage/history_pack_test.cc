// Entries of the history that share a value: they come back, alone or many, and what is broken or newer is told.
#include "storage/history_pack.h"

#include <gtest/gtest.h>

#include <limits>

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

// All that can be said, nothing, and as far from what came before as numbers go.
std::vector<HistoryEntry> odd_entries() {
  HistoryEntry all = sample_event(1);
  all.event = 9;
  all.last_seq = Seq{5};
  all.why = std::string(300, 'w');
  all.zxid = Zxid{-1};
  HistoryEntry nothing;
  nothing.event = 10;
  HistoryEntry least = all;
  least.event = 11;
  least.time = std::numeric_limits<WallMs>::min();
  least.zxid = Zxid{std::numeric_limits<std::int64_t>::min()};
  least.seq = Seq{1};
  HistoryEntry most = least;
  most.event = std::numeric_limits<std::uint64_t>::max();
  most.time = std::numeric_limits<WallMs>::max();
  most.zxid = Zxid{std::numeric_limits<std::int64_t>::max()};
  most.seq = most.last_seq = Seq{std::numeric_limits<std::uint64_t>::max()};
  most.who = Actor{{0xffffffff, -1}, ""};
  most.id = RegistrationId{"", ""};
  return {all, nothing, least, most, most};
}

TEST(HistoryPack, WhateverIsSaidComesBack) {
  HistoryPack pack;
  for (const HistoryEntry& entry : odd_entries()) {
    pack.add(entry);
  }
  const auto read = decode_history(9, pack.finish());
  ASSERT_TRUE(read.ok()) << read.status().message();
  ASSERT_EQ(read->size(), odd_entries().size());
  for (std::size_t i = 0; i < read->size(); ++i) {
    EXPECT_EQ((*read)[i].entry, odd_entries()[i]) << i;
  }
}

TEST(HistoryPack, OfAnEarlierLimpetIsRead) {
  std::string list;
  for (std::uint64_t event = 7; event < 12; ++event) {
    frame::append_item(list, encode(sample_event(event)));
  }
  const auto read = decode_history(7, frame::Writer(frame::Kind::pack).bytes(1, list).finish());
  ASSERT_TRUE(read.ok()) << read.status().message();
  ASSERT_EQ(read->size(), 5u);
  for (std::uint64_t i = 0; i < 5; ++i) {
    EXPECT_EQ((*read)[i].entry, sample_event(7 + i));
  }
}

// The example in FORMAT.md.
TEST(HistoryPack, BytesAreAsDocumented) {
  HistoryEntry accepted;
  accepted.event = 40;
  accepted.time = 1'700'000'000'000;
  accepted.seq = accepted.last_seq = Seq{18};
  accepted.id = RegistrationId{"web", "i-1"};
  accepted.who = Actor{{1000, 4321}, "bash"};
  HistoryEntry next = accepted;
  next.event = 41;
  next.time += 3;
  next.seq = next.last_seq = Seq{19};
  next.id->instance = "i-2";
  HistoryPack pack;
  pack.add(accepted);
  pack.add(next);
  std::string hex;
  for (const char c : pack.finish().substr(frame::kHeaderSize)) {
    constexpr char kDigits[] = "0123456789abcdef";
    hex += kDigits[static_cast<unsigned char>(c) >> 4];
    hex += kDigits[static_cast<unsigned char>(c) & 15];
  }
  EXPECT_EQ(hex,
            "0200000024"
            "01252880a0abfef962240303e807e12104776562692d3162617368"
            "016d01060203692d32");
}

TEST(HistoryPack, WhatCannotBeIsRefused) {
  HistoryPack pack;
  for (const HistoryEntry& entry : odd_entries()) {
    pack.add(entry);
  }
  const std::string_view list = pack.finish().substr(frame::kHeaderSize + 5);
  std::size_t refused = 0;
  for (std::size_t size = 1; size < list.size(); ++size) {
    const auto cut = decode_history(9, frame::Writer(frame::Kind::pack).bytes(2, list.substr(0, size)).finish());
    ASSERT_TRUE(cut.ok() || cut.status().code() == Errc::damaged) << size;
    refused += cut.ok() ? 0 : 1;
  }
  EXPECT_EQ(refused, list.size() - odd_entries().size()) << "only between two entries is it whole";
  EXPECT_EQ(
      decode_history(9, frame::Writer(frame::Kind::pack).bytes(2, std::string(40, '\xff')).finish()).status().code(),
      Errc::damaged);
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
