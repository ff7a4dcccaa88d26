// RocksStore on a healthy disk: what it keeps, whom it lets in, and what it leaves alone.
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include "child.h"
#include "fixtures.h"
#include "open_ok.h"
#include "storage/rocks_store.h"

namespace limpet::test {
namespace {

Errc open_error(const std::string& dir) {
  return RocksStore::open(dir).status().code();
}

// Exit status: the Errc of opening the directory.
int try_open(const std::string& dir, void (*)(std::uint64_t)) {
  return static_cast<int>(open_error(dir));
}
const RegisterRole kTryOpen("try_open", try_open);

TEST(RocksStore, FreshStoreIsEmptyAndPrivate) {
  TempDir temp;
  const std::string dir = temp.path("state");
  const mode_t before = umask(0);
  auto store = open_ok(dir);
  umask(before);
  const auto state = store->load();
  ASSERT_TRUE(state.ok()) << state.status().message();
  EXPECT_EQ(state->last_seq, Seq{0});
  EXPECT_TRUE(state->registrations.empty() && state->removals.empty() && state->outcomes.empty());
  EXPECT_FALSE(state->session.has_value());
  EXPECT_TRUE(store->append(register_batch(1), true).ok());
  store.reset();
  for (const auto& [name, entry] : picture_of(dir)) {
    EXPECT_EQ(entry.first & 077u, 0u) << name << " can be read by others";
  }
}

TEST(RocksStore, DirectoryThatCannotBeMadeIsSaidWithWhatToDo) {
  TempDir temp;
  const Status status = RocksStore::open(temp.path("missing/state")).status();
  EXPECT_EQ(status.code(), Errc::io);
  EXPECT_NE(status.message().find("missing/state"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("name another, or make it"), std::string::npos) << status.message();
}

TEST(RocksStore, EveryChangeSurvives) {
  TempDir temp;
  const std::string dir = temp.path("state");
  auto store = open_ok(dir);
  const FormerSessions former{SessionId{5}, SessionId{-6}};
  Batch batch{Seq{7}, {}};
  batch.changes = {PutRegistration{sample_registration(1)},
                   PutRegistration{sample_registration(2)},
                   PutRegistration{sample_registration(3)},
                   PutRemoval{sample_removal(5)},
                   PutRemoval{sample_removal(4)},
                   PutOutcome{sample_id(1), sample_outcome(1)},
                   PutOutcome{sample_id(2), sample_outcome(2)},
                   PutParent{sample_parent()},
                   PutSession{sample_session(), former}};
  ASSERT_TRUE(store->append(batch, true).ok());
  Registration moved = sample_registration(3);
  moved.seq = Seq{8};
  moved.data = "new";
  batch = Batch{Seq{8}, {EraseRegistration{sample_id(2)}, EraseRemoval{Seq{4}}, PutRegistration{moved}}};
  ASSERT_TRUE(store->append(batch, false).ok());

  for (int round = 0; round < 3; ++round) {
    const auto state = store->load();
    ASSERT_TRUE(state.ok()) << state.status().message();
    EXPECT_EQ(state->last_seq, Seq{8});
    EXPECT_EQ(state->parents, std::vector<Parent>{sample_parent()});
    ASSERT_EQ(state->registrations.size(), 2u);
    EXPECT_EQ(state->registrations[0], sample_registration(1));
    EXPECT_EQ(state->registrations[1], moved);
    EXPECT_EQ(state->removals, std::vector<Removal>{sample_removal(5)});
    ASSERT_EQ(state->outcomes.size(), 1u) << "the outcome of the erased registration must go with it";
    EXPECT_EQ(state->outcomes[0].first, sample_id(1));
    EXPECT_EQ(state->outcomes[0].second, sample_outcome(1));
    EXPECT_EQ(state->session, sample_session());
    EXPECT_EQ(state->former, former);
    store.reset();
    store = open_ok(dir);
  }
}

TEST(RocksStore, HoldsStayUntilTheyEndOrTheirRegistrationDoes) {
  TempDir temp;
  const std::string dir = temp.path("state");
  auto store = open_ok(dir);
  const Hold host = sample_hold(HoldCause::maintenance, std::nullopt);
  const Hold kept = sample_hold(HoldCause::check, sample_id(1));
  Hold again = kept;
  again.message = "connection refused";
  Batch batch{Seq{20}, {}};
  batch.changes = {PutRegistration{sample_registration(1)},
                   PutRegistration{sample_registration(2)},
                   PutHold{host},
                   PutHold{kept},
                   PutHold{sample_hold(HoldCause::maintenance, sample_id(1))},
                   PutHold{sample_hold(HoldCause::check, sample_id(2))},
                   PutHold{sample_hold(HoldCause::maintenance, sample_id(2))}};
  ASSERT_TRUE(store->append(batch, true).ok());
  EXPECT_EQ(store->load()->holds.size(), 5u);
  batch = Batch{Seq{21}, {}};
  batch.changes = {EraseRegistration{sample_id(2)}, EraseHold{sample_id(1), HoldCause::maintenance}, PutHold{again},
                   EraseHold{std::nullopt, HoldCause::check}};  // which there is none of
  ASSERT_TRUE(store->append(batch, true).ok());
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(store->load()->holds, (std::vector<Hold>{host, again}));
    store.reset();
    store = open_ok(dir);
  }
}

TEST(RocksStore, RemovalsComeBackBySeq) {
  TempDir temp;
  auto store = open_ok(temp.path("state"));
  for (const std::uint64_t seq : {300u, 2u, 256u, 1u, 70000u, 255u}) {
    ASSERT_TRUE(store->append({Seq{seq}, {PutRemoval{sample_removal(seq)}}}, false).ok());
  }
  std::vector<std::uint64_t> order;
  const auto state = store->load();
  ASSERT_TRUE(state.ok());
  for (const Removal& removal : state->removals) {
    order.push_back(removal.seq.value);
  }
  EXPECT_EQ(order, (std::vector<std::uint64_t>{1, 2, 255, 256, 300, 70000}));
  EXPECT_EQ(state->last_seq, Seq{70000});
}

TEST(RocksStore, LastSeqNeverGoesBack) {
  TempDir temp;
  auto store = open_ok(temp.path("state"));
  ASSERT_TRUE(store->append({Seq{9}, {}}, true).ok());
  ASSERT_TRUE(store->append({Seq{0}, {}}, true).ok());
  EXPECT_EQ(store->load()->last_seq, Seq{9});
}

TEST(RocksStore, ReopenKeepsEverythingAndTheLock) {
  TempDir temp;
  const std::string dir = temp.path("state");
  auto store = open_ok(dir);
  ASSERT_TRUE(store->append(register_batch(1), true).ok());
  ASSERT_TRUE(store->reopen().ok());
  EXPECT_EQ(Child("try_open", dir).wait(), static_cast<int>(Errc::in_use));
  EXPECT_EQ(seqs(*store->load()), up_to(1));
  ASSERT_TRUE(store->append(register_batch(2), true).ok());
  EXPECT_EQ(seqs(*store->load()), up_to(2));
}

TEST(RocksStore, SecondProcessIsRefusedAndTouchesNothing) {
  TempDir temp;
  const std::string dir = temp.path("state");
  auto store = open_ok(dir);
  ASSERT_TRUE(store->append(register_batch(1), true).ok());
  const Picture before = picture_of(dir);
  EXPECT_EQ(Child("try_open", dir).wait(), static_cast<int>(Errc::in_use));
  EXPECT_EQ(changed(before, picture_of(dir)), std::vector<std::string>{});
  store.reset();
  EXPECT_EQ(Child("try_open", dir).wait(), static_cast<int>(Errc::ok));
}

TEST(RocksStore, SecondProcessIsRefusedAlsoWithoutRocksDbsLockFile) {
  TempDir temp;
  const std::string dir = temp.path("state");
  auto store = open_ok(dir);
  ASSERT_TRUE(std::filesystem::remove(dir + "/db/LOCK"));
  EXPECT_EQ(Child("try_open", dir).wait(), static_cast<int>(Errc::in_use));
  ASSERT_TRUE(store->append(register_batch(1), true).ok());
}

TEST(RocksStore, ReadChangesNothing) {
  TempDir temp;
  const std::string dir = temp.path("state");
  auto store = open_ok(dir);
  ASSERT_TRUE(store->append(register_batch(1), true).ok());
  EXPECT_EQ(RocksStore::read(dir).status().code(), Errc::in_use);
  store.reset();
  const Picture before = picture_of(dir);
  const auto state = RocksStore::read(dir);
  ASSERT_TRUE(state.ok()) << state.status().message();
  EXPECT_EQ(seqs(*state), up_to(1));
  EXPECT_EQ(changed(before, picture_of(dir)), std::vector<std::string>{});
  EXPECT_FALSE(RocksStore::read(temp.path("none")).ok());
  EXPECT_FALSE(std::filesystem::exists(temp.path("none")));
}

// Its first lines mean the same in every version. storage/FORMAT.md shows this file.
TEST(RocksStore, FormatFileIsAsDocumented) {
  TempDir temp;
  const std::string dir = temp.path("state");
  open_ok(dir).reset();
  EXPECT_EQ(read_file(dir + "/FORMAT"), "limpet state\nformat 1\nstage ready\ncrc32c f5bc40ff\n");
}

TEST(RocksStore, NewerFormatIsRefusedUntouched) {
  TempDir temp;
  const std::string dir = temp.path("state");
  open_ok(dir).reset();
  write_file(dir + "/FORMAT", format_file("format 2\nstage ready\n"));
  const Picture before = picture_of(dir);
  const Result<std::unique_ptr<RocksStore>> store = RocksStore::open(dir);
  EXPECT_EQ(store.status().code(), Errc::newer_format);
  EXPECT_EQ(changed(before, picture_of(dir)), std::vector<std::string>{});
}

TEST(RocksStore, LaterLinesOfTheSameFormatAreAccepted) {
  TempDir temp;
  const std::string dir = temp.path("state");
  open_ok(dir).reset();
  write_file(dir + "/FORMAT", format_file("format 1\nstage ready\nagent-id 0123456789abcdef\n"));
  EXPECT_EQ(open_error(dir), Errc::ok);
}

TEST(RocksStore, DirectoryThatOthersMayReadIsMadePrivate) {
  TempDir temp;
  const std::string dir = temp.path("state");
  std::filesystem::create_directory(dir);
  ASSERT_EQ(chmod(dir.c_str(), 0755), 0);
  EXPECT_EQ(open_error(dir), Errc::ok);
  EXPECT_EQ(mode_of(dir), 0700u);
  ASSERT_EQ(chmod(dir.c_str(), 0750), 0);
  EXPECT_EQ(open_error(dir), Errc::ok);
  EXPECT_EQ(mode_of(dir), 0700u);
}

TEST(RocksStore, DirectoryOfSomethingElseIsNotTakenAway) {
  TempDir temp;
  const std::string dir = temp.path("state");
  std::filesystem::create_directory(dir);
  write_file(dir + "/precious", "x");
  ASSERT_EQ(chmod(dir.c_str(), 0755), 0);
  EXPECT_EQ(open_error(dir), Errc::permission);
  EXPECT_EQ(mode_of(dir), 0755u);
}

TEST(RocksStore, DirectoryThatOthersMayWriteToIsRefused) {
  TempDir temp;
  const std::string dir = temp.path("state");
  open_ok(dir).reset();
  ASSERT_EQ(chmod(dir.c_str(), 0770), 0);
  const Picture before = picture_of(dir);
  EXPECT_EQ(open_error(dir), Errc::permission);
  EXPECT_EQ(changed(before, picture_of(dir)), std::vector<std::string>{});
}

TEST(RocksStore, DirectoryOfAnotherUserIsRefused) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "only root can give a directory away";
  }
  TempDir temp;
  const std::string dir = temp.path("state");
  open_ok(dir).reset();
  ASSERT_EQ(chown(dir.c_str(), 65534, 65534), 0);
  EXPECT_EQ(open_error(dir), Errc::permission);
  EXPECT_TRUE(RocksStore::read(dir).ok()) << "root may look";
}

