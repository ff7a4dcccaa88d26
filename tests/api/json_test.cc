#include "agent/api/json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "agent/api/field_errors.h"
#include "agent/api/registration_reader.h"

namespace limpet::api {
namespace {

using Json = nlohmann::ordered_json;

const RegistrationId kJsonId{"web", "i-1"};

core::RegisterRequest accepted_request(std::string_view body) {
  auto parsed = parse_registration(kJsonId, body);
  if (const auto* problem = std::get_if<Problem>(&parsed)) {
    ADD_FAILURE() << body.substr(0, 200) << ": " << problem->detail;
    return {};
  }
  return std::get<core::RegisterRequest>(std::move(parsed));
}

Problem refused(std::string_view body) {
  auto parsed = parse_registration(kJsonId, body);
  if (!std::holds_alternative<Problem>(parsed)) {
    ADD_FAILURE() << "accepted: " << body.substr(0, 200);
    return {};
  }
  return std::get<Problem>(std::move(parsed));
}

std::string nested_text(std::size_t depth) {
  return std::string(depth, '[') + std::string(depth, ']');
}

// Words that a field could be, which count how often they are looked through.
struct CountedWords {
  std::size_t& looked;
  std::vector<std::string_view> words = {"address", "port"};
  auto begin() const {
    ++looked;
    return words.begin();
  }
  auto end() const { return words.end(); }
};

TEST(FieldErrors, UnknownFieldsCostNothingOnceEnoughAreFound) {
  std::size_t looked = 0;
  const CountedWords words{looked};
  FieldErrors errors;
  for (int i = 0; i < 10'000; ++i) {
    errors.unknown_field("", "field" + std::to_string(i), words);
  }
  EXPECT_TRUE(errors.full());
  EXPECT_EQ(looked, 16U);
  EXPECT_EQ(std::move(errors).problem().errors.size(), 16U);
}

TEST(FieldErrors, BodyOfUnknownFieldsTellsSixteenOfThem) {
  Json body;
  for (int i = 0; i < 20'000; ++i) {
    body["addres" + std::to_string(i)] = 1;
  }
  EXPECT_EQ(refused(body.dump()).errors.size(), 16U);
  const Json operation = {{"op", "register"}, {"service", "a"}, {"instance", "b"}, {"metadata", body}};
  const auto parsed = parse_batch(Json({{"operations", {operation}}}).dump());
  ASSERT_TRUE(std::holds_alternative<Problem>(parsed));
  EXPECT_EQ(std::get<Problem>(parsed).errors.size(), 16U);
}

TEST(Registration, DataIsTakenAsItIs) {
  EXPECT_EQ(accepted_request(R"({"data":"hello"})").data, "hello");
  EXPECT_EQ(accepted_request(R"({"data":""})").data, "");
  EXPECT_EQ(accepted_request(R"({"data":"a\u0000b\u00e4"})").data, std::string("a\0b\u00e4", 5));
  EXPECT_EQ(accepted_request(R"({"data": {"b" : 1, "a" : [true, null]} })").data, R"({"b":1,"a":[true,null]})");
  EXPECT_EQ(accepted_request(R"({"data":1.50})").data, "1.50");
  EXPECT_EQ(accepted_request(R"({"data_base64":"AP8="})").data, std::string("\0\xFF", 2));
  for (const std::string body : {R"({"data":"x"})", R"({"data_base64":""})", R"({"data":0,"format":"raw"})"}) {
    EXPECT_EQ(accepted_request(body).format, Format::raw) << body;
  }
}

// What a template without a value makes.
TEST(Registration, NullLeavesAFieldOut) {
  const core::RegisterRequest without = accepted_request("{}");
  for (const std::string_view field : kRegistrationFields) {
    const core::RegisterRequest request = accepted_request("{\"" + std::string(field) + "\":null}");
    EXPECT_EQ(request.data, without.data) << field;
    EXPECT_EQ(request.format, without.format) << field;
    EXPECT_EQ(request.path, without.path) << field;
    EXPECT_EQ(request.lifetime, without.lifetime) << field;
  }
  EXPECT_EQ(accepted_request(R"({"data":null,"data_base64":"eA=="})").data, "x");
  EXPECT_EQ(accepted_request(R"({"data":[null]})").data, "[null]");
  EXPECT_EQ(refused(R"({"dat":null})").errors[0].pointer, "/dat");
  const auto checked = accepted_request(
      R"({"checks":[{"type":"http","url":"http://127.0.0.1/","status":null,"interval":null,"timeout":null,)"
      R"("rise":null,"fall":null}]})");
  EXPECT_EQ(checked.lifetime.checks,
            accepted_request(R"({"checks":[{"type":"http","url":"http://127.0.0.1/"}]})").lifetime.checks);
  EXPECT_EQ(refused(R"({"checks":[{"type":"tcp","address":null}]})").errors[0].detail, "is missing");
  EXPECT_EQ(refused(R"({"checks":[{"type":null}]})").errors[0].detail, "is missing");
  const auto batch = parse_batch(R"({"operations":[{"op":"deregister","service":"a","instance":"b","data":null}]})");
  EXPECT_TRUE((std::holds_alternative<std::vector<core::ChangeRequest>>(batch)));
}

TEST(JsonText, ControlCharactersAreEscapedDelAndLatin1sToo) {
  std::string out;
  // In pieces of all lengths: plain text is looked at sixteen bytes at a time.
  for (std::size_t before = 0; before < 40; ++before) {
    const std::string text = std::string(before, 'x') + "\x7f\u0080\u009b\u009f\u00a0\x1b" + std::string(20, 'y');
    out.clear();
    JsonWriter(out).string(text);
    EXPECT_EQ(
        out, '"' + std::string(before, 'x') + "\\u007f\\u0080\\u009b\\u009f\u00a0\\u001b" + std::string(20, 'y') + '"');
    EXPECT_EQ(Json::parse(out).get<std::string>(), text);
    EXPECT_EQ(accepted_request("{\"data\":" + out + "}").data, text);
    EXPECT_EQ(accepted_request("{\"data\":\"" + std::string(before, 'x') + "\x7f\"}").data,
              std::string(before, 'x') + "\x7f");
  }
}

TEST(Registration, RawWithoutDataIsEmpty) {
  const auto request = accepted_request(R"({"format":"raw"})");
  EXPECT_EQ(request.format, Format::raw);
  EXPECT_EQ(request.data, "");
}

TEST(Registration, JsonFormatKeepsItsOrderAndLeavesOutWhatIsNotGiven) {
  EXPECT_EQ(accepted_request("").data, R"({"service":"web","instance":"i-1"})");
  EXPECT_EQ(accepted_request("{}").format, Format::json);
  EXPECT_EQ(
      accepted_request(R"({"metadata":{"z":"1","a":"\""},"port":8080,"address":"10.0.0.7","format":"json"})").data,
      R"({"service":"web","instance":"i-1","address":"10.0.0.7","port":8080,"metadata":{"z":"1","a":"\""}})");
  EXPECT_EQ(accepted_request(R"({"metadata":{}})").data, R"({"service":"web","instance":"i-1","metadata":{}})");
}

