// Holds by single steps: what withdraws a registration, in effect and planned.
#include "agent/core/holds.h"

#include <gtest/gtest.h>

namespace limpet::core {
namespace {

const RegistrationId kA{"web", "a"};
const RegistrationId kB{"web", "b"};

Hold hold(std::optional<RegistrationId> id, HoldCause cause, const std::string& message) {
  Hold one;
  one.id = std::move(id);
  one.cause = cause;
  one.message = message;
  return one;
}

TEST(Holds, ItsOwnMaintenanceComesBeforeThatOfTheHost) {
  Holds holds({});
  EXPECT_FALSE(holds.held(kA));
  holds.put(hold(std::nullopt, HoldCause::maintenance, "kernel"));
  holds.put(hold(kA, HoldCause::maintenance, "disk"));
  EXPECT_EQ(holds.maintenance(kA)->message, "disk");
  EXPECT_EQ(holds.maintenance(kB)->message, "kernel");
  holds.erase(std::nullopt, HoldCause::maintenance);
  EXPECT_TRUE(holds.held(kA));
  EXPECT_FALSE(holds.held(kB));
}

TEST(Holds, EachCauseHoldsByItself) {
  Holds holds({hold(kA, HoldCause::maintenance, "disk"), hold(kA, HoldCause::check, "refused")});
  holds.erase(kA, HoldCause::maintenance);
  EXPECT_TRUE(holds.held(kA));
  holds.erase(kA, HoldCause::check);
  EXPECT_FALSE(holds.held(kA));
}

TEST(Holds, NothingOfOneThatIsGoneIsKept) {
  Holds holds({hold(kA, HoldCause::maintenance, "disk"), hold(kA, HoldCause::check, "refused")});
  holds.forget(kA);
  EXPECT_FALSE(holds.held(kA));
  EXPECT_EQ(holds.maintenance_count(), 0u);
}

TEST(Holds, WhatIsPlannedIsNotInEffect) {
  Holds holds({});
  holds.plan(kA, hold(kA, HoldCause::maintenance, "disk"));
  EXPECT_NE(holds.planned(kA), nullptr);
  EXPECT_FALSE(holds.held(kA));
}

TEST(Holds, AfterADiskFailureWhatIsStoredStandsAndChecksStay) {
  Holds holds({});
  holds.put(hold(kA, HoldCause::check, "refused"));
  holds.plan(kB, hold(kB, HoldCause::maintenance, "lost"));
  holds.reset({hold(std::nullopt, HoldCause::maintenance, "kernel")});
  EXPECT_EQ(holds.planned(kB), nullptr);
  EXPECT_NE(holds.planned(std::nullopt), nullptr);
  EXPECT_NE(holds.host_maintenance(), nullptr);
  EXPECT_NE(holds.failing_check(kA), nullptr);
}

}  // namespace
}  // namespace limpet::core
