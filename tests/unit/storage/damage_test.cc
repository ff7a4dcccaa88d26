// Damage of every file of a store: it is refused, with every file left as it was found, or it did no harm. Never does
// the store open with fewer records than were acknowledged, but for a log that was cut at its end.
#include <gtest/gtest.h>

#include <functional>

#include "fixtures.h"
#include "storage/rocks_store.h"

namespace limpet::test {
namespace {

constexpr std::uint64_t kInTable = 100;  // changes in SST files
constexpr std::uint64_t kInAll = 200;    // the rest is in the log

void append_all(RocksStore& store, std::uint64_t first, std::uint64_t last) {
  for (std::uint64_t seq = first; seq <= last; ++seq) {
    ASSERT_TRUE(store.append(register_batch(seq), true).ok());
  }
}

// A closed store with records in tables (recovery writes those) and in the log, made once and copied for each case.
class Damage : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    pattern_ = new TempDir;
    const std::string dir = pattern_->path("state");
    append_all(**RocksStore::open(dir), 1, kInTable / 2);
    append_all(**RocksStore::open(dir), kInTable / 2 + 1, kInTable);
    append_all(**RocksStore::open(dir), kInTable + 1, kInAll);
  }
  static void TearDownTestSuite() {
    delete pattern_;
    pattern_ = nullptr;
  }

  Damage() { restore(); }

  void restore() { copy_state(pattern_->path("state"), dir()); }
  std::string dir() const { return temp_.path("state"); }
  std::string only_file(const std::string& begin, const std::string& end) const {
    const auto files = db_files(dir(), begin, end);
    EXPECT_EQ(files.size(), 1u) << begin << "*" << end;
    return files.at(0);
  }
  std::string log() const { return only_file("", ".log"); }

  // Opens; on success the seqs found, else a check that it is refused as damage, in words, and untouched.
  std::optional<std::vector<std::uint64_t>> open_or_refuse() const {
    const Picture before = picture_of(dir());
    auto store = RocksStore::open(dir());
    if (store.ok()) {
      const auto state = (*store)->load();
      EXPECT_TRUE(state.ok()) << state.status().message();
      return seqs(*state);
    }
    EXPECT_EQ(store.status().code(), Errc::damaged) << store.status().message();
    EXPECT_NE(store.status().message().find(dir()), std::string::npos);
    EXPECT_NE(store.status().message().find("Nothing that was in it was changed"), std::string::npos);
    EXPECT_EQ(changed(before, picture_of(dir())), std::vector<std::string>{}) << store.status().message();
    return std::nullopt;
  }
  void expect_refused() const { EXPECT_EQ(open_or_refuse(), std::nullopt); }
  // Returns whether it was refused.
  bool expect_refused_or_whole() const {
    const auto found = open_or_refuse();
    EXPECT_TRUE(!found || *found == up_to(kInAll)) << found->size() << " records";
    return !found;
  }

  TempDir temp_;
  static TempDir* pattern_;
};
TempDir* Damage::pattern_ = nullptr;

TEST_F(Damage, NoneIsWhole) {
  EXPECT_EQ(open_or_refuse(), up_to(kInAll));
}

TEST_F(Damage, TornTailOfTheLogIsTolerated) {
  const std::string path = log();
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 5);
  EXPECT_EQ(open_or_refuse(), up_to(kInAll - 1));
}

TEST_F(Damage, LogCutAnywhereIsAPrefix) {
  const std::size_t size = std::filesystem::file_size(log());
  for (std::size_t keep = size; keep > 512; keep -= 512) {
    restore();
    std::filesystem::resize_file(log(), keep);
    const auto found = open_or_refuse();
    if (found) {
      EXPECT_GE(found->size(), kInTable);
      EXPECT_EQ(*found, up_to(found->size()));
    }
  }
}

TEST_F(Damage, ZerosAfterTheLogAreTolerated) {
  write_file(log(), read_file(log()) + std::string(8192, '\0'));
  EXPECT_EQ(open_or_refuse(), up_to(kInAll));
}

TEST_F(Damage, FlippedBitInTheLogIsRefused) {
  const std::size_t size = std::filesystem::file_size(log());
  ASSERT_GT(size, 10000u);
  for (std::size_t at = 20; at < size; at += 509) {
    SCOPED_TRACE("byte " + std::to_string(at));
    restore();
    flip_bit(log(), at);
    const auto found = open_or_refuse();
    // A flipped length of the last record can make it look cut off: then, and only then, it is missing.
    if (found && *found != up_to(kInAll)) {
      EXPECT_EQ(*found, up_to(kInAll - 1));
    }
  }
}

TEST_F(Damage, MissingLogIsRefused) {
  std::filesystem::remove(log());
  expect_refused();
}

TEST_F(Damage, MissingTableIsRefused) {
  for (const std::string& path : db_files(dir(), "", ".sst")) {
    restore();
    std::filesystem::remove(path);
    expect_refused();
  }
}

TEST_F(Damage, MissingManifestIsRefused) {
  std::filesystem::remove(only_file("MANIFEST", ""));
  expect_refused();
}

