#include "agent/core/quick_table.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <set>
#include <string>
#include <string_view>

namespace limpet::core {
namespace {

struct NameOf {
  static std::string_view key(const std::string& name) { return name; }
};
using Table = QuickTable<std::unique_ptr<std::string>, NameOf>;

std::set<std::string> names_of(const Table& table) {
  std::set<std::string> names;
  table.for_each([&](const std::string& name) { EXPECT_TRUE(names.insert(name).second) << name; });
  return names;
}

TEST(QuickTable, AnEmptyOneHasNothing) {
  Table table;
  EXPECT_EQ(table.find(std::string_view("a")), nullptr);
  EXPECT_EQ(table.size(), 0U);
}

TEST(QuickTable, WhatIsThereIsFoundHoweverOthersComeAndGo) {
  std::mt19937 random(3);
  for (const unsigned most : {5U, 12U, 100U, 5'000U}) {
    Table table;
    std::set<std::string> reference;
    for (unsigned step = 0; step < 20'000; ++step) {
      const std::string name = "name-" + std::to_string(random() % most);
      std::string* const found = table.find(std::string_view(name));
      ASSERT_EQ(found != nullptr, reference.contains(name)) << name;
      if (found == nullptr) {
        table.insert(std::make_unique<std::string>(name));
        reference.insert(name);
      } else {
        ASSERT_EQ(*found, name);
        table.erase(found);
        reference.erase(name);
      }
      ASSERT_EQ(table.size(), reference.size());
    }
    EXPECT_EQ(names_of(table), reference);
    table.clear();
    EXPECT_EQ(names_of(table), std::set<std::string>());
  }
}

}  // namespace
}  // namespace limpet::core
