// Merging, order, failure and reopening of GroupCommit, on a store written by hand.
#include "storage/group_commit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "fixtures.h"

namespace limpet::test {
namespace {

// Remembers what was appended. With the gate closed, a write waits inside, as for a slow disk. An append has room for
// so many changes, but for any one batch.
constexpr std::size_t kRoom = 5'000;

class GatedStore : public Store {
 public:
  struct Appended {
    std::vector<std::uint64_t> seqs;
    Seq last_seq;
    bool sync = false;
  };

  Result<StoredState> load() override {
    StoredState state;
    state.last_seq = last_seq_;
    return load_status_.ok() ? Result<StoredState>(state) : Result<StoredState>(load_status_);
  }

  // By whom is all the same, but never by two at once, which a sanitizer would tell.
  bool prepare(const Batch& batch) override {
    if (!prepared_.seqs.empty() && prepared_.seqs.size() + batch.changes.size() > kRoom) {
      return false;
    }
    for (const Change& change : batch.changes) {
      prepared_.seqs.push_back(std::get<PutRegistration>(change).registration->seq.value);
    }
    prepared_.last_seq = std::max(prepared_.last_seq, batch.last_seq);
    return true;
  }
  void seal(bool sync) override {
    prepared_.sync = sync;
    sealed_ = std::exchange(prepared_, {});
  }

  Status write() override {
    std::unique_lock lock(mutex_);
    ++entered_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
    appended_.push_back(sealed_);
    last_seq_ = sealed_.last_seq;
    return append_status_;
  }

  Status reopen() override {
    const std::lock_guard lock(mutex_);
    prepared_ = {};
    ++reopens_;
    return reopen_status_;
  }

  Result<HistoryPage> history(const HistoryQuery&) override { return HistoryPage(); }
  std::uint64_t bytes_on_disk() const override { return 0; }

  // There is room again once two looks have been taken, each after everything appended before it.
  bool low_on_space() const override { return appended_at_look_.size() < 2; }
  void regain_space() override {
    const std::lock_guard lock(mutex_);
    appended_at_look_.push_back(appended_.size());
  }
  const std::vector<std::size_t>& appended_at_look() const { return appended_at_look_; }

  void close_gate() {
    const std::lock_guard lock(mutex_);
    open_ = false;
  }
  void open_gate() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void await_entered(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return entered_ >= count; });
  }
  void set_statuses(Status append, Status reopen, Status load) {
    const std::lock_guard lock(mutex_);
    append_status_ = std::move(append);
    reopen_status_ = std::move(reopen);
    load_status_ = std::move(load);
  }
  std::vector<Appended> appended() {
    const std::lock_guard lock(mutex_);
    return appended_;
  }
  int reopens() {
    const std::lock_guard lock(mutex_);
    return reopens_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
  int entered_ = 0;
  int reopens_ = 0;
  std::vector<Appended> appended_;
  Appended prepared_;
  Appended sealed_;
  std::vector<std::size_t> appended_at_look_;
  Seq last_seq_;
  Status append_status_;
  Status reopen_status_;
  Status load_status_;
};

// Collects completions; the test waits for a ticket.
class Answers {
 public:
  struct Answer {
    std::uint64_t through;
    Errc code;
    std::string message;
  };

  GroupCommit::Completion completion() {
    return [this](std::uint64_t through, Status status) {
      const std::lock_guard lock(mutex_);
      answers_.push_back({through, status.code(), status.message()});
      changed_.notify_all();
    };
  }
  // Waits until `ticket` is answered; all answers so far.
  std::vector<Answer> await(std::uint64_t ticket) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !answers_.empty() && answers_.back().through >= ticket; });
    return answers_;
  }
  std::vector<Answer> all() {
    const std::lock_guard lock(mutex_);
    return answers_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Answer> answers_;
};

// Reopens and waits for the answer.
Result<StoredState> reopen_and_wait(GroupCommit& commit) {
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<Result<StoredState>> answer;
  commit.reopen([&](Result<StoredState> state) {
    const std::lock_guard lock(mutex);
    answer = std::move(state);
    changed.notify_all();
  });
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return answer.has_value(); });
  return *answer;
}