TEST(Registration, PathIsPassedOn) {
  EXPECT_EQ(accepted_request("{}").path, std::nullopt);
  EXPECT_EQ(accepted_request(R"({"path":"/dubbo/x/providers/y"})").path, "/dubbo/x/providers/y");
}

struct BadBody {
  std::string body;
  ProblemKind kind;
  std::string pointer;  // of the first error; "-": there are none
};

class BadRegistration : public ::testing::TestWithParam<BadBody> {};

TEST_P(BadRegistration, IsRefusedWithThePlace) {
  const BadBody& bad = GetParam();
  const Problem problem = refused(bad.body);
  EXPECT_EQ(problem.kind, bad.kind) << bad.body.substr(0, 200) << ": " << problem.detail;
  EXPECT_EQ(problem.errors.empty() ? "-" : problem.errors.front().pointer, bad.pointer) << bad.body.substr(0, 200);
}

const BadBody kBadBodies[] = {
    {"[]", ProblemKind::invalid, ""},
    {"null", ProblemKind::invalid, ""},
    {"\"x\"", ProblemKind::invalid, ""},
    {"{", ProblemKind::bad_json, "-"},
    {"\xEF\xBB\xBF{}", ProblemKind::bad_json, "-"},
    {"{\"data\":\"\xFF\"}", ProblemKind::bad_json, "-"},
    {R"({"data":"\ud800"})", ProblemKind::bad_json, "-"},
    {R"({"data":1,"data":2})", ProblemKind::bad_json, "-"},
    {R"({"metadata":{"a":"1","a":"2"}})", ProblemKind::bad_json, "-"},
    {R"({"data":)" + nested_text(32) + "}", ProblemKind::bad_json, "-"},
    {R"({"data":)" + nested_text(100'000) + "}", ProblemKind::bad_json, "-"},
    {R"({"port":true})", ProblemKind::invalid, "/port"},
    {R"({"port":"80"})", ProblemKind::invalid, "/port"},
    {R"({"port":1.9})", ProblemKind::invalid, "/port"},
    {R"({"port":80.0})", ProblemKind::invalid, "/port"},
    {R"({"port":8e1})", ProblemKind::invalid, "/port"},
    {R"({"port":0})", ProblemKind::invalid, "/port"},
    {R"({"port":-1})", ProblemKind::invalid, "/port"},
    {R"({"port":65536})", ProblemKind::invalid, "/port"},
    {R"({"port":4294967297})", ProblemKind::invalid, "/port"},
    {R"({"port":18446744073709551615})", ProblemKind::invalid, "/port"},
    {R"({"port":18446744073709551616})", ProblemKind::invalid, "/port"},
    {R"({"port":-9223372036854775809})", ProblemKind::invalid, "/port"},
    {R"({"port":1e400})", ProblemKind::bad_json, "-"},
    {R"({"port":[80]})", ProblemKind::invalid, "/port"},
    {R"({"address":1})", ProblemKind::invalid, "/address"},
    {R"({"address":""})", ProblemKind::invalid, "/address"},
    {R"({"address":"a\u0000"})", ProblemKind::invalid, "/address"},
    {R"({"address":"a\u007f"})", ProblemKind::invalid, "/address"},
    {R"({"address":"a\u0085"})", ProblemKind::invalid, "/address"},
    {R"({"address":")" + std::string(256, 'a') + "\"}", ProblemKind::invalid, "/address"},
    {R"({"metadata":[]})", ProblemKind::invalid, "/metadata"},
    {R"({"metadata":{"a":1}})", ProblemKind::invalid, "/metadata/a"},
    {R"({"metadata":{"a/b~c":null}})", ProblemKind::invalid, "/metadata/a~1b~0c"},
    {R"({"format":"xml"})", ProblemKind::invalid, "/format"},
    {R"({"format":"raw","port":80})", ProblemKind::invalid, "/port"},
    {R"({"data":"x","address":"a"})", ProblemKind::invalid, "/address"},
    {R"({"data_base64":"","metadata":{}})", ProblemKind::invalid, "/metadata"},
    {R"({"format":"curator","address":"a","port":1,"data":"x"})", ProblemKind::invalid, "/format"},
    {R"({"format":1})", ProblemKind::invalid, "/format"},
    {R"({"format":"json","data":"x"})", ProblemKind::invalid, "/format"},
    {R"({"data":"x","data_base64":"eA=="})", ProblemKind::invalid, "/data_base64"},
    {R"({"data_base64":"*"})", ProblemKind::invalid, "/data_base64"},
    {R"({"data_base64":{}})", ProblemKind::invalid, "/data_base64"},
    {R"({"path":"relative"})", ProblemKind::invalid, "/path"},
    {R"({"path":"/zookeeper/x"})", ProblemKind::invalid, "/path"},
    {R"({"adress":"x"})", ProblemKind::invalid, "/adress"},
    {R"({"":1})", ProblemKind::invalid, "/"},
    {R"({"data":")" + std::string(1'000'001, 'x') + "\"}", ProblemKind::too_large, "/data"},
};
INSTANTIATE_TEST_SUITE_P(All, BadRegistration, ::testing::ValuesIn(kBadBodies));

