#include "agent/core/known_parents.h"

#include <gtest/gtest.h>

namespace limpet::core {
namespace {

const std::string kChild = "/services/web/i-1";
const std::string kWeb = "/services/web";

ZkReply refusal() {
  ZkReply reply;
  reply.code = ZkCode::no_auth;
  return reply;
}

TEST(KnownParents, ParentIsCreatedOnceInASession) {
  KnownParents parents;
  EXPECT_TRUE(parents.must_create(kWeb, false));
  EXPECT_FALSE(parents.must_create(kWeb, false));
}

TEST(KnownParents, UnknownOutcomeIsCreatedAgain) {
  KnownParents parents;
  parents.must_create(kWeb, false);
  parents.unknown(kWeb);
  EXPECT_TRUE(parents.must_create(kWeb, false));
}

TEST(KnownParents, ParentOfAnEndedSessionIsPresumed) {
  KnownParents parents;
  parents.must_create(kWeb, false);
  parents.session_ended();
  EXPECT_FALSE(parents.must_create(kWeb, true));
  EXPECT_TRUE(parents.doubt_above(kChild));
  EXPECT_FALSE(parents.doubt_above(kChild));
  EXPECT_TRUE(parents.must_create(kWeb, true));
}

TEST(KnownParents, PresumedParentIsCreatedWhereNothingMayBePresumed) {
  KnownParents parents;
  parents.presume_above(kChild);
  EXPECT_TRUE(parents.must_create(kWeb, false));
}

TEST(KnownParents, RefusalIsFoundFromBelowUntilTheParentStands) {
  KnownParents parents;
  EXPECT_EQ(parents.error_above(kChild), nullptr);
  parents.must_create(kWeb, false);
  parents.refused(kWeb, refusal());
  ASSERT_NE(parents.error_above(kChild), nullptr);
  EXPECT_EQ(parents.error_above(kChild)->code, ZkCode::no_auth);
  EXPECT_EQ(parents.error_above(kWeb), nullptr);
  EXPECT_TRUE(parents.must_create(kWeb, false));
  parents.stands(kWeb);
  EXPECT_EQ(parents.error_above(kChild), nullptr);
}

TEST(KnownParents, RefusalEndsWithTheConnection) {
  KnownParents parents;
  parents.refused(kWeb, refusal());
  parents.session_begins();
  EXPECT_EQ(parents.error_above(kChild), nullptr);
}

TEST(KnownParents, IdleParentsAreDroppedOnceThereAreMany) {
  KnownParents parents;
  for (int i = 0; !parents.overgrown(); ++i) {
    ASSERT_LT(i, 10'000);
    parents.must_create("/services/s" + std::to_string(i), false);
  }
  parents.keep_only({"/services/s0"});
  EXPECT_FALSE(parents.overgrown());
  EXPECT_FALSE(parents.must_create("/services/s0", false));
  EXPECT_TRUE(parents.must_create("/services/s1", false));
}

}  // namespace
}  // namespace limpet::core