TEST_F(Damage, MissingCurrentIsRefused) {
  std::filesystem::remove(dir() + "/db/CURRENT");
  expect_refused();
}

TEST_F(Damage, MissingDatabaseIsRefused) {
  std::filesystem::remove_all(dir() + "/db");
  expect_refused();
}

TEST_F(Damage, EmptiedDatabaseIsRefused) {
  std::filesystem::remove_all(dir() + "/db");
  std::filesystem::create_directory(dir() + "/db");
  expect_refused();
}

TEST_F(Damage, LogOfAnOlderCopyIsRefusedOrHarmless) {
  // As after a restore that mixed two copies: tables and MANIFEST of one day, the log of another.
  const std::string older = read_file(log());
  append_all(**RocksStore::open(dir()), kInAll + 1, kInAll + 50);
  RocksStore::open(dir()).value().reset();  // everything is in tables now
  write_file(log(), older);
  const Picture before = picture_of(dir());
  auto store = RocksStore::open(dir());
  if (store.ok()) {
    EXPECT_EQ(seqs(*(*store)->load()), up_to(kInAll + 50));
    return;
  }
  EXPECT_EQ(store.status().code(), Errc::damaged);
  for (const std::string& name : changed(before, picture_of(dir()))) {
    EXPECT_FALSE(before.contains(name)) << name << " was there and is changed";
  }
}

TEST_F(Damage, LogThatLacksItsBeginningIsRefused) {
  // Two logs, the older one lost: as when a write buffer was being flushed at the crash.
  const std::string first = log();
  append_all(**RocksStore::open(dir()), kInAll + 1, kInAll + 50);
  const std::string second = read_file(log());
  restore();
  write_file(log(), second);
  expect_refused();
}

TEST_F(Damage, MissingFormatIsRefused) {
  std::filesystem::remove(dir() + "/FORMAT");
  expect_refused();
}

TEST_F(Damage, EveryFlippedBitOfFormatIsRefused) {
  const std::string whole = read_file(dir() + "/FORMAT");
  for (std::size_t at = 0; at < whole.size(); ++at) {
    write_file(dir() + "/FORMAT", whole);
    flip_bit(dir() + "/FORMAT", at);
    expect_refused();
  }
}

TEST_F(Damage, TruncatedFormatIsRefused) {
  const std::string whole = read_file(dir() + "/FORMAT");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    write_file(dir() + "/FORMAT", whole.substr(0, size));
    expect_refused();
  }
}

TEST_F(Damage, UnfinishedMarkOverAStoreWithRecordsIsRefused) {
  write_file(dir() + "/FORMAT", format_file("format 1\nstage creating\n"));
  expect_refused();
}

// `path` gives the file anew after each restore.
void each_flip(const std::function<std::string()>& path, const std::function<void()>& restore, std::size_t step,
               const std::function<void()>& check) {
  const std::size_t size = std::filesystem::file_size(path());
  for (std::size_t at = 0; at < size; at += step) {
    SCOPED_TRACE(path() + " byte " + std::to_string(at));
    restore();
    flip_bit(path(), at);
    check();
  }
}

TEST_F(Damage, FlippedBitInATableIsRefusedOrHarmless) {
  int refused = 0;
  for (std::size_t index = 0; index < db_files(dir(), "", ".sst").size(); ++index) {
    each_flip([&] { return db_files(dir(), "", ".sst").at(index); }, [this] { restore(); }, 61,
              [&] { refused += expect_refused_or_whole() ? 1 : 0; });
  }
  EXPECT_GT(refused, 50);
}

TEST_F(Damage, FlippedBitInTheManifestIsRefusedOrHarmless) {
  int refused = 0;
  each_flip([this] { return only_file("MANIFEST", ""); }, [this] { restore(); }, 7,
            [&] { refused += expect_refused_or_whole() ? 1 : 0; });
  EXPECT_GT(refused, 20);
}

TEST_F(Damage, FlippedBitInCurrentIsRefusedOrHarmless) {
  int refused = 0;
  each_flip([this] { return dir() + "/db/CURRENT"; }, [this] { restore(); }, 1,
            [&] { refused += expect_refused_or_whole() ? 1 : 0; });
  EXPECT_GT(refused, 5);
}

TEST_F(Damage, TruncatedFileIsRefusedOrHarmless) {
  for (const char* name : {"MANIFEST", "CURRENT", ".sst", "IDENTITY"}) {
    const bool suffix = name[0] == '.';
    const auto path = [&] { return db_files(dir(), suffix ? "" : name, suffix ? name : "").at(0); };
    const std::size_t size = std::filesystem::file_size(path());
    for (std::size_t keep = 0; keep < size; keep += std::max<std::size_t>(1, size / 40)) {
      SCOPED_TRACE(std::string(name) + " cut to " + std::to_string(keep));
      restore();
      std::filesystem::resize_file(path(), keep);
      expect_refused_or_whole();
    }
  }
}

}  // namespace
}  // namespace limpet::test