TEST(Registration, SaysWhatWasMeant) {
  EXPECT_NE(refused(R"({"adress":"x"})").detail.find("did you mean address?"), std::string::npos);
  EXPECT_NE(refused(R"({"format":"consul"})").detail.find("serverset"), std::string::npos);
}

TEST(Registration, TellsAllThatIsWrongUpToABound) {
  EXPECT_EQ(refused(R"({"port":0,"address":"","format":"x"})").errors.size(), 3U);
  std::string body = "{";
  for (int i = 0; i < 1'000; ++i) {
    body += "\"x" + std::to_string(i) + "\":0,";
  }
  EXPECT_EQ(refused(body + "\"y\":0}").errors.size(), 16U);
}

TEST(Registration, DataOfExactlyTheLimitIsTaken) {
  EXPECT_EQ(accepted_request(R"({"data":")" + std::string(1'000'000, 'x') + "\"}").data.size(), 1'000'000U);
}

TEST(Batch, IsReadInOrder) {
  const auto parsed = parse_batch(
      R"({"operations":[{"op":"register","service":"a","instance":"1","data":"x"},
                        {"instance":"2","service":"b","op":"deregister"}]})");
  const auto& requests = std::get<std::vector<core::ChangeRequest>>(parsed);
  ASSERT_EQ(requests.size(), 2U);
  EXPECT_EQ(std::get<core::RegisterRequest>(requests[0]).data, "x");
  EXPECT_EQ(std::get<core::DeregisterRequest>(requests[1]).id, (RegistrationId{"b", "2"}));
}

