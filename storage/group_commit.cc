#include "storage/group_commit.h"

#include <algorithm>
#include <cassert>
#include <iterator>
#include <string>
#include <utility>

#include "storage/worker.h"

namespace limpet {

namespace {

// Empties `items` but keeps its room for the next swap, unless a burst has made that large.
template <typename Item>
void recycle(std::vector<Item>& items) {
  constexpr std::size_t kKept = 4096;
  items.clear();
  if (items.capacity() > kKept) {
    items.shrink_to_fit();
  }
}

}  // namespace

GroupCommit::GroupCommit(Store& store, Completion completion) : store_(store), completion_(std::move(completion)) {
  thread_ = start_thread("commit", [this] { run(); });
}

GroupCommit::~GroupCommit() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void GroupCommit::submit(std::vector<Submission>& batches) {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    for (Submission& one : batches) {
      in_order_ = in_order_ && store_.prepare(one.batch);
      queue_.push_back(Item{one.ticket, in_order_ ? Batch{} : std::move(one.batch), one.sync, in_order_, nullptr});
    }
    wake = std::exchange(idle_, false);
  }
  if (wake) {
    wake_.notify_one();
  }
  batches.clear();
}

void GroupCommit::reopen(Reopened done) {
  execute([this, done = std::move(done)] { do_reopen(done); });
}

void GroupCommit::check_space(SpaceChecked done) {
  execute([this, done = std::move(done)] {
    store_.regain_space();
    done(store_.low_on_space());
  });
}

void GroupCommit::execute(std::function<void()> task) {
  bool wake = false;
  {
    const std::lock_guard lock(mutex_);
    queue_.emplace_back().task = std::move(task);
    in_order_ = false;
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
    prepare_queue();  // so that from here on the core thread does
    idle_ = true;
    wake_.wait(lock, [this] { return stop_ || !queue_.empty(); });
    idle_ = false;
    if (queue_.empty()) {
      return;  // stopped, and everything submitted has been answered
    }
    take_next(items);
    lock.unlock();
    if (items.front().task) {
      items.front().task();
    } else {
      append(items);
    }
    recycle(items);
    lock.lock();
  }
}

// Prepares what the core thread could not: what came behind something else to be done, and what had no room in the
// append before. While the store fails there is nothing to prepare for.
void GroupCommit::prepare_queue() {
  const auto ready = [this](Item& item) {
    item.prepared = item.prepared || (item.is_batch() && store_.prepare(item.batch));
    return item.prepared;
  };
  in_order_ = failed_.ok() && std::ranges::all_of(queue_, ready);
}

// Moves to `items`, which is empty, the next thing to be done, or all batches that stand in front and go into one
// append; and closes that. Under the lock.
void GroupCommit::take_next(std::vector<Item>& items) {
  const auto goes_along = [this](const Item& item) { return failed_.ok() ? item.prepared : item.is_batch(); };
  const auto end = queue_.front().is_batch() ? std::ranges::find_if_not(queue_, goes_along) : queue_.begin() + 1;
  if (end == queue_.end()) {
    items.swap(queue_);  // they change places, so neither allocates anew once it has grown
  } else {
    items.assign(std::make_move_iterator(queue_.begin()), std::make_move_iterator(end));
    queue_.erase(queue_.begin(), end);
  }
  assert(!items.empty());
  if (items.front().is_batch() && failed_.ok()) {
    store_.seal(std::ranges::any_of(items, &Item::sync));
  }
}

void GroupCommit::append(const std::vector<Item>& items) {
  if (failed_.ok()) {
    const auto before = std::chrono::steady_clock::now();
    failed_ = store_.write();
    if (std::ranges::any_of(items, &Item::sync)) {
      note_append_time(std::chrono::steady_clock::now() - before);
    }
  }
  completion_(items.back().ticket, failed_);
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
