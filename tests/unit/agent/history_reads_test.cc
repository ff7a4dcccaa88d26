// Reads of the history by the side of appends, on a store whose reads wait at a gate.
#include "agent/history_reads.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <mutex>
#include <optional>

#include "storage/group_commit.h"

namespace limpet {
namespace {

class GatedStore : public Store {
 public:
  Result<StoredState> load() override { return StoredState(); }
  bool prepare(const Batch&) override { return true; }
  void seal(bool) override {}
  Status write() override { return Status(); }
  Status reopen() override { return Status(); }
  std::uint64_t bytes_on_disk() const override { return 0; }
  Result<HistoryPage> history(const HistoryQuery& query) override {
    std::unique_lock lock(mutex_);
    ++reads_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
    HistoryPage page;
    page.next = query.before_event;
    return page;
  }

  void set_gate(bool open) {
    const std::lock_guard lock(mutex_);
    open_ = open;
    changed_.notify_all();
  }
  void await_reads(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return reads_ >= count; });
  }
  int reads() {
    const std::lock_guard lock(mutex_);
    return reads_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
  int reads_ = 0;
};

class HistoryReadsTest : public ::testing::Test {
 protected:
  // From the destructor no read is under way.
  ~HistoryReadsTest() override { store_.set_gate(true); }

  struct Answer {
    std::optional<Result<HistoryPage>> page;
  };
  std::shared_ptr<Answer> read(std::uint64_t number) {
    auto answer = std::make_shared<Answer>();
    HistoryQuery query;
    query.before_event = number;
    reads_->read(std::move(query), [answer](Result<HistoryPage> page) { answer->page = std::move(page); });
    return answer;
  }
  void run_until(const std::function<bool()>& done) {
    while (!done()) {
      io_.run_one();
    }
  }
  void start(std::chrono::milliseconds patience) {
    reads_ = std::make_unique<HistoryReads>(io_, store_, mailbox_, patience);
  }

  GatedStore store_;
  boost::asio::io_context io_;
  Mailbox mailbox_{io_};
  std::unique_ptr<HistoryReads> reads_;
};

TEST_F(HistoryReadsTest, ReadThatBlocksDelaysNoAppend) {
  start(std::chrono::hours(1));
  store_.set_gate(false);
  const auto answer = read(1);
  store_.await_reads(1);
  std::promise<std::uint64_t> appended;
  {
    GroupCommit commit(store_, [&](std::uint64_t through, const Status&) { appended.set_value(through); });
    std::vector<GroupCommit::Submission> batches;
    batches.push_back({1, Batch{Seq{1}, {}}, true});
    commit.submit(batches);
    EXPECT_EQ(appended.get_future().get(), 1u);
  }
  EXPECT_FALSE(answer->page) << "the read is under way all the time";
  store_.set_gate(true);
  run_until([&] { return answer->page.has_value(); });
  EXPECT_TRUE(answer->page->ok());
}

TEST_F(HistoryReadsTest, AnswersComeInTheOrderOfTheQuestions) {
  start(std::chrono::hours(1));
  std::vector<std::shared_ptr<Answer>> answers;
  for (std::uint64_t i = 1; i <= 100; ++i) {
    answers.push_back(read(i));
  }
  run_until([&] { return answers.back()->page.has_value(); });
  for (std::uint64_t i = 1; i <= 100; ++i) {
    ASSERT_TRUE(answers[i - 1]->page && answers[i - 1]->page->ok());
    EXPECT_EQ((*answers[i - 1]->page)->next, i);
  }
}

TEST_F(HistoryReadsTest, SilentDiskIsReportedToAllWhoWaitAndToOthersAtOnceUntilItAnswers) {
  start(std::chrono::milliseconds(20));
  store_.set_gate(false);
  const auto first = read(1);
  const auto second = read(2);
  run_until([&] { return first->page && second->page; });
  EXPECT_EQ(first->page->status().code(), Errc::io);
  EXPECT_EQ(second->page->status().code(), Errc::io);
  const auto third = read(3);
  EXPECT_FALSE(third->page) << "not from within the call";
  run_until([&] { return third->page.has_value(); });
  EXPECT_EQ(third->page->status().code(), Errc::io);
  EXPECT_EQ(store_.reads(), 1);
  store_.set_gate(true);
  std::shared_ptr<Answer> later;
  run_until([&] {
    if (!later || (later->page && !later->page->ok())) {
      later = read(4);
    }
    return later->page && later->page->ok();
  });
}

}  // namespace
}  // namespace limpet
