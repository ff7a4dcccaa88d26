#include "agent/core/harmless_text.h"

#include <gtest/gtest.h>

#include "agent/core/unicode.h"

namespace limpet {
namespace {

TEST(HarmlessText, ControlCharactersInvalidBytesAndMarksOfDirectionAreWrittenOut) {
  EXPECT_EQ(harmless("a\nb\tc\x1b[31m\x7f\r"), "a\\nb\\tc\\x1b[31m\\x7f\\x0d");
  EXPECT_EQ(harmless("\xc2\x9b"
                     "2J"),
            "\\x9b2J");
  EXPECT_EQ(harmless("\xff\xc3(\xe2\x82"), "\\xff\\xc3(\\xe2\\x82");
  EXPECT_EQ(harmless("\u202Eevil\u2066\u200F\u061C\u2028"), "\\u202eevil\\u2066\\u200f\\u061c\\u2028");
  for (const std::string plain : {"", "web/i-1", "é ü 漢字 🙂", "a \"b\" \\ c"}) {
    EXPECT_EQ(harmless(plain), plain);
    EXPECT_EQ(harmless(harmless("\x1b" + plain)), "\\x1b" + plain) << "twice does no more";
  }
}

TEST(HarmlessText, AQuotedValueCannotBeLeft) {
  EXPECT_EQ(quoted_value("ok"), "\"ok\"");
  EXPECT_EQ(quoted_value("x\" event=forged why=\"y\\"), "\"x\\\" event=forged why=\\\"y\\\\\"");
  EXPECT_EQ(quoted_value("x\nlevel=error"), "\"x\\nlevel=error\"");
}

TEST(HarmlessText, AWordIsItselfAndAllElseIsQuoted) {
  for (const std::string word : {"web/i-1", "/services/web/i-1", "10.0.0.7:2181", "a,b:c@d+e%f~g"}) {
    EXPECT_EQ(log_value(word), word);
  }
  EXPECT_EQ(log_value(""), "\"\"");
  EXPECT_EQ(log_value("a b"), "\"a b\"");
  EXPECT_EQ(log_value("a=b"), "\"a=b\"");
  EXPECT_EQ(log_value("a\"b"), "\"a\\\"b\"");
  EXPECT_EQ(log_value("\u202E"), "\"\\u202e\"");
}

TEST(Utf8, TakesWhatRfc3629TakesAndNothingElse) {
  const auto length = [](std::string_view text) { return utf8_sequence(text.data(), text.data() + text.size()); };
  EXPECT_EQ(length("a"), 1u);
  EXPECT_EQ(length("\u00e9"), 2u);
  EXPECT_EQ(length("\u20ac"), 3u);
  EXPECT_EQ(length("\U0010ffff"), 4u);
  for (const std::string_view wrong :
       {"\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80", "\xc3", "\xe2\x82"}) {
    EXPECT_EQ(length(wrong), 0u);
  }
}

}  // namespace
}  // namespace limpet
