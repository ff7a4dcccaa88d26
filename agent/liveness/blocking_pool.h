// Threads for work that may block, shared among users in turns: one user's work takes a few of the threads at most, and
// a free thread goes to the next user in rotation. Threads start when work needs them and stay.
//
// Core thread only; the work runs on the pool's threads. Destruction drops queued work and waits for running work.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

namespace limpet::liveness {

class BlockingPool {
 public:
  struct Bounds {
    std::size_t threads = 16;
    std::size_t threads_of_user = 2;
  };
  struct Ticket {
    std::uint32_t uid = 0;
    std::uint64_t number = 0;  // 0: no work
  };
  using Work = std::function<void()>;

  explicit BlockingPool(Bounds bounds) : bounds_(bounds) {}
  ~BlockingPool();
  BlockingPool(const BlockingPool&) = delete;
  BlockingPool& operator=(const BlockingPool&) = delete;

  // Queues `work` of `uid`. Without a number where the system gives no thread at all; nothing is queued then.
  Ticket run(std::uint32_t uid, Work work);
  // Drops work that has not begun; without effect otherwise.
  void cancel(Ticket ticket);

 private:
  struct User {
    std::map<std::uint64_t, Work> queue;  // in order of arrival
    std::size_t running = 0;
  };
  using Users = std::map<std::uint32_t, User>;

  bool add_thread();
  std::size_t ready() const;  // under the lock
  void serve();
  // The user whose turn it is, or end(). Under the lock.
  Users::iterator next();

  const Bounds bounds_;

  std::mutex mutex_;  // guards all below but threads_
  std::condition_variable wake_up_;
  Users users_;                 // those with queued or running work
  std::uint32_t last_uid_ = 0;  // whose turn it was last
  std::uint64_t last_number_ = 0;
  std::size_t idle_ = 0;
  bool stopping_ = false;

  std::vector<std::thread> threads_;  // core thread only
};

}  // namespace limpet::liveness
