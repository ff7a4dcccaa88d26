// The bytes and names of each format, as its readers expect them. The samples are written out, not made: what stands
// here is what programs that we do not know read.
#include <gtest/gtest.h>

#include "agent/api/formats.h"
#include "agent/api/json.h"

namespace limpet::api {
namespace {

core::RegisterRequest accepted(const RegistrationId& id, std::string_view body) {
  auto parsed = parse_registration(id, body);
  if (const auto* problem = std::get_if<Problem>(&parsed)) {
    ADD_FAILURE() << body << ": " << problem->detail;
    return {};
  }
  return std::get<core::RegisterRequest>(std::move(parsed));
}

// As the core stores it when it is accepted at 1760000000000.
std::string content(const RegistrationId& id, std::string_view body) {
  core::RegisterRequest request = accepted(id, body);
  if (request.time_at) {
    request.data.insert(*request.time_at, "1760000000000");
  }
  return request.data;
}

const RegistrationId kWeb{"web", "web-1"};

TEST(Curator, AsItsOwnSerializerWritesIt) {
  EXPECT_EQ(content(kWeb, R"({"format":"curator","port":8080,"address":"10.0.0.5"})"),
            R"({"name":"web","id":"web-1","address":"10.0.0.5","port":8080,"sslPort":null,"payload":null,)"
            R"("registrationTimeUTC":1760000000000,"serviceType":"DYNAMIC","uriSpec":null})");
  EXPECT_TRUE(accepted(kWeb, R"({"format":"curator","port":1,"address":"a"})").leaf.empty());
}

TEST(Curator, MetadataIsAPayloadOfAMapOrOfTheClassItNames) {
  const std::string head = R"({"name":"web","id":"web-1","address":"h","port":1,"sslPort":null,"payload":)";
  const std::string tail = R"(,"registrationTimeUTC":1760000000000,"serviceType":"DYNAMIC","uriSpec":null})";
  EXPECT_EQ(content(kWeb, R"({"format":"curator","port":1,"address":"h","metadata":{"zone":"a","q":"\"ä"}})"),
            head + R"({"@class":"java.util.LinkedHashMap","zone":"a","q":"\"ä"})" + tail);
  EXPECT_EQ(
      content(kWeb,
              R"({"format":"curator","port":1,"address":"h","metadata":{"zone":"a","@class":"com.acme.Details"}})"),
      head + R"({"@class":"com.acme.Details","zone":"a"})" + tail);
  EXPECT_EQ(content(kWeb, R"({"format":"curator","port":1,"address":"h","metadata":{}})"),
            head + R"({"@class":"java.util.LinkedHashMap"})" + tail);
}

TEST(Spring, IsCuratorsWithAnInstanceAndAUri) {
  const std::string expected_head =
      R"({"name":"web","id":"web-1","address":"10.0.0.5","port":8080,"sslPort":null,"payload":{"@class":)"
      R"("org.springframework.cloud.zookeeper.discovery.ZookeeperInstance","id":"web-1","name":"web","metadata":)";
  const std::string expected_tail =
      R"(},"registrationTimeUTC":1760000000000,"serviceType":"DYNAMIC","uriSpec":{"parts":[)"
      R"({"value":"scheme","variable":true},{"value":"://","variable":false},{"value":"address","variable":true},)"
      R"({"value":":","variable":false},{"value":"port","variable":true}]}})";
  EXPECT_EQ(content(kWeb, R"({"format":"spring","port":8080,"address":"10.0.0.5"})"),
            expected_head + R"({"instance_status":"UP"})" + expected_tail);
  EXPECT_EQ(content(kWeb, R"({"format":"spring","port":8080,"address":"10.0.0.5",
                              "metadata":{"zone":"a","instance_status":"OUT_OF_SERVICE"}})"),
            expected_head + R"({"instance_status":"OUT_OF_SERVICE","zone":"a"})" + expected_tail);
}

TEST(Serverset, AsFinagleReadsIt) {
  EXPECT_EQ(content(kWeb, R"({"format":"serverset","port":31943,"address":"h"})"),
            R"({"serviceEndpoint":{"host":"h","port":31943},"additionalEndpoints":{},"status":"ALIVE"})");
  EXPECT_EQ(content(kWeb, R"({"format":"serverset","port":31943,"address":"h","metadata":{"z":"a"}})"),
            R"({"serviceEndpoint":{"host":"h","port":31943},"additionalEndpoints":{},"status":"ALIVE",)"
            R"("metadata":{"z":"a"}})");
}

