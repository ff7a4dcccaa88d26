// A table of pointers, each found by what it points to: open addressing with the hashes at hand, so that what is asked
// for with each change takes one look at the table and one at the value. It only grows. In no order that means
// anything.
//
// `Pointer`: plain or std::unique_ptr, never null. `KeyOf::key(value)`: what a value is found by, which has a
// quick_hash() and a quick_equal() and does not change while it is in here. Owned by one thread.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "agent/core/quick_hash.h"

namespace limpet::core {

template <typename Pointer, typename KeyOf>
class QuickTable {
 public:
  using Value = typename std::pointer_traits<Pointer>::element_type;

  std::size_t size() const { return count_; }

  // Null where there is none.
  template <typename Key>
  Value* find(const Key& key) const {
    if (slots_.empty()) {
      return nullptr;
    }
    const std::uint64_t hash = quick_hash(key);
    for (std::size_t at = place_of(hash); slots_[at].value != nullptr; at = next(at)) {
      if (slots_[at].hash == hash && quick_equal(KeyOf::key(*slots_[at].value), key)) {
        return std::to_address(slots_[at].value);
      }
    }
    return nullptr;
  }

  // Precondition: none with the same key is there.
  void insert(Pointer value) {
    if (4 * (count_ + 1) > 3 * slots_.size()) {
      grow();
    }
    const std::uint64_t hash = quick_hash(KeyOf::key(*value));
    put({hash, std::move(value)});
    ++count_;
  }

  // Precondition: it is there.
  void erase(const Value* value) {
    std::size_t gap = place_of(quick_hash(KeyOf::key(*value)));
    while (std::to_address(slots_[gap].value) != value) {
      assert(slots_[gap].value != nullptr);
      gap = next(gap);
    }
    slots_[gap].value = nullptr;
    --count_;
    // What stands behind it and would no longer be found moves up.
    for (std::size_t at = next(gap); slots_[at].value != nullptr; at = next(at)) {
      const std::size_t from_home = (at - place_of(slots_[at].hash)) & mask();
      if (from_home >= ((at - gap) & mask())) {
        slots_[gap] = std::exchange(slots_[at], Slot());
        gap = at;
      }
    }
  }

  void clear() {
    slots_.clear();
    count_ = 0;
  }

  template <typename Each>
  void for_each(Each each) const {
    for (const Slot& slot : slots_) {
      if (slot.value != nullptr) {
        each(*slot.value);
      }
    }
  }

 private:
  struct Slot {
    std::uint64_t hash = 0;
    Pointer value = nullptr;
  };
  static constexpr std::size_t kFewest = 16;

  std::size_t mask() const { return slots_.size() - 1; }
  std::size_t place_of(std::uint64_t hash) const { return static_cast<std::size_t>(hash) & mask(); }
  std::size_t next(std::size_t at) const { return (at + 1) & mask(); }

  void put(Slot slot) {
    std::size_t at = place_of(slot.hash);
    while (slots_[at].value != nullptr) {
      at = next(at);
    }
    slots_[at] = std::move(slot);
  }
  void grow() {
    std::vector<Slot> before(slots_.empty() ? kFewest : 2 * slots_.size());
    before.swap(slots_);
    for (Slot& slot : before) {
      if (slot.value != nullptr) {
        put(std::move(slot));
      }
    }
  }

  std::vector<Slot> slots_;  // a power of two of them, a quarter of them free, or none at all
  std::size_t count_ = 0;
};

}  // namespace limpet::core
