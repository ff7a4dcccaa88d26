#include "agent/api/json_document.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "agent/api/base64.h"
#include "agent/api/json_writer.h"

namespace limpet::api {
namespace {

using Json = nlohmann::ordered_json;

std::string nested_lists(std::size_t depth) {
  return std::string(depth, '[') + std::string(depth, ']');
}

TEST(JsonDocument, RefusesWhatIsNotCleanJson) {
  for (const std::string& text : {std::string("{"),
                                  std::string("{]"),
                                  std::string("{} x"),
                                  std::string("{}{}"),
                                  std::string("{\"a\":1,}"),
                                  std::string("{'a':1}"),
                                  std::string("// c\n{}"),
                                  std::string("\xEF\xBB\xBF{}"),
                                  std::string("{}\0", 3),
                                  std::string("{}\0{}", 5),
                                  std::string("\"\xFF\""),
                                  std::string("\"\xC0\x80\""),
                                  std::string("\"\xED\xA0\x80\""),
                                  std::string("\"\\ud800\""),
                                  std::string("\"\\udc00\""),
                                  std::string("\"\\ud800x\""),
                                  std::string("\"\\ud800\\u0041\""),
                                  std::string("\"a\nb\""),
                                  std::string("\"\\x\""),
                                  std::string("01"),
                                  std::string("1."),
                                  std::string(".5"),
                                  std::string("+1"),
                                  std::string("NaN"),
                                  std::string("1e400"),
                                  std::string("-1e400"),
                                  std::string("nul"),
                                  std::string(" "),
                                  std::string("\"a")}) {
    std::string error;
    EXPECT_EQ(JsonDocument::parse(text, error), std::nullopt) << text;
    EXPECT_FALSE(error.empty()) << text;
    EXPECT_EQ(error.find("json.exception"), std::string::npos) << error;
  }
}

TEST(JsonDocument, DepthIsBoundedWithoutRecursion) {
  std::string error;
  EXPECT_TRUE(JsonDocument::parse(nested_lists(32), error));
  for (const std::size_t depth : {33, 1'000, 100'000, 1'000'000}) {
    EXPECT_FALSE(JsonDocument::parse(nested_lists(depth), error));
    EXPECT_FALSE(JsonDocument::parse(std::string(depth, '['), error));
  }
  std::string objects;
  for (int i = 0; i < 100'000; ++i) {
    objects += "{\"a\":";
  }
  EXPECT_FALSE(JsonDocument::parse(objects, error));
}

TEST(JsonDocument, DuplicateKeysAreFoundAtAnyDepthAndInAnyNumber) {
  std::string error;
  EXPECT_FALSE(JsonDocument::parse(R"({"a":1,"a":1})", error));
  EXPECT_FALSE(JsonDocument::parse(R"({"a":1,"\u0061":1})", error));
  EXPECT_FALSE(JsonDocument::parse(R"([{"b":{"a":1,"c":2,"a":[]}}])", error));
  EXPECT_TRUE(JsonDocument::parse(R"({"a":{"a":1},"b":{"a":1}})", error));
  std::string many = "{";
  for (int i = 0; i < 50'000; ++i) {
    many += "\"k" + std::to_string(i) + "\":0,";
  }
  EXPECT_TRUE(JsonDocument::parse(many + "\"z\":0}", error));
  EXPECT_FALSE(JsonDocument::parse(many + "\"k7\":0}", error));
}

TEST(JsonDocument, WritesCompactlyInTheSameOrder) {
  const std::string text =
      "{ \"z\" : [ 1 , 2.50, -0.0, 1E5, 18446744073709551615, 123456789012345678901234567890 ] ,\n"
      " \"a\":{}, \"b\":[], \"c\":\"\\u00e4\\n\\\"\\\\\\/\\u0000\\ud83d\\ude00\", \"d\":null, \"e\":true, \"\":false}";
  std::string error;
  const auto document = JsonDocument::parse(text, error);
  ASSERT_TRUE(document) << error;
  std::string written;
  JsonWriter writer(written);
  document->root().write(writer);
  EXPECT_EQ(written,
            "{\"z\":[1,2.50,-0.0,1E5,18446744073709551615,123456789012345678901234567890],\"a\":{},\"b\":[],"
            "\"c\":\"\u00e4\\n\\\"\\\\/\\u0000\U0001F600\",\"d\":null,\"e\":true,\"\":false}");
  EXPECT_EQ(Json::parse(written), Json::parse(text));
}

TEST(JsonWriter, EveryByteStringBecomesValidJson) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string text{'a', static_cast<char>(byte), 'b'};
    std::string written;
    JsonWriter(written).string(text);
    const auto read = Json::parse(written, nullptr, false);
    ASSERT_TRUE(read.is_string()) << byte;
    EXPECT_EQ(read.get<std::string>(), byte < 128 ? text : "a\uFFFDb") << byte;
  }
}

TEST(JsonWriter, KnowsUtf8) {
  for (const std::string text : {"", "a", "\u00e4", "\u20ac", "\U0001F600", "\uFFFF", "\U0010FFFF", "\u0080"}) {
    EXPECT_TRUE(is_utf8(text)) << text;
  }
  for (const std::string text : {"\x80", "\xC2", "\xC0\xAF", "\xE0\x80\x80", "\xED\xA0\x80", "\xF0\x80\x80\x80",
                                 "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xE2\x82", "a\xFF"}) {
    EXPECT_FALSE(is_utf8(text)) << text;
  }
}

TEST(JsonWriter, TimesHaveMillisecondsAndAreUtc) {
  const auto shown = [](WallMs at) {
    std::string out;
    JsonWriter(out).time(at);
    return out;
  };
  EXPECT_EQ(shown(0), "\"1970-01-01T00:00:00.000Z\"");
  EXPECT_EQ(shown(1'700'000'000'123), "\"2023-11-14T22:13:20.123Z\"");
  EXPECT_EQ(shown(951'782'400'007), "\"2000-02-29T00:00:00.007Z\"");
  EXPECT_EQ(shown(-1), "\"1969-12-31T23:59:59.999Z\"");
}

TEST(Base64, RoundTripsAndIsStrict) {
  std::string bytes;
  for (int i = 0; i < 300; ++i) {
    std::string encoded;
    append_base64(encoded, bytes);
    EXPECT_EQ(decode_base64(encoded), bytes);
    bytes += static_cast<char>(i * 7);
  }
  EXPECT_EQ(decode_base64("aGk="), "hi");
  for (const std::string text :
       {"aGk", "aGk=\n", "a", "a===", "====", "=", "aG=k", "aGl=", "aG-_", " aGk=", "aGk=aGk="}) {
    EXPECT_EQ(decode_base64(text), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace limpet::api
