#include "agent/core/quick_hash.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace limpet::core {
namespace {

TEST(QuickHash, TextsThatDifferInOneByteOrTheirLengthAreNotTheSame) {
  for (std::size_t size = 0; size < 70; ++size) {
    const std::string text(size, 'a');
    EXPECT_TRUE(quick_equal(text, std::string(text)));
    EXPECT_FALSE(quick_equal(text, text + 'a'));
    EXPECT_NE(quick_hash(text), quick_hash(text + 'a')) << size;
    EXPECT_NE(quick_hash(text), quick_hash(text, 1)) << size;
    for (std::size_t at = 0; at < size; ++at) {
      std::string other = text;
      other[at] = 'b';
      EXPECT_FALSE(quick_equal(text, other)) << size << " " << at;
      EXPECT_NE(quick_hash(text), quick_hash(other)) << size << " " << at;
    }
  }
}

TEST(QuickHash, NamesThatCountUpSpreadOverATable) {
  constexpr std::size_t kNames = 10'000;
  constexpr std::uint64_t kPlaces = 1 << 14;
  for (const std::string stem : {"", "i-", "web-", "service-", "/services/web/host-12.example.org:"}) {
    std::set<std::uint64_t> places;
    for (std::size_t i = 0; i < kNames; ++i) {
      places.insert(quick_hash(stem + std::to_string(i)) % kPlaces);
    }
    // By chance it would be 7,480.
    EXPECT_GT(places.size(), 7'000U) << stem;
  }
}

TEST(QuickHash, PartsOfAnIdDoNotRunIntoEachOther) {
  EXPECT_NE(quick_hash(RegistrationId{"ab", "c"}), quick_hash(RegistrationId{"a", "bc"}));
  EXPECT_NE(quick_hash(RegistrationId{"a", "b"}), quick_hash(RegistrationId{"b", "a"}));
  EXPECT_TRUE(quick_equal(RegistrationId{"a", "b"}, RegistrationId{"a", "b"}));
  EXPECT_FALSE(quick_equal(RegistrationId{"a", "b"}, RegistrationId{"a", "c"}));
  EXPECT_FALSE(quick_equal(RegistrationId{"a", "b"}, RegistrationId{"c", "b"}));
}

}  // namespace
}  // namespace limpet::core