Batch changes_batch(std::uint64_t seq, std::size_t changes) {
  Batch batch{Seq{seq}, {}};
  const Shared<Registration> registration(sample_registration(seq));
  batch.changes.assign(changes, PutRegistration{registration});
  return batch;
}

void submit(GroupCommit& commit, std::uint64_t ticket, Batch batch, bool sync) {
  std::vector<GroupCommit::Submission> batches;
  batches.push_back({ticket, std::move(batch), sync});
  commit.submit(batches);
}

TEST(GroupCommit, AnswersEachTicket) {
  GatedStore store;
  Answers answers;
  GroupCommit commit(store, answers.completion());
  for (std::uint64_t ticket = 1; ticket <= 3; ++ticket) {
    submit(commit, ticket, register_batch(ticket), true);
    answers.await(ticket);
  }
  ASSERT_EQ(store.appended().size(), 3u);
  EXPECT_EQ(store.appended()[2].seqs, std::vector<std::uint64_t>{3});
  EXPECT_TRUE(store.appended()[2].sync);
}

TEST(GroupCommit, MergesWhatGathersInOrderAndSyncsIfAnyDoes) {
  GatedStore store;
  Answers answers;
  store.close_gate();
  GroupCommit commit(store, answers.completion());
  submit(commit, 1, register_batch(1), false);
  store.await_entered(1);
  for (std::uint64_t ticket = 2; ticket <= 100; ++ticket) {
    submit(commit, ticket, register_batch(ticket), ticket == 50);
  }
  submit(commit, 101, Batch{Seq{0}, {}}, false);  // changes no last_seq
  store.open_gate();
  const auto answered = answers.await(101);

  const auto appended = store.appended();
  ASSERT_EQ(appended.size(), 2u);
  EXPECT_FALSE(appended[0].sync);
  EXPECT_TRUE(appended[1].sync);
  EXPECT_EQ(appended[1].last_seq, Seq{100});
  std::vector<std::uint64_t> expected = up_to(100);
  expected.erase(expected.begin());
  EXPECT_EQ(appended[1].seqs, expected);
  ASSERT_EQ(answered.size(), 2u);
  EXPECT_EQ(answered[0].through, 1u);
  EXPECT_EQ(answered[1].through, 101u);
}

TEST(GroupCommit, WhatAnAppendHasNoRoomForIsTheNext) {
  GatedStore store;
  Answers answers;
  store.close_gate();
  GroupCommit commit(store, answers.completion());
  submit(commit, 1, register_batch(1), true);
  store.await_entered(1);
  for (std::uint64_t ticket = 2; ticket <= 6; ++ticket) {
    submit(commit, ticket, changes_batch(ticket, kRoom / 3 + 1), true);
  }
  submit(commit, 7, changes_batch(7, 2 * kRoom), true);  // too large for company, but not refused
  submit(commit, 8, register_batch(8), true);
  store.open_gate();
  answers.await(8);

  std::vector<std::vector<std::uint64_t>> groups;
  for (auto& appended : store.appended()) {
    appended.seqs.erase(std::unique(appended.seqs.begin(), appended.seqs.end()), appended.seqs.end());
    groups.push_back(appended.seqs);
  }
  const std::vector<std::vector<std::uint64_t>> expected = {{1}, {2, 3}, {4, 5}, {6}, {7}, {8}};
  EXPECT_EQ(groups, expected);
}

TEST(GroupCommit, AfterAFailureEverythingFailsAlikeUntilReopened) {
  GatedStore store;
  Answers answers;
  GroupCommit commit(store, answers.completion());
  store.set_statuses(Status(Errc::full, "no space"), Status(Errc::io, "still broken"), Status());
  submit(commit, 1, register_batch(1), true);
  answers.await(1);
  store.set_statuses(Status(), Status(Errc::io, "still broken"), Status());
  submit(commit, 2, register_batch(2), true);
  answers.await(2);
  EXPECT_EQ(reopen_and_wait(commit).status().message(), "still broken");
  submit(commit, 3, register_batch(3), true);
  const auto answered = answers.await(3);
  for (const auto& answer : answered) {
    EXPECT_EQ(answer.code, Errc::full);
    EXPECT_EQ(answer.message, "no space");
  }
  ASSERT_EQ(store.appended().size(), 1u) << "appended after a failure";

  store.set_statuses(Status(), Status(), Status(Errc::damaged, "unreadable"));
  EXPECT_EQ(reopen_and_wait(commit).status().code(), Errc::damaged);
  submit(commit, 4, register_batch(4), true);
  EXPECT_EQ(answers.await(4).back().code, Errc::full);

  store.set_statuses(Status(), Status(), Status());
  const Result<StoredState> state = reopen_and_wait(commit);
  ASSERT_TRUE(state.ok());
  EXPECT_EQ(state->last_seq, Seq{1});
  submit(commit, 5, register_batch(5), true);
  EXPECT_EQ(answers.await(5).back().code, Errc::ok);
  EXPECT_EQ(store.appended().back().seqs, std::vector<std::uint64_t>{5});
  EXPECT_EQ(store.reopens(), 3);
}

