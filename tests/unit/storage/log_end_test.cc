// Where the writing of a log ended, on logs of the tests' own. The same with a real store: log_recovery_test.cc.
#include "storage/log_end.h"

#include <gtest/gtest.h>

#include <random>

#include "log_bytes.h"

namespace limpet::test {
namespace {

std::string zeros(std::size_t count) {
  return std::string(count, '\0');
}

std::uint64_t written_end_of(const std::string& log) {
  const auto end = written_end(log);
  EXPECT_TRUE(end.has_value());
  return end.value_or(0);
}

TEST(LogEnd, OfNothingAndOfZeros) {
  EXPECT_EQ(written_end(""), 0u);
  for (const std::size_t size : {std::size_t{7}, std::size_t{511}, std::size_t{512}, kLogBlock, 3 * kLogBlock + 100}) {
    EXPECT_EQ(written_end(zeros(size)), 0u) << size;
  }
}

TEST(LogEnd, WholeRecordsAreShownAndZerosBehindThemAreNot) {
  LogBytes log;
  for (std::uint64_t i = 0; i < 300; ++i) {
    log.add(batch_of(i, 1 + i * 7 % 1500, i % 2 == 0));
    EXPECT_EQ(written_end(log.bytes()), log.size());
    for (const std::size_t behind : {std::size_t{7}, std::size_t{300}, 9 * kLogBlock}) {
      const std::uint64_t end = written_end_of(log.bytes() + zeros(behind));
      // What is left of a block is filled up with zeros where no head has room.
      EXPECT_TRUE(end == log.size() || (kLogBlock - log.size() % kLogBlock < kLogHead && end % kLogBlock == 0)) << i;
    }
  }
}

TEST(LogEnd, ABlockMayEndInLessThanAHead) {
  for (std::size_t left = 0; left < 10; ++left) {
    LogBytes log;
    log.add(zeros(kLogBlock - kLogHead - left));
    ASSERT_EQ(log.size(), kLogBlock - left);
    EXPECT_EQ(written_end(log.bytes()), log.size());
    log.add(batch_of(2, 100, true));
    EXPECT_EQ(written_end(log.bytes()), log.size()) << left;
    EXPECT_EQ(written_end(log.bytes() + zeros(1000)), log.size()) << left;
  }
}

TEST(LogEnd, ARecordOverSeveralBlocks) {
  LogBytes log;
  log.add(batch_of(1, 100, true));
  const std::size_t before = log.add(batch_of(2, 5 * kLogBlock, true));
  EXPECT_EQ(written_end(log.bytes() + zeros(5000)), log.size());
  // Of what is torn, the fragments in front of it are shown: RocksDB takes them for a record cut off by the end.
  for (std::size_t at = kDiskSector; at + kDiskSector < log.size(); at += 20 * kDiskSector) {
    std::string torn = log.bytes() + zeros(5000);
    torn.replace(at, kDiskSector, zeros(kDiskSector));
    const std::uint64_t end = written_end_of(torn);
    EXPECT_LE(end, at);
    EXPECT_TRUE(end == before || end % kLogBlock == 0) << end;
  }
}

TEST(LogEnd, WhatTheEndCutsOffIsLeftToRocksDB) {
  LogBytes log;
  std::vector<std::size_t> begins;
  for (std::uint64_t i = 0; i < 20; ++i) {
    begins.push_back(log.add(batch_of(i, 2000, true)));
  }
  for (std::size_t size = 0; size <= log.size(); size += 3) {
    const std::uint64_t end = written_end_of(log.bytes().substr(0, size));
    // Where nothing but zeros of the number is left of the last sector, the record looks torn: it goes either way.
    const std::size_t begin = *std::prev(std::upper_bound(begins.begin(), begins.end(), size));
    EXPECT_TRUE(end == size || (end == begin && size % kDiskSector < 8)) << size << " " << end;
  }
}

// Appends of all sizes, each at many places: every subset of its sectors, or a hundred of them.
TEST(LogEnd, WhateverATornAppendLeavesEndsWhereItBegan) {
  std::mt19937 random(1);
  for (int round = 0; round < 400; ++round) {
    SCOPED_TRACE(round);
    LogBytes log;
    log.add(batch_of(1, random() % (2 * kLogBlock), true));
    const std::string before = log.bytes() + zeros(random() % 100'000);
    const std::size_t begin = log.add(batch_of(2, random() % 4 == 0 ? random() % 70'000 : random() % 1200, true));
    const std::string after = log.bytes() + zeros(random() % 3 == 0 ? 0 : 4096);
    for (unsigned subset = 0; subset < 100; ++subset) {
      std::string torn = after;
      std::size_t gone = 0;
      const auto keep = [&](std::size_t k) {
        const bool kept = subset < 64 ? (subset >> k % 6 & 1) != 0 : random() % 2 == 0;
        gone += kept ? 0 : 1;
        return kept;
      };
      tear(torn, before, keep);
      const std::uint64_t end = written_end_of(torn);
      if (gone == 0) {
        EXPECT_EQ(end, log.size());
      } else {
        EXPECT_GE(end, begin);
        EXPECT_LT(end, log.size());
        EXPECT_EQ(records_of(torn.substr(0, end)).size(), 1u);
      }
    }
  }
}

// Three appends, the last two not synced.
TEST(LogEnd, RecordsBehindATornOneWereNotSyncedEither) {
  LogBytes log;
  log.add(batch_of(1, 700, true));
  const std::string before = log.bytes();
  const std::size_t begin = log.add(batch_of(2, 3000, true));
  log.add(batch_of(3, 100, false));
  log.add(batch_of(4, 40'000, false));
  std::string torn = log.bytes() + zeros(10'000);
  tear(torn, before, [](std::size_t k) { return k != 2; });
  EXPECT_EQ(written_end(torn), begin);
}

TEST(LogEnd, ASectorLostInFrontOfWhatIsKnownToBeSyncedIsDamage) {
  for (const std::size_t size : {std::size_t{100}, std::size_t{40'000}}) {
    LogBytes log;
    log.add(batch_of(1, 3000, true));
    log.add(batch_of(2, 20'000, false));
    log.add(batch_of(3, size, true));
    log.add(batch_of(4, 100, false));
    const std::string whole = log.bytes() + zeros(10'000);
    for (std::size_t at = 0; at < 23'000; at += kDiskSector) {
      std::string lost = whole;
      lost.replace(at, kDiskSector, zeros(kDiskSector));
      EXPECT_EQ(written_end(lost), std::nullopt) << at;
    }
  }
}

TEST(LogEnd, AFlippedBitIsNotTorn) {
  LogBytes log;
  std::size_t last = 0;
  for (std::uint64_t i = 0; i < 12; ++i) {
    last = log.add(batch_of(i, 60 + i * 40, true));
  }
  const std::string whole = log.bytes() + zeros(20'000);
  for (std::size_t bit = 0; bit < log.size() * 8; ++bit) {
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ 1 << bit % 8);
    const auto end = written_end(flipped);
    if (bit / 8 < last) {
      EXPECT_EQ(end, std::nullopt) << "bit " << bit;
    } else {
      const bool in_length = bit / 8 == last + 4 || bit / 8 == last + 5;
      EXPECT_TRUE(end == flipped.size() || (in_length && end == last)) << "bit " << bit;
    }
  }
}

// A record as a caller can put it into a registration's data: whole, and with a mark.
std::string forged(std::string_view mark) {
  LogBytes record;
  record.add(batch_with_mark(0, 0, mark));
  return record.bytes();
}

// One append whose data holds `record` again and again, at every distance from the sectors' borders.
std::string batch_full_of(std::string_view record) {
  std::string batch = batch_of(2, 0, true);
  for (std::size_t i = 0; batch.size() < 3 * kLogBlock / 2; ++i) {
    batch.append(record).append(1 + i % 7, 'x');
  }
  return batch;
}

TEST(LogEnd, AMarkInTheDataOfATornAppendIsNoProofAtAnyLength) {
  const std::string guess(LogKey::kMarkSize, 'g');
  for (const std::string& mark : {std::string(kOldMark), guess}) {
    LogBytes log;
    log.add(batch_of(1, 700, true));
    const std::string before = log.bytes() + zeros(100'000);
    const std::size_t begin = log.add(batch_full_of(forged(mark)));
    const std::string after = log.bytes();
    for (std::size_t size = begin; size < after.size(); ++size) {
      ASSERT_TRUE(written_end(after.substr(0, size))) << size;
    }
    for (std::size_t lost = begin / kDiskSector; lost < after.size() / kDiskSector; ++lost) {
      std::string torn = after + zeros(1000);
      tear(torn, before, [&](std::size_t k) { return k + begin / kDiskSector != lost; });
      ASSERT_LT(written_end_of(torn), after.size()) << lost;
    }
  }
}

TEST(LogEnd, AnOldLogsMarksCountWithoutAKeyAndBehindAWholeRecordThatHasOne) {
  LogBytes log;
  log.add(batch_with_mark(1, 600, kOldMark));
  const std::size_t second = log.add(batch_with_mark(2, 2000, kOldMark));
  log.add(batch_with_mark(3, 100, kOldMark));
  std::string first_lost = log.bytes() + zeros(1000);
  std::string second_lost = first_lost;
  first_lost.replace(0, kDiskSector, zeros(kDiskSector));
  second_lost.replace(2 * kDiskSector, kDiskSector, zeros(kDiskSector));
  EXPECT_EQ(written_end(log.bytes() + zeros(1000), std::nullopt), log.size());
  EXPECT_EQ(written_end(first_lost, std::nullopt), std::nullopt);
  EXPECT_EQ(written_end(second_lost, std::nullopt), std::nullopt);
  EXPECT_EQ(written_end(second_lost), std::nullopt) << "an older limpet wrote there after a newer one";
  EXPECT_EQ(written_end(first_lost), 0u);
  EXPECT_EQ(written_end(log.bytes().substr(0, second + 5)), second + 5);
}

TEST(LogEnd, ATornRecordAmongMarksOfALostKeyIsRefusedAndAWholeLogIsNot) {
  LogBytes log;
  log.add(batch_of(1, 600, true));
  const std::string before = log.bytes();
  log.add(batch_of(2, 2000, true));
  EXPECT_EQ(written_end(log.bytes() + zeros(1000), std::nullopt), log.size());
  std::string torn = log.bytes() + zeros(1000);
  tear(torn, before, [](std::size_t k) { return k != 1; });
  EXPECT_EQ(written_end(torn, std::nullopt), std::nullopt);
  EXPECT_TRUE(written_end(torn));
}

TEST(LogEnd, ALengthThatPointsBehindTheEndIsDamageToo) {
  LogBytes log;
  const std::size_t first = log.add(batch_of(1, 100, true));
  log.add(batch_of(2, 100, true));
  std::string flipped = log.bytes();
  flipped[first + 5] = 0x10;
  EXPECT_EQ(written_end(flipped), std::nullopt);
}

TEST(LogEnd, AFlippedBitInTheZerosHidesNothing) {
  LogBytes log;
  log.add(batch_of(1, 700, true));
  const std::string whole = log.bytes() + zeros(3000);
  for (std::size_t at = log.size(); at < whole.size(); ++at) {
    std::string flipped = whole;
    flipped[at] = 4;
    EXPECT_GE(written_end_of(flipped), log.size());
  }
}

}  // namespace
}  // namespace limpet::test
