#include "agent/liveness/process_watcher.h"

#include <sys/epoll.h>
#include <sys/resource.h>

#include <array>
#include <boost/asio/post.hpp>
#include <chrono>
#include <vector>

#include "agent/liveness/program.h"

namespace limpet::liveness {

ProcessWatcher::Bounds ProcessWatcher::usual_bounds() {
  Bounds bounds;
  bounds.numbers_below = first_own_descriptor();
  if (rlimit limit{}; ::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    bounds.max_pidfds = static_cast<std::size_t>(limit.rlim_cur / 2);
  }
  return bounds;
}

ProcessWatcher::ProcessWatcher(boost::asio::io_context& io, Bounds bounds, Ended ended)
    : io_(io), bounds_(bounds), tell_(std::move(ended)), epoll_(io), poll_timer_(io) {
  if (Descriptor epoll(::epoll_create1(EPOLL_CLOEXEC)); epoll) {
    boost::system::error_code error;
    epoll_.assign(epoll.get(), error);
    if (!error) {
      epoll.release();
      wait_for_pidfds();
    }
  }
}

ProcessWatcher::~ProcessWatcher() {
  stop();
}

void ProcessWatcher::stop() {
  alive_ = nullptr;
  poll_timer_.cancel();
  boost::system::error_code ignored;
  epoll_.close(ignored);
  by_holder_.clear();
  by_number_.clear();
  polled_.clear();
  ended_.clear();
  processes_.clear();
  pidfds_ = 0;
}

void ProcessWatcher::watch(const RegistrationId& id, const ProcessId& process) {
  unwatch(id);
  const auto [entry, added] = processes_.try_emplace(key_of(process));
  entry->second.holders.insert(id);
  by_holder_[id] = &entry->second;
  if (added) {
    entry->second.id = process;
    take_hold(entry->second);
  }
}

void ProcessWatcher::unwatch(const RegistrationId& id) {
  const auto found = by_holder_.find(id);
  if (found == by_holder_.end()) {
    return;
  }
  Process& process = *found->second;
  by_holder_.erase(found);
  process.holders.erase(id);
  if (process.holders.empty() && process.ended.empty()) {
    forget(process);
  }
}

// Gets a pidfd where there is one to be had, and finds out whether the process lives.
void ProcessWatcher::take_hold(Process& process) {
  Grip found = grip(process.id, room_for_pidfd());
  if (!found.ended.empty()) {
    end(process, std::move(found.ended));
    return;
  }
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = next_number_;
  if (found.pidfd && found.pidfd.get() < bounds_.numbers_below &&
      ::epoll_ctl(epoll_.native_handle(), EPOLL_CTL_ADD, found.pidfd.get(), &event) == 0) {
    process.pidfd = std::move(found.pidfd);
    process.number = next_number_++;
    by_number_[process.number] = &process;
    polled_.erase(&process);
    ++pidfds_;
  } else {
    polled_.insert(&process);
    poll_later();
  }
}

void ProcessWatcher::close_pidfd(Process& process) {
  if (process.pidfd) {
    // Not by closing alone: a child that is just being started shares the descriptors for a moment.
    ::epoll_ctl(epoll_.native_handle(), EPOLL_CTL_DEL, process.pidfd.get(), nullptr);
    process.pidfd.reset();
    by_number_.erase(process.number);
    --pidfds_;
  }
}

void ProcessWatcher::forget(Process& process) {
  close_pidfd(process);
  polled_.erase(&process);
  processes_.erase(key_of(process.id));
}

void ProcessWatcher::end(Process& process, std::string how) {
  close_pidfd(process);
  polled_.erase(&process);
  process.ended = std::move(how);
  ended_.push_back(&process);
  if (ended_.size() == 1) {
    boost::asio::post(io_, [this, alive = std::weak_ptr<char>(alive_)] {
      if (!alive.expired()) {
        tell();
      }
    });
  }
}

// What is told may watch, unwatch and stop.
void ProcessWatcher::tell() {
  const std::weak_ptr<char> alive = alive_;
  while (!alive.expired() && !ended_.empty()) {
    Process& process = *ended_.front();
    if (process.holders.empty()) {
      ended_.pop_front();
      forget(process);
      continue;
    }
    const RegistrationId id = *process.holders.begin();
    const std::string how = process.ended;
    process.holders.erase(process.holders.begin());
    by_holder_.erase(id);
    tell_(id, how);
  }
}

void ProcessWatcher::wait_for_pidfds() {
  epoll_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                    [this, alive = std::weak_ptr<char>(alive_)](boost::system::error_code error) {
                      if (!error && !alive.expired()) {
                        collect();
                        wait_for_pidfds();
                      }
                    });
}

void ProcessWatcher::collect() {
  std::array<epoll_event, 256> events;
  const int count = ::epoll_wait(epoll_.native_handle(), events.data(), events.size(), 0);
  for (int i = 0; i < count; ++i) {
    if (const auto found = by_number_.find(events[i].data.u64); found != by_number_.end()) {
      end(*found->second, "pid " + std::to_string(found->second->id.pid) + " has ended");
    }
  }
}

void ProcessWatcher::poll_later() {
  if (polling_) {
    return;
  }
  polling_ = true;
  poll_timer_.expires_after(std::chrono::milliseconds(bounds_.look_up_every_ms));
  poll_timer_.async_wait([this, alive = std::weak_ptr<char>(alive_)](boost::system::error_code error) {
    if (!error && !alive.expired()) {
      polling_ = false;
      poll_all();
    }
  });
}

void ProcessWatcher::poll_all() {
  const std::vector<Process*> processes(polled_.begin(), polled_.end());
  for (Process* process : processes) {
    take_hold(*process);
  }
}

}  // namespace limpet::liveness
