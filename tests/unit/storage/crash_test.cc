// kill -9, a full or failing disk, and a first start that was cut off: what was acknowledged is there afterwards.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <random>

#include "child.h"
#include "fixtures.h"
#include "open_ok.h"
#include "storage/rocks_store.h"

namespace limpet::test {
namespace {

// Passes a little time without sleeping, to put a kill anywhere within what another process does.
void spin(unsigned turns) {
  std::atomic<unsigned> left = turns;
  while (left > 0) {
    left.fetch_sub(1, std::memory_order_relaxed);
  }
}

// The number of registrations that writer() keeps: older ones are erased again, so the set is different each time.
constexpr std::uint64_t kKept = 40;

Batch writer_batch(std::uint64_t seq) {
  Registration registration = sample_registration(seq);
  // Some size, so that write buffers fill and are flushed and logs change within a few rounds.
  registration.data.assign(20000, static_cast<char>(seq));
  Batch batch{Seq{seq}, {PutRegistration{std::move(registration)}}};
  batch.changes.push_back(PutRemoval{sample_removal(seq)});
  batch.changes.push_back(AddHistory{sample_event(seq)});
  if (seq > kKept) {
    batch.changes.push_back(EraseRegistration{sample_id(seq - kKept)});
    batch.changes.push_back(EraseRemoval{Seq{seq - kKept}});
  }
  return batch;
}

// What writer() has left after change `last`.
std::vector<std::uint64_t> kept(std::uint64_t last) {
  std::vector<std::uint64_t> numbers;
  for (std::uint64_t seq = last > kKept ? last - kKept + 1 : 1; seq <= last; ++seq) {
    numbers.push_back(seq);
  }
  return numbers;
}

// The history of writer(): one entry for each change, none missing, none too many.
bool history_is_whole(RocksStore& store, const StoredState& state) {
  HistoryQuery query;
  query.limit = query.scan_limit = 1'000'000;
  const auto page = store.history(query);
  return page.ok() && state.last_event == state.last_seq.value && page->entries.size() == state.last_event &&
         (page->entries.empty() || page->entries.front() == sample_event(state.last_event));
}

// Goes on where the store ends, reporting each change once it is durable, until it is killed.
int writer(const std::string& dir, void (*report)(std::uint64_t)) {
  auto store = RocksStore::open(dir);
  if (!store.ok()) {
    return 1;
  }
  const auto state = (*store)->load();
  if (!state.ok() || seqs(*state) != kept(state->last_seq.value) || !history_is_whole(**store, *state)) {
    return 2;
  }
  report(state->last_seq.value);
  for (std::uint64_t seq = state->last_seq.value + 1;; ++seq) {
    if (!(*store)->append(writer_batch(seq), true).ok()) {
      return 3;
    }
    report(seq);
  }
}
const RegisterRole kWriter("writer", writer);

TEST(Crash, KillAtAnyTimeLosesNothingAcknowledged) {
  constexpr int kRounds = 40;
  const unsigned seed = 20240917;
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  TempDir temp;
  const std::string dir = temp.path("state");
  std::uint64_t acknowledged = 0;
  for (int round = 0; round < kRounds; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    Child child("writer", dir);
    // In some rounds not even the opening is waited for, so that this is cut off, too.
    for (unsigned count = random() % 30; count > 0; --count) {
      const auto seq = child.next();
      ASSERT_TRUE(seq.has_value()) << "the writer ended by itself with " << child.wait();
      acknowledged = std::max(acknowledged, *seq);
    }
    spin(random() % 200000);
    child.kill();
    while (const auto seq = child.next()) {
      acknowledged = std::max(acknowledged, *seq);
    }
  }
  auto store = open_ok(dir);
  const auto state = store->load();
  ASSERT_TRUE(state.ok()) << state.status().message();
  EXPECT_GE(state->last_seq.value, acknowledged);
  EXPECT_LE(state->last_seq.value, acknowledged + kRounds) << "more than one unacknowledged change a round";
  EXPECT_EQ(seqs(*state), kept(state->last_seq.value));
  EXPECT_EQ(state->removals.size(), state->registrations.size());
  EXPECT_TRUE(history_is_whole(*store, *state));
  EXPECT_GT(acknowledged, 100u) << "too little happened for this to mean anything";
}

// As writer(), but without sync: a crash of the process alone loses nothing either.
int lazy_writer(const std::string& dir, void (*report)(std::uint64_t)) {
  auto store = RocksStore::open(dir);
  if (!store.ok()) {
    return 1;
  }
  for (std::uint64_t seq = 1;; ++seq) {
    if (!(*store)->append(register_batch(seq), false).ok()) {
      return 3;
    }
    report(seq);
  }
}
const RegisterRole kLazyWriter("lazy_writer", lazy_writer);

TEST(Crash, KillLosesNothingAppendedWithoutSync) {
  TempDir temp;
  const std::string dir = temp.path("state");
  Child child("lazy_writer", dir);
  std::uint64_t acknowledged = 0;
  while (acknowledged < 200) {
    const auto seq = child.next();
    ASSERT_TRUE(seq.has_value());
    acknowledged = *seq;
  }
  child.kill();
  const auto state = open_ok(dir)->load();
  ASSERT_TRUE(state.ok());
  EXPECT_GE(state->last_seq.value, acknowledged);
  EXPECT_EQ(seqs(*state), up_to(state->last_seq.value));
}

void limit_file_size(rlim_t bytes) {
  rlimit limit{};
  getrlimit(RLIMIT_FSIZE, &limit);
  limit.rlim_cur = bytes;
  setrlimit(RLIMIT_FSIZE, &limit);
}

// Fills the log up to a limit, then checks what a failed append promises. Exit status: the step that went wrong.
int file_size_limit(const std::string& dir, void (*)(std::uint64_t)) {
  signal(SIGXFSZ, SIG_IGN);
  auto opened = RocksStore::open(dir);
  if (!opened.ok()) {
    return 1;
  }
  RocksStore& store = **opened;
  limit_file_size(256 << 10);
  std::uint64_t seq = 0;
  Status status;
  while (status.ok()) {
    status = store.append(writer_batch(++seq), true);
  }
  if (status.code() != Errc::io) {
    return 2;
  }
  if (store.append(Batch{}, true).code() != Errc::io) {
    return 3;  // must be refused until reopened
  }
  limit_file_size(1000);
  for (int attempt = 0; attempt < 50; ++attempt) {
    if (store.reopen().ok() || store.append(Batch{}, true).ok() || store.load().ok()) {
      return 4;
    }
  }
  limit_file_size(RLIM_INFINITY);
  if (!store.reopen().ok()) {
    return 5;
  }
  const auto state = store.load();
  // The failed change is there wholly or not at all.
  if (!state.ok() || state->last_seq.value + 1 < seq || seqs(*state) != kept(state->last_seq.value)) {
    return 6;
  }
  const std::uint64_t next = state->last_seq.value + 1;
  if (!store.append(writer_batch(next), true).ok() || seqs(*store.load()) != kept(next)) {
    return 7;
  }
  return 0;
}
const RegisterRole kFileSizeLimit("file_size_limit", file_size_limit);

TEST(Crash, FileSizeLimitIsAnErrorAndReopeningRecovers) {
  TempDir temp;
  const std::string dir = temp.path("state");
  EXPECT_EQ(Child("file_size_limit", dir).wait(), 0);
  EXPECT_GT(open_ok(dir)->load()->last_seq.value, 5u);
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir + "/db")) {
    files += entry.is_regular_file() ? 1 : 0;
  }
  EXPECT_LT(files, 20u) << "fifty failed attempts to reopen have left files behind";
}

