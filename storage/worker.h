// A thread that runs what it is given, one after the other: for what may block for a disk or a network file system and
// must hold up nobody else.
//
// Tasks are given by any thread and run on the worker's; they must not throw, and must not destroy the worker. Who
// gives tasks bounds how many there are.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace limpet {

// Starts a thread of this name (up to 15 bytes) with all signals blocked: they are for the main thread, and would only
// interrupt a write here.
std::thread start_thread(const char* name, std::function<void()> function);

class Worker {
 public:
  explicit Worker(const char* name);
  // Waits for the task that runs; the others are dropped.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Never blocks for a task.
  void run(std::function<void()> task);

 private:
  void loop();

  // Shared, under mutex_.
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;
  bool stop_ = false;

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace limpet