TEST(Nerve, AsSynapseReadsIt) {
  EXPECT_EQ(content(kWeb, R"({"format":"nerve","port":8080,"address":"10.0.0.5"})"),
            R"({"host":"10.0.0.5","port":8080,"name":"web-1"})");
  EXPECT_EQ(content(kWeb, R"({"format":"nerve","port":8080,"address":"10.0.0.5","metadata":{"region:us":""}})"),
            R"({"host":"10.0.0.5","port":8080,"name":"web-1","labels":{"region:us":""}})");
}

// A change here would move the znodes of every registration in these formats.
TEST(Leaf, StaysTheSameForEver) {
  EXPECT_EQ(default_leaf(Format::serverset, kWeb), "member_0429428334");
  EXPECT_EQ(default_leaf(Format::serverset, {"web", "web-2"}), "member_0429426971");
  EXPECT_EQ(default_leaf(Format::nerve, kWeb), "web-1_0429428334");
  EXPECT_EQ(accepted(kWeb, R"({"format":"nerve","port":1,"address":"h"})").leaf, "web-1_0429428334");
  for (const Format format : {Format::raw, Format::json, Format::curator, Format::spring}) {
    EXPECT_EQ(default_leaf(format, kWeb), "");
  }
}

struct Refusal {
  std::string body;
  std::string pointer;
};

TEST(Formats, WhatAReaderCouldNotUseIsRefusedWithThePlace) {
  std::vector<Refusal> refusals = {
      {R"({"format":"curator","address":"h","port":1,"path":"/services/web/web-2"})", "/path"},
      {R"({"format":"spring","address":"h","port":1,"path":"/services/web/web-1/x"})", "/path"},
      {R"({"format":"serverset","address":"h","port":1,"path":"/services/web/web-1"})", "/path"},
  };
  for (const std::string format : {"curator", "spring", "serverset", "nerve"}) {
    const std::string head = R"({"format":")" + format + "\"";
    refusals.push_back({head + "}", "/address"});
    refusals.push_back({head + R"(,"port":1})", "/address"});
    refusals.push_back({head + R"(,"address":"h"})", "/port"});
    refusals.push_back({head + R"(,"address":"h","port":1,"data":"x"})", "/format"});
  }
  for (const Refusal& refusal : refusals) {
    const auto parsed = parse_registration(kWeb, refusal.body);
    ASSERT_TRUE(std::holds_alternative<Problem>(parsed)) << refusal.body;
    EXPECT_EQ(std::get<Problem>(parsed).kind, ProblemKind::invalid) << refusal.body;
    EXPECT_EQ(std::get<Problem>(parsed).errors.front().pointer, refusal.pointer) << refusal.body;
  }
}

TEST(Formats, APathOfOnesOwnWhereReadersLook) {
  EXPECT_EQ(accepted(kWeb, R"({"format":"curator","address":"h","port":1,"path":"/base/web/web-1"})").path,
            "/base/web/web-1");
  EXPECT_EQ(accepted(kWeb, R"({"format":"serverset","address":"h","port":1,"path":"/s/member_0000000007"})").path,
            "/s/member_0000000007");
  EXPECT_EQ(accepted(kWeb, R"({"format":"nerve","address":"h","port":1,"path":"/nerve/web/any"})").path,
            "/nerve/web/any");
}

TEST(Formats, TheLimitOfTheDataHoldsWithTheTimeInIt) {
  const auto body = [](std::size_t bytes) {
    return R"({"format":"curator","address":"h","port":1,"metadata":{"x":")" + std::string(bytes, 'x') + "\"}}";
  };
  const std::size_t limit = BodyLimits().max_data_bytes;
  const std::size_t around = content(kWeb, body(0)).size();
  EXPECT_EQ(content(kWeb, body(limit - around)).size(), limit);
  const auto parsed = parse_registration(kWeb, body(limit - around + 1));
  EXPECT_EQ(std::get<Problem>(parsed).kind, ProblemKind::too_large);
}

}  // namespace
}  // namespace limpet::api
