#include "storage/group_commit.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "storage/overloaded.h"

namespace limpet {

namespace {

std::size_t weight(const Lifetime& lifetime) {
  std::size_t sum = 0;
  for (const Check& check : lifetime.checks) {
    sum += sizeof(Check) + check.target.size();
    for (const std::string& word : check.command) {
      sum += sizeof(std::string) + word.size();
    }
  }
  return sum;
}

// What a change weighs in an append: the strings, which are the only part that can be large, and a flat rest.
std::size_t weight(const Change& change) {
  constexpr std::size_t kFlat = 128;
  return kFlat + std::visit(Overloaded{
                                [](const PutRegistration& put) {
                                  const Registration& registration = put.registration;
                                  return registration.data.size() + registration.path.size() +
                                         weight(registration.lifetime);
                                },
                                [](const PutRemoval& put) { return put.removal.path.size(); },
                                [](const PutSession& put) { return put.former.size() * sizeof(SessionId); },
                                [](const PutHold& put) { return put.hold.message.size(); },
                                [](const AddHistory& added) { return added.entry->why.size(); },
                                [](const EraseRegistration&) { return std::size_t{0}; },
                                [](const EraseRemoval&) { return std::size_t{0}; },
                                [](const EraseHold&) { return std::size_t{0}; },
                                [](const PutOutcome&) { return std::size_t{0}; },
                            },
                            change);
}

std::size_t weight(const Batch& batch) {
  std::size_t sum = 0;
  for (const Change& change : batch.changes) {
    sum += weight(change);
  }
  return sum;
}

// Empties `items` but keeps its room for the next swap, unless a burst has made that large.
template <typename Item>
void recycle(std::vector<Item>& items) {
  constexpr std::size_t kKept = 4096;
  items.clear();
  if (items.capacity() > kKept) {
    items.shrink_to_fit();
  }
}

// Starts a thread with all signals blocked: they are for the main thread, and would only interrupt a write here.
template <typename Function>
std::thread start_without_signals(Function function) {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread thread(std::move(function));
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return thread;
}

}  // namespace

GroupCommit::GroupCommit(Store& store, Completion completion) : store_(store), completion_(std::move(completion)) {
  thread_ = start_without_signals([this] { run(); });
  pthread_setname_np(thread_.native_handle(), "commit");
}

GroupCommit::~GroupCommit() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

// Batches that were written are freed here, on the thread that made them, not on the commit thread: two threads that
// keep freeing each other's memory wait for each other at the allocator's locks.
void GroupCommit::submit(std::vector<Submission>& batches) {
  bool wake = false;
  std::vector<Batch> written;
  {
    const std::lock_guard lock(mutex_);
    written.swap(written_);
    for (Submission& one : batches) {
      queue_.push_back(Item{one.ticket, std::move(one.batch), one.sync, nullptr});
    }
    wake = std::exchange(idle_, false);
  }
  if (wake) {
    wake_.notify_one();
  }
  batches.clear();
}

void GroupCommit::reopen(Reopened done) {
  enqueue(Item{0, {}, false, [this, done = std::move(done)] { do_reopen(done); }});
}

void GroupCommit::check_space(SpaceChecked done) {
  enqueue(Item{0, {}, false, [this, done = std::move(done)] {
                 store_.regain_space();
                 done(store_.low_on_space());
               }});
}

void GroupCommit::history(HistoryQuery query, HistoryRead done) {
  enqueue(
      Item{0, {}, false, [this, query = std::move(query), done = std::move(done)] { done(store_.history(query)); }});
}

void GroupCommit::execute(std::function<void()> task) {
  enqueue(Item{0, {}, false, std::move(task)});
}

void GroupCommit::enqueue(Item item) {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(std::move(item));
    wake = std::exchange(idle_, false);
  }
  if (wake) {
    wake_.notify_one();
  }
}

void GroupCommit::run() {
  std::vector<Item> items;
  std::unique_lock lock(mutex_);
  while (true) {
    idle_ = true;
    wake_.wait(lock, [this] { return stop_ || !queue_.empty(); });
    idle_ = false;
    if (queue_.empty()) {
      return;  // stopped, and everything submitted has been answered
    }
    // The two vectors change places, so neither allocates anew once it has grown.
    items.swap(queue_);
    lock.unlock();
    process(items);
    recycle(items);
    lock.lock();
  }
}

void GroupCommit::process(std::vector<Item>& items) {
  std::size_t next = 0;
  while (next < items.size()) {
    if (items[next].task) {
      items[next].task();
      ++next;
    } else {
      next = append_from(items, next);
    }
  }
}

// Merges batches from `first` on into one append; returns the index of the first item that is not in it.
std::size_t GroupCommit::append_from(std::vector<Item>& items, std::size_t first) {
  Batch merged = std::move(items[first].batch);
  bool sync = items[first].sync;
  std::size_t bytes = weight(merged);
  std::size_t next = first + 1;
  for (; next < items.size() && items[next].is_batch(); ++next) {
    Batch& batch = items[next].batch;
    bytes += weight(batch);
    if (bytes > kMaxAppendBytes) {
      break;
    }
    std::move(batch.changes.begin(), batch.changes.end(), std::back_inserter(merged.changes));
    merged.last_seq = std::max(merged.last_seq, batch.last_seq);
    sync = sync || items[next].sync;
  }
  if (failed_.ok()) {
    const auto before = std::chrono::steady_clock::now();
    failed_ = store_.append(merged, sync);
    if (sync) {
      note_append_time(std::chrono::steady_clock::now() - before);
    }
  }
  hand_back(std::move(merged), bytes);
  completion_(items[next - 1].ticket, failed_);
  return next;
}

void GroupCommit::hand_back(Batch&& batch, std::size_t bytes) {
  constexpr std::size_t kMostBytes = 256u << 10;  // it may lie there until something else is submitted
  constexpr std::size_t kMostBatches = 8;
  if (bytes <= kMostBytes) {
    const std::lock_guard lock(mutex_);
    if (written_.size() < kMostBatches) {
      written_.push_back(std::move(batch));
    }
  }
}

void GroupCommit::note_append_time(std::chrono::steady_clock::duration took) {
  constexpr std::int64_t kWeight = 8;
  const std::int64_t now_us = std::chrono::duration_cast<std::chrono::microseconds>(took).count();
  const std::int64_t before_us = append_us_.load(std::memory_order_relaxed);
  append_us_.store(before_us == 0 ? now_us : before_us + (now_us - before_us) / kWeight, std::memory_order_relaxed);
}

void GroupCommit::do_reopen(const Reopened& done) {
  Status status = store_.reopen();
  Result<StoredState> state = status.ok() ? store_.load() : Result<StoredState>(std::move(status));
  if (state.ok()) {
    failed_ = Status();
  } else if (failed_.ok()) {
    failed_ = state.status();
  }
  done(std::move(state));
}

}  // namespace limpet