TEST(Batch, NamesTheOperationAtFault) {
  const std::string good = R"({"op":"register","service":"a","instance":"1"},)";
  struct Case {
    std::string operation;
    std::string pointer;
  };
  for (const Case& bad : std::initializer_list<Case>{
           {R"({"op":"register","service":"a","instance":"1","port":true})", "/operations/1/port"},
           {R"({"op":"deregister","service":"a","instance":"1","port":1})", "/operations/1/port"},
           {R"({"op":"move","service":"a","instance":"1"})", "/operations/1/op"},
           {R"({"service":"a","instance":"1"})", "/operations/1/op"},
           {R"({"op":"register","instance":"1"})", "/operations/1/service"},
           {R"({"op":"register","service":"a","instance":".."})", "/operations/1/instance"},
           {R"({"op":"register","service":"a","instance":1})", "/operations/1/instance"},
           {R"([])", "/operations/1"}}) {
    const auto parsed = parse_batch(R"({"operations":[)" + good + bad.operation + "]}");
    ASSERT_TRUE(std::holds_alternative<Problem>(parsed)) << bad.operation;
    const auto& problem = std::get<Problem>(parsed);
    EXPECT_EQ(problem.kind, ProblemKind::invalid);
    EXPECT_EQ(problem.index, 1U);
    EXPECT_EQ(problem.errors.front().pointer, bad.pointer);
  }
}

TEST(Batch, OuterShapeIsChecked) {
  for (const std::string body : {"", "{}", R"({"operations":{}})", R"({"operations":[],"x":1})", R"({"ops":[]})"}) {
    const auto parsed = parse_batch(body);
    ASSERT_TRUE(std::holds_alternative<Problem>(parsed)) << body;
    EXPECT_EQ(std::get<Problem>(parsed).index, std::nullopt);
  }
  EXPECT_TRUE(std::get<std::vector<core::ChangeRequest>>(parse_batch(R"({"operations":[]})")).empty());
}

TEST(Batch, NumberOfOperationsIsBounded) {
  const auto body = [](std::size_t count) {
    std::string text = R"({"operations":[)";
    for (std::size_t i = 0; i < count; ++i) {
      text += i == 0 ? "" : ",";
      text += R"({"op":"deregister","service":"a","instance":"b"})";
    }
    return text + "]}";
  };
  EXPECT_EQ(std::get<std::vector<core::ChangeRequest>>(parse_batch(body(kMaxBatchOperations))).size(),
            kMaxBatchOperations);
  EXPECT_TRUE(std::holds_alternative<Problem>(parse_batch(body(kMaxBatchOperations + 1))));
}

core::RegistrationView example_view() {
  core::RegistrationView view;
  view.registration =
      Registration{kJsonId, "/services/web/i-1", Format::raw, "a\"b", {1000, 4321}, Seq{17}, 1'700'000'000'123, {}};
  view.state = core::State::registered;
  view.znode =
      Outcome{Seq{17}, SessionId{0x1000000000000abc}, Zxid{0x100000002}, Zxid{0x100000003}, 4, 1'700'000'000'456};
  return view;
}

