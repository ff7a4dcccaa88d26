// The order in which a write buffer is put before it becomes a table.
#include "storage/rocks_buffer.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace limpet::test {
namespace {

// As an entry lies in a buffer.
std::string entry(const std::string& key, std::uint64_t sequence, std::uint8_t type = 1) {
  std::string bytes;
  for (std::size_t size = key.size() + 8;; size >>= 7) {
    bytes += static_cast<char>(size >= 0x80 ? size | 0x80 : size);
    if (size < 0x80) {
      break;
    }
  }
  bytes += key;
  const std::uint64_t trailer = sequence << 8 | type;
  for (int shift = 0; shift < 64; shift += 8) {
    bytes += static_cast<char>(trailer >> shift);
  }
  return bytes + "the value, which does not count";
}

TEST(RocksBuffer, IsInTheOrderOfKeysAndTheNewestOfOneComesFirst) {
  const std::string large(1u << 10, 'R');
  const std::vector<std::string> ascending = {
      entry("", 9),           entry(std::string(1, '\0'), 1),
      entry("M", 1ULL << 55), entry("M", 300),
      entry("M", 299),        entry("M", 255),
      entry("M", 0, 1),       entry("M", 0, 0),
      entry("M/", 5),         entry(large, 2),
      entry(large, 1),        entry(large + "R", 1),
      entry("Ra/b", 7),       entry("Ra/bc", 900),
      entry("Rb", 1),         entry("R\xff", 1),
      entry("\xff", 1),
  };
  for (std::size_t a = 0; a < ascending.size(); ++a) {
    for (std::size_t b = 0; b < ascending.size(); ++b) {
      const int order = compare_in_buffer(ascending[a].c_str(), ascending[b].c_str());
      EXPECT_EQ(order < 0, a < b) << a << " " << b;
      EXPECT_EQ(order == 0, a == b) << a << " " << b;
    }
  }
}

}  // namespace
}  // namespace limpet::test