TEST(GroupCommit, LookingForSpaceKeepsItsPlaceInTheOrder) {
  GatedStore store;
  Answers answers;
  std::vector<bool> low;
  {
    GroupCommit commit(store, answers.completion());
    store.close_gate();
    submit(commit, 1, register_batch(1), true);
    store.await_entered(1);
    commit.check_space([&](bool still) { low.push_back(still); });
    submit(commit, 2, register_batch(2), true);
    commit.check_space([&](bool still) { low.push_back(still); });
    store.open_gate();
  }
  EXPECT_EQ(low, (std::vector<bool>{true, false}));
  EXPECT_EQ(store.appended_at_look(), (std::vector<std::size_t>{1, 2}));
}

TEST(GroupCommit, ReopenKeepsItsPlaceInTheOrder) {
  GatedStore store;
  Answers answers;
  store.close_gate();
  store.set_statuses(Status(Errc::io, "EIO"), Status(), Status());
  GroupCommit commit(store, answers.completion());
  submit(commit, 1, register_batch(1), true);
  store.await_entered(1);
  submit(commit, 2, register_batch(2), true);
  bool reopened = false;
  commit.reopen([&](Result<StoredState> state) {
    reopened = state.ok();
    store.set_statuses(Status(), Status(), Status());
  });
  submit(commit, 3, register_batch(3), true);
  store.open_gate();
  const auto answered = answers.await(3);
  EXPECT_TRUE(reopened);
  ASSERT_EQ(answered.size(), 3u);
  EXPECT_EQ(answered[0].code, Errc::io);
  EXPECT_EQ(answered[1].through, 2u);
  EXPECT_EQ(answered[1].code, Errc::io);
  EXPECT_EQ(answered[2].code, Errc::ok);
  EXPECT_EQ(store.appended().back().seqs, std::vector<std::uint64_t>{3});
}

TEST(GroupCommit, DestructorCompletesWhatWasSubmitted) {
  GatedStore store;
  Answers answers;
  store.close_gate();
  std::thread opener;
  {
    GroupCommit commit(store, answers.completion());
    for (std::uint64_t ticket = 1; ticket <= 10; ++ticket) {
      submit(commit, ticket, register_batch(ticket), true);
    }
    opener = std::thread([&] {
      store.await_entered(1);
      store.open_gate();
    });
  }
  opener.join();
  EXPECT_EQ(answers.all().back().through, 10u);
  std::vector<std::uint64_t> all;
  for (const auto& appended : store.appended()) {
    all.insert(all.end(), appended.seqs.begin(), appended.seqs.end());
  }
  EXPECT_EQ(all, up_to(10));
}

TEST(GroupCommit, EveryTicketOfALongRunIsAnsweredOnceInOrder) {
  GatedStore store;
  Answers answers;
  constexpr std::uint64_t kTickets = 50000;
  {
    GroupCommit commit(store, answers.completion());
    for (std::uint64_t ticket = 1; ticket <= kTickets; ++ticket) {
      submit(commit, ticket, register_batch(ticket), ticket % 7 == 0);
    }
  }
  std::uint64_t before = 0;
  for (const auto& answer : answers.all()) {
    EXPECT_GT(answer.through, before);
    before = answer.through;
  }
  EXPECT_EQ(before, kTickets);
  std::vector<std::uint64_t> all;
  for (const auto& appended : store.appended()) {
    all.insert(all.end(), appended.seqs.begin(), appended.seqs.end());
  }
  EXPECT_EQ(all, up_to(kTickets));
}

}  // namespace
}  // namespace limpet::test
