// Watches processes, and tells when one has ended: within a second, mostly at once.
//
// A process costs one file descriptor (a pidfd), however many registrations live with it, and all of them stand in one
// epoll set, which is one descriptor to the event loop: no thread and no timer each. At most half of the descriptors
// that this program may have open go to pidfds; a process beyond them, or for which the kernel gives none, is looked
// up in /proc once a second, and gets a pidfd as soon as there is one.
//
// Core thread only. Owned by Liveness; the io_context outlives it.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

#include "agent/liveness/process_id.h"
#include "storage/record.h"

namespace limpet::liveness {

class ProcessWatcher {
 public:
  // Called from the event loop, never from within a call; once for each watch(), and not after unwatch().
  using Ended = std::function<void(const RegistrationId&, std::string how)>;

  struct Bounds {
    std::size_t max_pidfds = 0;
    std::int64_t look_up_every_ms = 1000;                 // those without a pidfd
    int numbers_below = std::numeric_limits<int>::max();  // of pidfds
  };
  static Bounds usual_bounds();

  ProcessWatcher(boost::asio::io_context& io, Bounds bounds, Ended ended);
  ~ProcessWatcher();
  ProcessWatcher(const ProcessWatcher&) = delete;
  ProcessWatcher& operator=(const ProcessWatcher&) = delete;

  // Tells when `process` ends, also where it ended long ago. Replaces what was watched for `id` before.
  void watch(const RegistrationId& id, const ProcessId& process);
  void unwatch(const RegistrationId& id);

  // Nothing is told after this.
  void stop();

  struct Use {
    std::size_t processes = 0;
    std::size_t pidfds = 0;
  };
  Use use() const { return {processes_.size(), pidfds_}; }

 private:
  using Key = std::tuple<std::int32_t, std::uint64_t, std::string>;  // pid, start, boot
  struct Process {
    ProcessId id;
    Descriptor pidfd;
    std::uint64_t number = 0;  // its name in the epoll set
    std::unordered_set<RegistrationId> holders;
    std::string ended;  // how; it then stands in `ended_` until its holders are told
  };

  static Key key_of(const ProcessId& id) { return {id.pid, id.start_ticks, id.boot_id}; }
  bool room_for_pidfd() const { return epoll_.is_open() && pidfds_ < bounds_.max_pidfds; }
  void take_hold(Process& process);
  void close_pidfd(Process& process);
  void forget(Process& process);
  void end(Process& process, std::string how);
  void tell();
  void wait_for_pidfds();
  void collect();
  void poll_later();
  void poll_all();

  // Constant after construction.
  boost::asio::io_context& io_;
  const Bounds bounds_;
  const Ended tell_;

  boost::asio::posix::stream_descriptor epoll_;
  boost::asio::steady_timer poll_timer_;
  std::map<Key, Process> processes_;
  std::unordered_map<RegistrationId, Process*> by_holder_;
  std::unordered_map<std::uint64_t, Process*> by_number_;  // those with a pidfd
  std::unordered_set<Process*> polled_;                    // living, without a pidfd
  std::deque<Process*> ended_;
  std::size_t pidfds_ = 0;
  std::uint64_t next_number_ = 1;
  bool polling_ = false;
  std::shared_ptr<char> alive_ = std::make_shared<char>();  // of the handlers: one that is late finds it gone
};

}  // namespace limpet::liveness
