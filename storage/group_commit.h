// Group commit: one append in flight on a thread of its own; what gathers meanwhile is the next append.
//
// Owned by the agent. The core thread submits, prepares what it submits for the store, and never waits for the disk;
// the commit thread, started and joined here, is the only one that touches the Store otherwise. There is no timer: the
// time that one fsync takes is the time in which the next append gathers, and in which it is got ready, so that little
// lies between two fsyncs. Completions and the answers of reopen() run on the commit thread, so the owner posts them to
// its own; they must not throw, and must not destroy the GroupCommit. Nothing else runs on the commit thread: whatever
// did would delay every append behind it.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "storage/error.h"
#include "storage/store.h"

namespace limpet {

class GroupCommit {
 public:
  // Says how it went for every ticket not yet answered, up to and with `through_ticket`.
  using Completion = std::function<void(std::uint64_t through_ticket, Status status)>;
  using Reopened = std::function<void(Result<StoredState>)>;
  using SpaceChecked = std::function<void(bool low_on_space)>;

  // Starts the commit thread. `store` must outlive this object, and nobody else may append to it, load or reopen it.
  GroupCommit(Store& store, Completion completion);
  // Appends and answers what was submitted, then joins. Blocks for the disk.
  ~GroupCommit();
  GroupCommit(const GroupCommit&) = delete;
  GroupCommit& operator=(const GroupCommit&) = delete;

  // What a synced append takes, smoothed over the last few; 0 before the first. Any thread.
  std::chrono::microseconds append_time() const {
    return std::chrono::microseconds(append_us_.load(std::memory_order_relaxed));
  }

  struct Submission {
    std::uint64_t ticket = 0;
    Batch batch;
    bool sync = false;  // its completion is given only when it is on stable storage
  };
  // Hands `batches` over to be appended after all earlier ones, in this order, and empties it; never blocks for the
  // disk. One wakeup for all, and one append where the commit thread is idle. Tickets must ascend. Core thread only.
  // After an append failed, that ticket's Status is the answer to every later one, until reopen() has succeeded:
  // the outcome of the failed batch is unknown, so nothing may be built on it.
  void submit(std::vector<Submission>& batches);

  // Reopens the store on the commit thread, in its turn after what was submitted before, and loads it; `done` gets
  // what is stored, or why it failed (then ask again later). What is submitted after this call is appended if the
  // reopen succeeded: who has to see the loaded state first submits nothing until then. Core thread only.
  void reopen(Reopened done);

  // Lets the store try to keep room back again (Store::regain_space()) on the commit thread, in its turn; `done` hears
  // whether it is still low on space. Core thread only.
  void check_space(SpaceChecked done);

 private:
  // A batch, which the store has already where it is prepared, or, where it is set, something else to be done: a single
  // queue keeps them in order.
  struct Item {
    std::uint64_t ticket = 0;
    Batch batch;
    bool sync = false;
    bool prepared = false;
    std::function<void()> task;

    bool is_batch() const { return !task; }
  };

  void execute(std::function<void()> task);
  void run();
  void prepare_queue();
  void take_next(std::vector<Item>& items);
  void append(const std::vector<Item>& items);
  void note_append_time(std::chrono::steady_clock::duration took);
  void do_reopen(const Reopened& done);

  // Constant after construction.
  Store& store_;
  const Completion completion_;

  // Shared, under mutex_.
  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Item> queue_;
  bool idle_ = false;  // the commit thread waits: only then is a wakeup worth its system call
  bool stop_ = false;
  bool in_order_ = true;  // all that was submitted and not yet sealed is prepared: what comes next may be, too

  // Shared, by itself.
  std::atomic<std::int64_t> append_us_ = 0;

  // Commit thread only.
  Status failed_;  // of the append that failed; ok while appends are possible

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace limpet
