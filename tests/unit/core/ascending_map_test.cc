#include "agent/core/ascending_map.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

namespace limpet::core {
namespace {

using Reference = std::map<int, int*>;
using Pairs = std::vector<std::pair<int, int*>>;

class AscendingMapTest : public testing::Test {
 protected:
  void insert(int key) {
    map_.insert(key, &values_.at(static_cast<std::size_t>(key)));
    reference_.emplace(key, &values_.at(static_cast<std::size_t>(key)));
  }
  void erase(int key) {
    map_.erase(key, reference_.at(key));
    reference_.erase(key);
  }
  void expect_same() const {
    EXPECT_EQ(map_.size(), reference_.size());
    EXPECT_EQ(map_.empty(), reference_.empty());
    EXPECT_EQ(pairs(map_.begin()), Pairs(reference_.begin(), reference_.end()));
  }
  Pairs pairs(AscendingMap<int, int*>::Iterator from) const {
    Pairs found;
    for (auto it = from; it != map_.end(); ++it) {
      found.emplace_back(it->key, it->value);
    }
    return found;
  }

  std::vector<int> values_ = std::vector<int>(20'000);
  AscendingMap<int, int*> map_;
  Reference reference_;
};

TEST_F(AscendingMapTest, WhatComesInOrderAndGoesFromTheFront) {
  for (int key = 0; key < 5'000; ++key) {
    insert(key);
    if (key >= 100) {
      erase(key - 100);
      ASSERT_EQ(map_.begin()->key, key - 99);
    }
  }
  expect_same();
}

TEST_F(AscendingMapTest, WhatComesBackIntoTheMiddle) {
  for (const int key : {10, 20, 30, 15, 5, 25, 40}) {
    insert(key);
    expect_same();
  }
  for (const int key : {20, 5, 40, 10}) {
    erase(key);
    expect_same();
    insert(key);  // the same key again, where it has left a gap
    expect_same();
  }
  for (const int key : {10, 5, 15, 20, 40, 30, 25}) {
    erase(key);
    expect_same();
  }
}

TEST_F(AscendingMapTest, AnyOrderIsThatOfAMap) {
  std::mt19937 random(7);
  int newest = 0;
  for (int step = 0; step < 15'000; ++step) {
    const auto one_of = [&](int count) { return static_cast<int>(random() % static_cast<unsigned>(count)); };
    const bool grows = step / 500 % 2 == 0;
    if (reference_.empty() || one_of(10) < (grows ? 6 : 3)) {
      insert(++newest);
    } else {
      const auto it = reference_.lower_bound(one_of(newest));
      const int key = it == reference_.end() || one_of(2) == 0 ? reference_.begin()->first : it->first;
      erase(key);
      if (one_of(4) == 0) {
        insert(key);
      }
    }
    if (step % 100 == 0) {
      expect_same();
      const int from = one_of(newest + 1);
      EXPECT_EQ(pairs(map_.upper_bound(from)), Pairs(reference_.upper_bound(from), reference_.end()));
    }
  }
}

}  // namespace
}  // namespace limpet::core