TEST(Render, RegistrationAsTheContractShowsIt) {
  std::string out;
  render_registration(out, example_view());
  EXPECT_EQ(
      out,
      R"({"id":"web/i-1","service":"web","instance":"i-1","path":"/services/web/i-1","format":"raw",)"
      R"("data":"a\"b","state":"registered","reason":null,"seq":17,"accepted_at":"2023-11-14T22:13:20.123Z",)"
      R"("registered_at":"2023-11-14T22:13:20.456Z","owner":{"uid":1000,"pid":4321},"bind":"none","ttl":null,)"
      R"("ttl_expires_at":null,"expires":null,"expires_at":null,"maintenance":null,"znode":{"session":"0x1000000000000abc","czxid":"0x100000002",)"
      R"("mzxid":"0x100000003","version":4}})");
}

TEST(Render, BytesThatAreNotTextAreBase64) {
  auto view = example_view();
  Registration binary = *view.registration;
  binary.data = "\xFF";
  view.registration = std::move(binary);
  std::string out;
  render_registration(out, view);
  const Json shown = Json::parse(out);
  EXPECT_TRUE(shown["data"].is_null());
  EXPECT_EQ(shown["data_base64"], "/w==");
}

TEST(Render, WhatIsNotKnownIsNull) {
  auto view = example_view();
  view.state = core::State::pending;
  view.reason = core::Reason{core::ReasonCode::no_quorum, "no leader", 1'700'000'000'123, 3};
  view.znode->seq = Seq{16};  // an older content is what stands there
  std::string out;
  render_registration(out, view);
  Json shown = Json::parse(out);
  EXPECT_TRUE(shown["registered_at"].is_null());
  EXPECT_EQ(shown["znode"]["version"], 4);
  EXPECT_EQ(shown["reason"].dump(),
            R"({"code":"no_quorum","message":"no leader","since":"2023-11-14T22:13:20.123Z","attempts":3})");
  view.znode.reset();
  view.state = core::State::removing;
  out.clear();
  render_registration(out, view);
  shown = Json::parse(out);
  EXPECT_TRUE(shown["znode"].is_null());
  EXPECT_TRUE(shown["data"].is_null());
  EXPECT_TRUE(shown["format"].is_null());
}

TEST(Render, OperationAndStatus) {
  std::string out;
  render_operation(out, {Seq{3}, true, false, kJsonId, "/services/web/i-1", core::State::removing, {}, 0});
  EXPECT_EQ(out, R"({"seq":3,"op":"deregister","id":"web/i-1","service":"web","instance":"i-1",)"
                 R"("path":"/services/web/i-1","state":"removing","reason":null,)"
                 R"("accepted_at":"1970-01-01T00:00:00.000Z"})");
  out.clear();
  core::StatusView status;
  status.session = SessionId{-1};
  status.by_state[static_cast<std::size_t>(core::State::blocked)] = 2;
  render_status(out, status, {"0.1.0", 1, 0, 40'960});
  const Json shown = Json::parse(out);
  EXPECT_EQ(shown["zookeeper"]["session"], "0xffffffffffffffff");
  EXPECT_TRUE(shown["zookeeper"]["server"].is_null());
  EXPECT_EQ(shown["registrations"]["blocked"], 2);
  EXPECT_EQ(shown["storage"].dump(), R"({"healthy":true,"state":"working","since":null,"error":null,"bytes":40960})");
  out.clear();
  status.storage = core::StorageState::hung;
  status.storage_since = 1'500;
  status.storage_error = "the disk has not answered";
  render_status(out, status, {"0.1.0", 1, 0, 40'960});
  EXPECT_EQ(Json::parse(out)["storage"].dump(),
            R"({"healthy":false,"state":"hung","since":"1970-01-01T00:00:01.500Z","error":"the disk has not answered",)"
            R"("bytes":40960})");
}

}  // namespace
TEST(Render, WhatIsPlainIsFoundWhereverItEnds) {
  for (std::size_t length = 0; length < 200; ++length) {
    const std::string plain(length, 'x');
    EXPECT_EQ(plain_prefix(plain), length);
    EXPECT_TRUE(is_plain(plain)) << length;
    for (std::size_t at = 0; at < length; ++at) {
      for (const char special : {'\0', '\x1f', '"', '\\', '\x7f', '\x80', '\xff'}) {
        std::string text = plain;
        text[at] = special;
        EXPECT_FALSE(is_plain(text)) << length;
        text.back() = special;
        EXPECT_EQ(plain_prefix(text), at) << length;
      }
    }
  }
  const std::string neighbours = " !#[]~ !#[]~ !#[]~ !#[]~ !#[]~ !#[]~";
  EXPECT_TRUE(is_plain(neighbours));
}

}  // namespace limpet::api
