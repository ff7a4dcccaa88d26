// What the ZooKeeper library says, brought into bounds: warnings and errors of one handle, at most one line in a while,
// and a count of the connections that it lost.
//
// The library calls back from any of its threads, with nothing but the text; so each handle gets a callback function of
// its own out of a small fixed set.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace limpet::zk {

// Called on any thread, never at the same time by the same client. The text holds no secret. May be empty.
using LogSink = std::function<void(std::string_view)>;

class LibraryLog {
 public:
  explicit LibraryLog(LogSink sink) : sink_(std::move(sink)) {}

  // Any thread.
  void write(std::string_view line);

  // Something of our own, not limited. Any thread.
  void note(std::string_view text);

  // How many connections, or attempts at one, have failed. The library tells of a lost connection on its I/O thread
  // before it looks for the next one, while its event travels through another thread and may be late: a request handed
  // in between would overtake those that were lost. Any thread.
  std::uint64_t losses() const { return losses_.load(); }

 private:
  const LogSink sink_;

  // Shared.
  std::atomic<std::uint64_t> losses_{0};
  std::mutex mutex_;
  std::chrono::steady_clock::time_point quiet_until_{};
  std::uint64_t left_out_ = 0;
};

// The signature of log_callback_fn in <zookeeper/zookeeper.h>.
using LogCallback = void (*)(const char*);

// Lends one of the callback functions; it writes to `log` until this is destroyed. Where all are lent already it is one
// that drops everything. Any thread.
class LogCallbackLease {
 public:
  explicit LogCallbackLease(std::shared_ptr<LibraryLog> log);
  ~LogCallbackLease();
  LogCallbackLease(const LogCallbackLease&) = delete;
  LogCallbackLease& operator=(const LogCallbackLease&) = delete;

  LogCallback callback() const;

 private:
  std::size_t slot_;
};

}  // namespace limpet::zk