TEST(RocksStore, MissingParentIsAnError) {
  TempDir temp;
  EXPECT_EQ(open_error(temp.path("a/b")), Errc::io);
  EXPECT_FALSE(std::filesystem::exists(temp.path("a")));
}

TEST(RocksStore, MovedDirectoryIsNoticedAtReopen) {
  TempDir temp;
  const std::string dir = temp.path("state");
  auto store = open_ok(dir);
  ASSERT_TRUE(store->append(register_batch(1), true).ok());
  std::filesystem::rename(dir, temp.path("moved"));
  ASSERT_EQ(Child("try_open", dir).wait(), static_cast<int>(Errc::ok));
  const Picture other = picture_of(dir);
  EXPECT_EQ(store->reopen().code(), Errc::io);
  EXPECT_EQ(store->append(register_batch(2), true).code(), Errc::io);
  EXPECT_EQ(changed(other, picture_of(dir)), std::vector<std::string>{});
  store.reset();
  EXPECT_EQ(seqs(*open_ok(temp.path("moved"))->load()), up_to(1));
}

TEST(RocksStore, BytesOnDiskFollowTheData) {
  TempDir temp;
  auto store = open_ok(temp.path("state"));
  const std::uint64_t before = store->bytes_on_disk();
  EXPECT_GT(before, 0u);
  Registration large = sample_registration(1);
  large.data.assign(1000000, 'x');
  ASSERT_TRUE(store->append({Seq{1}, {PutRegistration{large}}}, true).ok());
  EXPECT_GE(store->bytes_on_disk(), before + 900000);
}

}  // namespace
}  // namespace limpet::test