TEST(Crash, FirstStartThatWasCutOffIsDoneAnew) {
  TempDir temp;
  const std::string dir = temp.path("state");
  open_ok(dir).reset();
  const std::string ready = read_file(dir + "/FORMAT");
  const std::string creating = format_file("format 1\nstage creating\n");
  const std::vector<std::function<void()>> leftovers = {
      [] {},  // a whole, empty database
      [&] { std::filesystem::remove(dir + "/db/CURRENT"); },
      [&] { std::filesystem::resize_file(db_files(dir, "MANIFEST", "").at(0), 10); },
      [&] { std::filesystem::remove(db_files(dir, "", ".log").at(0)); },
      [&] {
        std::filesystem::remove_all(dir + "/db");
        std::filesystem::create_directory(dir + "/db");
      },
      [&] { std::filesystem::remove_all(dir + "/db"); },
  };
  for (const auto& leave : leftovers) {
    leave();
    write_file(dir + "/FORMAT", creating);
    EXPECT_EQ(open_ok(dir)->load()->last_seq, Seq{0});
    EXPECT_EQ(read_file(dir + "/FORMAT"), ready);
  }
}

// Runs into a file size limit at a different byte of the first start each time.
int limited_first_start(const std::string& dir, void (*)(std::uint64_t)) {
  signal(SIGXFSZ, SIG_IGN);
  const std::size_t colon = dir.rfind(':');
  limit_file_size(std::stoul(dir.substr(colon + 1)));
  return RocksStore::open(dir.substr(0, colon)).ok() ? 0 : 1;
}
const RegisterRole kLimitedFirstStart("limited_first_start", limited_first_start);

TEST(Crash, FirstStartThatFailsAnywhereCanBeRepeated) {
  int failed = 0;
  for (unsigned limit = 0; limit < 400; limit += 9) {
    SCOPED_TRACE("limit " + std::to_string(limit));
    TempDir temp;
    const std::string dir = temp.path("state");
    failed += Child("limited_first_start", dir + ":" + std::to_string(limit)).wait();
    const auto state = open_ok(dir)->load();
    ASSERT_TRUE(state.ok()) << state.status().message();
    EXPECT_EQ(state->last_seq, Seq{0});
  }
  EXPECT_GT(failed, 5);
}

int first_start(const std::string& dir, void (*)(std::uint64_t)) {
  return RocksStore::open(dir).ok() ? 0 : 1;
}
const RegisterRole kFirstStart("first_start", first_start);

TEST(Crash, FirstStartKilledAnywhereCanBeRepeated) {
  std::mt19937 random(7);
  for (int round = 0; round < 30; ++round) {
    TempDir temp;
    const std::string dir = temp.path("state");
    Child child("first_start", dir);
    while (!std::filesystem::exists(dir + "/FORMAT.new") && !std::filesystem::exists(dir + "/FORMAT")) {
    }
    spin(random() % 3000000);
    child.kill();
    const auto state = open_ok(dir)->load();
    ASSERT_TRUE(state.ok()) << state.status().message();
    EXPECT_EQ(state->last_seq, Seq{0});
  }
}

}  // namespace
}  // namespace limpet::test
