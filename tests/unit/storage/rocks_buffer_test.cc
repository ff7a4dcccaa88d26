// The order in which a write buffer is put before it becomes a table.
#include "storage/rocks_buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <utility>
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

using Key = std::pair<std::string, std::uint64_t>;

// Sorts `keys`, put in at random, and compares with the order that RocksDB wants.
void expect_in_order(std::vector<Key> keys, std::mt19937_64& random) {
  std::ranges::shuffle(keys, random);
  std::vector<std::string> entries;
  for (const auto& [key, sequence] : keys) {
    entries.push_back(entry(key, sequence));
  }
  std::vector<const char*> sorted;
  for (const std::string& each : entries) {
    sorted.push_back(each.c_str());
  }
  sort_entries(sorted);
  std::ranges::sort(
      keys, [](const Key& a, const Key& b) { return a.first != b.first ? a.first < b.first : a.second > b.second; });
  ASSERT_EQ(sorted.size(), keys.size());
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const std::string wanted = entry(keys[i].first, keys[i].second);
    ASSERT_EQ(std::string_view(sorted[i], wanted.size()), wanted) << i << " of " << keys.size();
  }
}

TEST(RocksBuffer, IsInTheOrderOfKeysAndTheNewestOfOneComesFirst) {
  std::mt19937_64 random(1);
  const std::string large(1u << 10, 'R');
  const std::vector<Key> few = {
      {"", 9},
      {std::string(1, '\0'), 1},
      {std::string(9, '\0'), 1},
      {"M", 1ULL << 55},
      {"M", 300},
      {"M", 299},
      {"M", 255},
      {"M", 1},
      {"M/", 5},
      {large, 2},
      {large, 1},
      {large + "R", 1},
      {"Ra/b", 7},
      {"Ra/bc", 900},
      {"Rb", 1},
      {"R\xff", 1},
      {"\xff", 1},
  };
  expect_in_order({}, random);
  expect_in_order({few.front()}, random);
  expect_in_order(few, random);
}

// What a full buffer holds: a kind with one key, services with many instances, each several times.
TEST(RocksBuffer, IsInOrderWithManyKeysThatBeginAlike) {
  std::mt19937_64 random(2);
  std::vector<Key> keys;
  std::uint64_t sequence = 0;
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 400; ++i) {
      keys.emplace_back("M", ++sequence);
      keys.emplace_back("R/services/inventory/host-" + std::to_string(i), ++sequence);
      keys.emplace_back("R/services/inventory-of-the-north/" + std::to_string(i) + "-of-many", ++sequence);
      keys.emplace_back("R/services/inventory" + std::string(static_cast<std::size_t>(i % 40), '\0'), ++sequence);
    }
  }
  expect_in_order(keys, random);
}

// Few letters, the zero among them, so that keys often begin alike and end anywhere.
TEST(RocksBuffer, IsInOrderWhateverTheKeys) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 200; ++round) {
    std::vector<Key> keys(random() % 300);
    std::uint64_t sequence = 0;
    for (auto& [key, number] : keys) {
      key.assign(random() % 4 * (random() % 12), 'a');
      for (char& c : key) {
        c = random() % 8 == 0 ? static_cast<char>(random() % 3) : c;
      }
      number = ++sequence;
    }
    expect_in_order(std::move(keys), random);
  }
}

}  // namespace
}  // namespace limpet::test
