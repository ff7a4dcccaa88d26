// What a service manager such as systemd is told, and what it hands over: the protocols of sd_notify(3),
// sd_listen_fds(3) and sd_watchdog_enabled(3). Where there is none, nothing here does anything.
//
// Not by libsystemd, whose sd_notify waits while PID 1 has no time to read: here nothing ever blocks, and what finds
// the manager's queue full is said again a little later. Owned by main; core thread only.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "agent/core/types.h"
#include "storage/error.h"

namespace limpet {

// The socket of the API, where the manager opened it: callers queue there while the agent is being restarted.
struct InheritedSocket {
  int fd = -1;
  std::string path;  // empty: it has none in the file system
};
// Nothing where none is handed over; `invalid` where more than one is. Takes the variables out of the environment, so
// call it once, before there are threads.
Result<std::optional<InheritedSocket>> inherited_socket();

// Sends lines of sd_notify(3), such as "STATUS=…". False where the manager could not take it now.
bool tell_manager(const std::string& lines);

// One sentence about `status`. `away_since` is when ZooKeeper was lost, where it is away.
std::string service_status(const core::StatusView& status, WallMs away_since);

class ServiceManager {
 public:
  using Look = std::function<core::StatusView()>;
  // `look` gives the agent's present status. `io` must outlive this.
  ServiceManager(boost::asio::io_context& io, Look look);

  // The agent serves. From here on the status is kept up to date, and the watchdog is fed from `io`: what keeps the
  // core thread from its work for longer than the watchdog's time has the agent restarted.
  void serving();
  // Around the reading of a changed configuration.
  void reloading();
  void reloaded();
  // The agent stops; nothing is said after this.
  void stopping();
  // Something that the status tells may have changed. Cheap; may be called often.
  void changed();

 private:
  void say(const std::string& lines);
  void say_again();
  void say_status();
  void feed_watchdog();

  // Constant after construction.
  const Look look_;
  const bool present_;                              // whether there is a manager
  const std::chrono::microseconds watchdog_every_;  // 0: there is no watchdog

  // Core thread only.
  boost::asio::steady_timer status_timer_;
  boost::asio::steady_timer watchdog_timer_;
  boost::asio::steady_timer again_timer_;
  std::string unsaid_;  // what the manager could not take yet
  bool serving_ = false;
  bool status_due_ = false;
  std::string status_;
  WallMs away_since_ = 0;  // 0: not away
};

}  // namespace limpet
