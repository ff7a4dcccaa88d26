#include "agent/liveness/blocking_pool.h"

#include <algorithm>
#include <system_error>
#include <utility>

namespace limpet::liveness {

BlockingPool::~BlockingPool() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_up_.notify_all();
  for (std::thread& thread : threads_) {
    thread.join();
  }
}

bool BlockingPool::add_thread() {
  try {
    threads_.emplace_back([this] { serve(); });
  } catch (const std::system_error&) {
    return !threads_.empty();
  }
  return true;
}

// How much queued work could begin at once, had it a thread each.
std::size_t BlockingPool::ready() const {
  std::size_t count = 0;
  for (const auto& [uid, user] : users_) {
    count += std::min(user.queue.size(), bounds_.threads_of_user - user.running);
  }
  return count;
}

BlockingPool::Ticket BlockingPool::run(std::uint32_t uid, Work work) {
  std::unique_lock lock(mutex_);
  const Ticket ticket{uid, ++last_number_};
  users_[uid].queue.emplace(ticket.number, std::move(work));
  const bool grow = ready() > idle_ && threads_.size() < bounds_.threads;
  lock.unlock();
  if (grow && !add_thread()) {
    cancel(ticket);
    return {};
  }
  wake_up_.notify_one();
  return ticket;
}

void BlockingPool::cancel(Ticket ticket) {
  Work dropped;  // destroyed after the lock
  const std::lock_guard lock(mutex_);
  const auto user = users_.find(ticket.uid);
  if (user == users_.end()) {
    return;
  }
  if (const auto found = user->second.queue.find(ticket.number); found != user->second.queue.end()) {
    dropped = std::move(found->second);
    user->second.queue.erase(found);
  }
  if (user->second.queue.empty() && user->second.running == 0) {
    users_.erase(user);
  }
}

BlockingPool::Users::iterator BlockingPool::next() {
  auto user = users_.upper_bound(last_uid_);
  for (std::size_t i = 0; i < users_.size(); ++i, ++user) {
    user = user == users_.end() ? users_.begin() : user;
    if (!user->second.queue.empty() && user->second.running < bounds_.threads_of_user) {
      return user;
    }
  }
  return users_.end();
}

void BlockingPool::serve() {
  std::unique_lock lock(mutex_);
  for (;;) {
    auto user = next();
    while (!stopping_ && user == users_.end()) {
      ++idle_;
      wake_up_.wait(lock);
      --idle_;
      user = next();
    }
    if (stopping_) {
      return;
    }
    last_uid_ = user->first;
    const std::uint32_t uid = user->first;
    Work work = std::move(user->second.queue.begin()->second);
    user->second.queue.erase(user->second.queue.begin());
    ++user->second.running;
    lock.unlock();
    work();
    work = nullptr;
    lock.lock();
    const auto served = users_.find(uid);
    if (--served->second.running == 0 && served->second.queue.empty()) {
      users_.erase(served);
    }
  }
}

}  // namespace limpet::liveness
