// Bytes of strangers, made fit for printing.
#include "agent/liveness/text.h"

#include <gtest/gtest.h>

namespace limpet::liveness {
namespace {

constexpr std::size_t kPlenty = 1000;

TEST(Printable, KeepsWhatCanBePrinted) {
  EXPECT_EQ(printable("", kPlenty), "");
  EXPECT_EQ(printable("status 503: \"down\" \\o/", kPlenty), "status 503: \"down\" \\o/");
  EXPECT_EQ(printable("grün – 日本 🐚", kPlenty), "grün – 日本 🐚");
}

TEST(Printable, IsOneTrimmedLine) {
  EXPECT_EQ(printable("\n  first\r\n\tsecond \n\n", kPlenty), "first second");
  EXPECT_EQ(printable(" \n ", kPlenty), "");
}

TEST(Printable, EscapesControlCharactersAndWhatIsNotUtf8) {
  EXPECT_EQ(printable("\x1b[2J\x7f", kPlenty), "\\x1b[2J\\x7f");
  EXPECT_EQ(printable(std::string_view("a\0b", 3), kPlenty), "a\\x00b");
  EXPECT_EQ(printable("\xc2\x9b", kPlenty), "\\xc2\\x9b") << "a control character of two bytes";
  EXPECT_EQ(printable("\xff\xc3", kPlenty), "\\xff\\xc3");
  EXPECT_EQ(printable("\xc0\xaf", kPlenty), "\\xc0\\xaf") << "an overlong slash";
  EXPECT_EQ(printable("\xed\xa0\x80", kPlenty), "\\xed\\xa0\\x80") << "a surrogate";
  EXPECT_EQ(printable("\xf4\x90\x80\x80", kPlenty), "\\xf4\\x90\\x80\\x80") << "beyond Unicode";
}

TEST(Printable, CutsBetweenCharacters) {
  EXPECT_EQ(printable("12345678", 8), "12345678");
  EXPECT_EQ(printable("123456789", 8), "12345…");
  EXPECT_EQ(printable("üüüü", 8), "üüüü");
  EXPECT_EQ(printable("üüüüü", 8), "üü…");
  EXPECT_EQ(printable("\x01\x02\x03", 8), "\\x01…");
  for (std::size_t max = 8; max < 40; ++max) {
    EXPECT_LE(printable("grün – 日本 🐚 grün – 日本 🐚", max).size(), max);
  }
}

}  // namespace
}  // namespace limpet::liveness
