// A ZooKeeper ensemble as the agent sees it: open a handle, send requests, let go. zk_client.h is the real one; tests
// have a fake that loses replies.
//
// All calls and all callbacks are on the core thread. Nothing here blocks.
#pragma once

#include <functional>

#include "agent/core/event.h"

namespace limpet::zk {

class Ensemble {
 public:
  // Receives ZkConnected, ZkDisconnected, ZkExpired, ZkAuthFailed, ZkTrouble, ZkReplied and ZkWatchFired; never from
  // within a call of this class.
  using Sink = std::function<void(core::Event)>;

  virtual ~Ensemble() = default;

  // Opens a handle; resolves names as often as needed, never gives up. With a session: re-attaches to it.
  virtual void start(const core::ZkStart& start) = 0;

  // Lets go of the handle without ending its session. Requests in flight may or may not be answered.
  virtual void stop(const core::ZkStop& stop) = 0;

  // Sends after all that was sent before on this handle. Answered by exactly one ZkReplied, unless the handle goes
  // first. What cannot be sent is answered `not_sent`.
  virtual void send(core::ZkSend request) = 0;
};

}  // namespace limpet::zk
