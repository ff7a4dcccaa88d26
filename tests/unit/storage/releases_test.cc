// State directories that other releases of RocksDB wrote open without loss, and go on: a machine is upgraded from
// Debian 12 to 13 in place, and perhaps back.
//
// The directories in tests/unit/storage/releases hold a table and a log with more in it. How they were made,
// on each release, by the same code:
//   LIMPET_TEST_RELEASE=/tmp/state build/tests/storage_tests --gtest_filter=Releases.AreWritten
//   tar -C /tmp -czf tests/unit/storage/releases/debian-13.tar.gz state
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "storage/rocks_store.h"
#include "tests/support/shell.h"
#include "tests/unit/storage/fixtures.h"

namespace limpet::test {
namespace {

constexpr std::uint64_t kInTables = 200;
constexpr std::uint64_t kReleaseChanges = 300;

void add_registrations(const std::string& dir, std::uint64_t first, std::uint64_t last) {
  auto store = RocksStore::open(dir);
  ASSERT_TRUE(store.ok()) << store.status().message();
  ASSERT_TRUE((*store)->load().ok());
  for (std::uint64_t seq = first; seq <= last; ++seq) {
    Batch batch;
    batch.last_seq = Seq{seq};
    batch.changes.emplace_back(PutRegistration{sample_registration(seq)});
    ASSERT_TRUE((*store)->prepare(batch));
    (*store)->seal(true);
    ASSERT_TRUE((*store)->write().ok());
  }
  if (last == kReleaseChanges) {
    std::_Exit(0);  // as killed: the rest stays in the log
  }
}

void expect_registrations(const std::string& dir, std::uint64_t count) {
  auto store = RocksStore::open(dir);
  ASSERT_TRUE(store.ok()) << store.status().message();
  const auto state = (*store)->load();
  ASSERT_TRUE(state.ok()) << state.status().message();
  EXPECT_EQ(state->last_seq, Seq{count});
  ASSERT_EQ(state->registrations.size(), count);
  for (const auto& registration : state->registrations) {
    EXPECT_EQ(*registration, sample_registration(registration->seq.value));
  }
}

TEST(Releases, AreWritten) {
  const char* const dir = std::getenv("LIMPET_TEST_RELEASE");
  if (dir == nullptr) {
    GTEST_SKIP() << "writes a directory for tests/unit/storage/releases where LIMPET_TEST_RELEASE names it";
  }
  add_registrations(dir, 1, kInTables);
  add_registrations(dir, kInTables + 1, kReleaseChanges);
}

TEST(Releases, OpenWithoutLossAndGoOn) {
  for (const char* const release : {"debian-12", "debian-13"}) {
    SCOPED_TRACE(release);
    const TempDir temp;
    const std::string archive = std::string(LIMPET_SOURCE_DIR "/tests/unit/storage/releases/") + release + ".tar.gz";
    const std::string unpack = "tar -C " + shell_word(temp.path(".")) + " --no-same-owner -xzf " + shell_word(archive);
    ASSERT_EQ(std::system(unpack.c_str()), 0);
    const std::string dir = temp.path("state");
    expect_registrations(dir, kReleaseChanges);
    add_registrations(dir, kReleaseChanges + 1, kReleaseChanges + 1);
    expect_registrations(dir, kReleaseChanges + 1);
  }
}

}  // namespace
}  // namespace limpet::test
