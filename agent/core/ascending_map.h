// A map whose keys nearly always come in ascending order, and mostly leave from the front: the changes that stand in
// line for ZooKeeper, by their seq. Those lie side by side, so that one comes and goes in a few instructions and
// without a block of its own; what comes back into the middle stands in an ordered set beside them, and what goes from
// there leaves a gap until there are more gaps than entries. No worse than a std::map at anything. `Value`: a pointer,
// never null. Any change makes all iterators invalid. Owned by one thread.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <iterator>
#include <set>
#include <vector>

namespace limpet::core {

template <typename Key, typename Value>
class AscendingMap {
 public:
  struct Entry {
    Key key;
    Value value = nullptr;  // null: a gap

    friend bool operator<(const Entry& a, const Entry& b) { return a.key < b.key; }
  };

  // In the order of the keys: of both parts, whichever comes first.
  class Iterator {
   public:
    const Entry& operator*() const { return takes_late() ? *late_ : map_->row_[at_]; }
    const Entry* operator->() const { return &**this; }
    Iterator& operator++() {
      if (takes_late()) {
        ++late_;
      } else {
        at_ = map_->past_gaps(at_ + 1);
      }
      return *this;
    }
    friend bool operator==(const Iterator& a, const Iterator& b) { return a.at_ == b.at_ && a.late_ == b.late_; }

   private:
    friend class AscendingMap;
    using Late = typename std::set<Entry>::const_iterator;
    Iterator(const AscendingMap* map, std::size_t at, Late late) : map_(map), at_(at), late_(late) {}
    bool takes_late() const {
      return late_ != map_->late_.end() && (at_ == map_->row_.size() || *late_ < map_->row_[at_]);
    }

    const AscendingMap* map_;
    std::size_t at_;
    Late late_;
  };

  bool empty() const { return size() == 0; }
  std::size_t size() const { return in_row_ + late_.size(); }
  Iterator begin() const { return {this, first_, late_.begin()}; }
  Iterator end() const { return {this, row_.size(), late_.end()}; }
  // The first behind `key`.
  Iterator upper_bound(const Key& key) const {
    const auto at = std::upper_bound(row_.begin() + first(), row_.end(), Entry{key});
    return {this, past_gaps(static_cast<std::size_t>(at - row_.begin())), late_.upper_bound(Entry{key})};
  }

  // Precondition: `key` is not there.
  void insert(const Key& key, Value value) {
    if (row_.empty() || row_.back().key < key) {
      row_.push_back({key, value});
      ++in_row_;
    } else {
      const bool added = late_.insert({key, value}).second;
      assert(added);
    }
  }

  // Precondition: `value` is there with `key`.
  void erase(const Key& key, Value value) {
    const std::size_t at = place_of(key, value);
    if (at == row_.size()) {
      const std::size_t erased = late_.erase(Entry{key});
      assert(erased == 1);
      return;
    }
    row_[at].value = nullptr;
    --in_row_;
    first_ = past_gaps(first_);
    if (row_.size() > 2 * in_row_ + kFewGaps || in_row_ == 0) {
      close_gaps();
    }
  }

 private:
  static constexpr std::size_t kFewGaps = 32;
  static constexpr std::size_t kFewTimes = 4;
  static constexpr std::size_t kSmallRoom = 1'024;

  std::ptrdiff_t first() const { return static_cast<std::ptrdiff_t>(first_); }
  std::size_t past_gaps(std::size_t at) const {
    while (at != row_.size() && row_[at].value == nullptr) {
      ++at;
    }
    return at;
  }
  // As a rule it is the first. The row's size where it is not in the row.
  std::size_t place_of(const Key& key, Value value) const {
    if (in_row_ != 0 && row_[first_].value == value) {
      return first_;
    }
    const auto at = std::lower_bound(row_.begin() + first(), row_.end(), Entry{key});
    return at != row_.end() && at->value == value ? static_cast<std::size_t>(at - row_.begin()) : row_.size();
  }
  void close_gaps() {
    row_.erase(std::remove_if(row_.begin(), row_.end(), [](const Entry& entry) { return entry.value == nullptr; }),
               row_.end());
    first_ = 0;
    if (row_.capacity() > kFewTimes * row_.size() + kSmallRoom) {
      row_.shrink_to_fit();  // a burst is over
    }
  }

  std::vector<Entry> row_;  // ascending, with gaps
  std::size_t first_ = 0;   // no entry stands before this
  std::size_t in_row_ = 0;  // entries there, without the gaps
  std::set<Entry> late_;    // those that did not come in their order
};

}  // namespace limpet::core
