#include "agent/config_values.h"

#include <gtest/gtest.h>

namespace limpet {
namespace {

TEST(ConfigValues, SizesMayHaveAUnit) {
  EXPECT_EQ(parse_size("4096"), 4096U);
  EXPECT_EQ(parse_size("4096B"), 4096U);
  EXPECT_EQ(parse_size("64KiB"), 65'536U);
  EXPECT_EQ(parse_size("64kB"), 64'000U);
  EXPECT_EQ(parse_size("1MiB"), 1'048'576U);
  EXPECT_EQ(parse_size("1MB"), 1'000'000U);
  EXPECT_EQ(parse_size("2GiB"), 2'147'483'648U);
  for (const char* wrong : {"", "MiB", "1 MiB", "1mib", "1.5MiB", "-1", "0x10", "99999999999GiB"}) {
    EXPECT_EQ(parse_size(wrong), std::nullopt) << wrong;
  }
  for (const char* text : {"0", "1", "1000000", "64KiB", "1MiB", "3GiB"}) {
    EXPECT_EQ(size_text(*parse_size(text)), text);
  }
}

TEST(ConfigValues, CountsAreDigits) {
  EXPECT_EQ(parse_count("0"), 0U);
  EXPECT_EQ(parse_count("18446744073709551615"), 18446744073709551615U);
  for (const char* wrong : {"", "-1", "+1", "1 ", " 1", "1e3", "18446744073709551616"}) {
    EXPECT_EQ(parse_count(wrong), std::nullopt) << wrong;
  }
}

TEST(ConfigValues, ListsAreSplitAtCommas) {
  EXPECT_EQ(split_list("/a,/b"), (std::vector<std::string>{"/a", "/b"}));
  EXPECT_EQ(split_list(""), std::vector<std::string>{});
  EXPECT_EQ(split_list("/a,,/b"), (std::vector<std::string>{"/a", "", "/b"}));
  EXPECT_EQ(split_list(",/a,"), (std::vector<std::string>{"", "/a", ""}));
  EXPECT_EQ(split_list(","), (std::vector<std::string>{"", ""}));
}

TEST(ConfigValues, TheNearestNameIsNotFarAway) {
  EXPECT_EQ(nearest_name("soket", {"root", "socket"}), "socket");
  EXPECT_EQ(nearest_name("completely", {"root", "socket"}), "");
}

}  // namespace
}  // namespace limpet
