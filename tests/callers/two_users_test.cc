// What two ordinary users of one agent can do to each other. The real limpetd, without ZooKeeper.
#include "tests/support/two_users.h"

namespace limpet::test {
namespace {

constexpr const char* kTarget = "/v1/registrations/web/i-1";

TEST_F(TwoUsers, MembersOfTheSocketsGroupAreServedAndNobodyElse) {
  start();
  EXPECT_EQ(call_as(kAlice, "PUT", kTarget, "{}").status, 202);
  EXPECT_EQ(call("GET", kTarget).json()["owner"]["uid"], kAlice);
  EXPECT_EQ(code(call_as(kBob, "DELETE", kTarget)), "not_owner");
  UnixHttp http(agent_->socket());
  const ActAsMember outsider(4713, 4713);
  EXPECT_EQ(http.get("/v1/status").status, 0);
}

TEST_F(TwoUsers, RegistrationIsBoundToAProcessOfItsOwnerOnly) {
  start();
  const pid_t bobs = start_process(kBob);
  const std::string body = R"({"bind":"process","pid":)" + std::to_string(bobs) + "}";
  EXPECT_EQ(call_as(kAlice, "PUT", kTarget, body).status, 422);
  EXPECT_EQ(call_as(kBob, "PUT", kTarget, body).status, 202);
}

}  // namespace
}  // namespace limpet::test
