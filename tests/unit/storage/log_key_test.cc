// The key of the log's marks.
#include "storage/log_key.h"

#include <gtest/gtest.h>

#include "fixtures.h"

namespace limpet::test {
namespace {

// From the appendix of the paper, and its authors' vectors.h: the key 00 01 … 0f, the bytes 00 01 ….
TEST(SipHash, GivesItsAuthorsValues) {
  std::string bytes;
  const auto hash = [&] { return siphash(0x0706050403020100, 0x0f0e0d0c0b0a0908, bytes); };
  EXPECT_EQ(hash(), 0x726fdb47dd0e0e31u);
  for (char i = 0; i < 8; ++i) {
    bytes.push_back(i);
  }
  EXPECT_EQ(hash(), 0x93f5f5799a932462u);
  for (char i = 8; i < 15; ++i) {
    bytes.push_back(i);
  }
  EXPECT_EQ(hash(), 0xa129ca6149be45e5u);
}

TEST(LogKey, KnowsItsOwnMarksAndNoOthers) {
  const LogKey key("0123456789abcdef");
  const LogKey other("0123456789abcdeg");
  for (std::uint64_t number = 0; number < 100; ++number) {
    const std::string mark = key.mark(number);
    ASSERT_EQ(mark.size(), LogKey::kMarkSize);
    EXPECT_TRUE(key.is_mark(mark));
    EXPECT_FALSE(other.is_mark(mark));
    for (std::size_t bit = 0; bit < 8 * mark.size(); ++bit) {
      std::string flipped = mark;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ 1 << bit % 8);
      EXPECT_FALSE(key.is_mark(flipped));
    }
    EXPECT_FALSE(key.is_mark(mark.substr(1)));
  }
}

TEST(LogKey, IsReadAsItWasMadeAndNotWhereABitIsFlipped) {
  TempDir temp;
  EXPECT_FALSE(LogKey::read(temp.path("."))->has_value());
  const auto made = LogKey::make(temp.path("."));
  ASSERT_TRUE(made.ok()) << made.status().message();
  const auto found = LogKey::read(temp.path("."));
  ASSERT_TRUE(found.ok() && found->has_value());
  EXPECT_TRUE((*found)->is_mark(made->mark(7)));
  const std::string path = temp.path(LogKey::kFile);
  const std::string bytes = read_file(path);
  for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ 1 << bit % 8);
    write_file(path, flipped);
    EXPECT_FALSE(LogKey::read(temp.path("."))->has_value()) << bit;
  }
  write_file(path, bytes.substr(0, 19));
  EXPECT_FALSE(LogKey::read(temp.path("."))->has_value());
  const auto again = LogKey::make(temp.path("."));
  ASSERT_TRUE(again.ok());
  EXPECT_FALSE(again->is_mark(made->mark(7)));
}

TEST(LogKey, WhatCannotBeReadOrWrittenIsAnError) {
  TempDir temp;
  EXPECT_FALSE(LogKey::make(temp.path("none")).ok());
  std::filesystem::create_directories(temp.path(LogKey::kFile));
  EXPECT_FALSE(LogKey::read(temp.path(".")).ok());
}

}  // namespace
}  // namespace limpet::test
