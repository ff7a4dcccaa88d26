// Opens a store for a test.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "storage/rocks_store.h"

namespace limpet::test {

// The store in `dir`; a failed expectation and null if it does not open.
inline std::unique_ptr<RocksStore> open_ok(const std::string& dir, HistoryLimits limits = {}) {
  auto store = RocksStore::open(dir, limits);
  EXPECT_TRUE(store.ok()) << store.status().message();
  return store.ok() ? std::move(*store) : nullptr;
}

}  // namespace limpet::test
