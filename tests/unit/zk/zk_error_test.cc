// The table from return codes to meanings: a wrong entry loses a registration or repeats one.
#include "agent/zk/zk_error.h"

#include <gtest/gtest.h>
#include <zookeeper/zookeeper.h>

#include <climits>
#include <vector>

namespace limpet::zk {
namespace {

using core::ZkCode;

TEST(ZkError, WhatEndsInFlightRequestsIsUnknown) {
  const std::vector<int> codes = {ZCONNECTIONLOSS,
                                  ZOPERATIONTIMEOUT,
                                  ZSESSIONEXPIRED,
                                  ZSESSIONMOVED,
                                  ZRUNTIMEINCONSISTENCY,
                                  ZDATAINCONSISTENCY,
                                  ZCLOSING,
                                  ZAUTHFAILED,
                                  ZSYSTEMERROR,
                                  ZNOTHING,
                                  -122,
                                  ZSSLCONNECTIONERROR};
  for (const int rc : codes) {
    EXPECT_EQ(completion_code(rc), ZkCode::unknown_outcome) << rc;
  }
}

TEST(ZkError, DefiniteAnswersHaveTheirWord) {
  EXPECT_EQ(completion_code(ZOK), ZkCode::ok);
  EXPECT_EQ(completion_code(ZNONODE), ZkCode::no_node);
  EXPECT_EQ(completion_code(ZNODEEXISTS), ZkCode::node_exists);
  EXPECT_EQ(completion_code(ZBADVERSION), ZkCode::bad_version);
  EXPECT_EQ(completion_code(ZNOTEMPTY), ZkCode::not_empty);
  EXPECT_EQ(completion_code(ZNOCHILDRENFOREPHEMERALS), ZkCode::parent_ephemeral);
  EXPECT_EQ(completion_code(ZNOAUTH), ZkCode::no_auth);
  EXPECT_EQ(completion_code(ZINVALIDACL), ZkCode::no_auth);
  EXPECT_EQ(completion_code(ZSESSIONCLOSEDREQUIRESASLAUTH), ZkCode::throttled);
  EXPECT_EQ(completion_code(ZBADARGUMENTS), ZkCode::invalid_path);
  EXPECT_EQ(completion_code(ZNOTREADONLY), ZkCode::throttled);
}

TEST(ZkError, CodesThatTheHeaderLacksAreKnown) {
  EXPECT_EQ(completion_code(-125), ZkCode::quota_exceeded);
  EXPECT_EQ(completion_code(-127), ZkCode::throttled);
}

TEST(ZkError, UnlistedNumbersGoToTheSafeSide) {
  EXPECT_EQ(completion_code(-126), ZkCode::refused);
  EXPECT_EQ(completion_code(-109), ZkCode::refused);
  EXPECT_EQ(completion_code(-1000), ZkCode::refused);
  EXPECT_EQ(completion_code(INT_MIN), ZkCode::refused);
  EXPECT_EQ(completion_code(-50), ZkCode::unknown_outcome);
  EXPECT_EQ(completion_code(1), ZkCode::unknown_outcome);
  EXPECT_EQ(completion_code(INT_MAX), ZkCode::unknown_outcome);
}

TEST(ZkError, NoOtherNumberMeansSuccess) {
  for (int rc = -1000; rc <= 1000; ++rc) {
    EXPECT_EQ(completion_code(rc) == ZkCode::ok, rc == ZOK) << rc;
  }
}

TEST(ZkError, WhatWasNotTakenWasNotSent) {
  EXPECT_EQ(submit_code(ZINVALIDSTATE), ZkCode::not_sent);
  EXPECT_EQ(submit_code(ZMARSHALLINGERROR), ZkCode::not_sent);
  EXPECT_EQ(submit_code(ZSYSTEMERROR), ZkCode::not_sent);
  EXPECT_EQ(submit_code(ZBADARGUMENTS), ZkCode::invalid_path);
}

TEST(ZkError, WordsNameTheCode) {
  EXPECT_EQ(describe_code(ZNOAUTH), "not authenticated (-102)");
  EXPECT_EQ(describe_code(-125), "quota exceeded (-125)");
}

}  // namespace
}  // namespace limpet::zk
