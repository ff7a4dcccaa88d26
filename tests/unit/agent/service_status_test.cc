// The one sentence that `systemctl status limpet` shows.
#include <gtest/gtest.h>

#include "agent/service_manager.h"

namespace limpet {
namespace {

using core::SessionState;
using core::State;

core::StatusView view(SessionState state, std::uint64_t waiting) {
  core::StatusView status;
  status.session_state = state;
  status.queue_depth = waiting;
  return status;
}

TEST(ServiceStatus, ConnectedSaysWhatStandsAndWhatDoesNot) {
  core::StatusView status = view(SessionState::connected, 0);
  status.by_state[static_cast<std::size_t>(State::registered)] = 12;
  EXPECT_EQ(service_status(status, 0), "connected, 12 registered");
  status.queue_depth = 3;
  status.by_state[static_cast<std::size_t>(State::conflict)] = 1;
  status.by_state[static_cast<std::size_t>(State::maintenance)] = 2;
  EXPECT_EQ(service_status(status, 0), "connected, 12 registered, 3 waiting, 1 in conflict, 2 in maintenance");
}

TEST(ServiceStatus, AnOutageSaysSinceWhenAndWhatWaits) {
  constexpr WallMs kWhen = 1'764'558'725'000;
  EXPECT_EQ(service_status(view(SessionState::suspended, 3), kWhen),
            "ZooKeeper away since 2025-12-01 03:12:05 UTC, 3 waiting");
  EXPECT_EQ(service_status(view(SessionState::expired, 0), kWhen),
            "ZooKeeper away since 2025-12-01 03:12:05 UTC, nothing waits");
  EXPECT_EQ(service_status(view(SessionState::connecting, 1), 0), "ZooKeeper not reached yet, 1 waiting");
  EXPECT_EQ(service_status(view(SessionState::auth_failed, 1), 0),
            "ZooKeeper refuses the agent's credentials, 1 waiting");
}

TEST(ServiceStatus, ADiskThatFailsIsSaidOnOneLine) {
  core::StatusView status = view(SessionState::connected, 0);
  status.storage = core::StorageState::failed;
  status.storage_error = "no\nroom";
  EXPECT_EQ(service_status(status, 0), "connected, 0 registered; changes are refused: no\\nroom");
}

}  // namespace
}  // namespace limpet
