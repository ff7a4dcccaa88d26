#include "storage/rocks_buffer.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "storage/frame.h"

namespace limpet {

namespace {

using rocksdb::MemTableRep;
using rocksdb::Slice;
using Entries = std::vector<const char*>;

constexpr std::size_t kTrailer = 8;        // sequence number and type
constexpr std::size_t kComparedBytes = 8;  // bytes of a key that are compared as one number
constexpr std::ptrdiff_t kFew = 16;        // entries of one head that are compared whole

Slice key_at(const char* entry) {
  std::size_t size = 0;
  for (unsigned shift = 0;; shift += 7) {
    const auto part = static_cast<unsigned char>(*entry++);
    size |= static_cast<std::size_t>(part & 0x7f) << shift;
    if (part < 0x80) {
      return {entry, size};
    }
  }
}

Slice user_key_at(const char* entry) {
  const Slice key = key_at(entry);
  return {key.data(), key.size() - kTrailer};
}

std::uint64_t trailer_of(const Slice& key) {
  std::uint64_t trailer = 0;
  for (std::size_t i = kTrailer; i-- > 0;) {
    trailer = trailer << 8 | static_cast<unsigned char>(key[key.size() - kTrailer + i]);
  }
  return trailer;
}

int compare(const Slice& a, const Slice& b) {
  const std::size_t a_size = a.size() - kTrailer;
  const std::size_t b_size = b.size() - kTrailer;
  if (const int order = std::memcmp(a.data(), b.data(), std::min(a_size, b_size)); order != 0) {
    return order;
  }
  if (a_size != b_size) {
    return a_size < b_size ? -1 : 1;
  }
  const std::uint64_t a_trailer = trailer_of(a);
  const std::uint64_t b_trailer = trailer_of(b);
  return a_trailer > b_trailer ? -1 : a_trailer < b_trailer ? 1 : 0;
}

struct Item {
  std::uint64_t head = 0;
  const char* entry = nullptr;
};
using Items = std::span<Item>;

void sort_whole(Items items) {
  std::ranges::sort(items, [](const Item& a, const Item& b) { return compare(key_at(a.entry), key_at(b.entry)) < 0; });
}

// The bytes of the key from `from` on, as a number that is in their order; what is missing counts as 0.
std::uint64_t head_of(const Slice& key, std::size_t from) {
  char bytes[kComparedBytes] = {};
  if (from < key.size()) {
    std::memcpy(bytes, key.data() + from, std::min(kComparedBytes, key.size() - from));
  }
  return frame::read_big_endian({bytes, kComparedBytes});
}

// How far all keys are the same, which they are known to be up to `from`. Not beyond it if one of them ends before.
std::size_t same_until(Items items, std::size_t from) {
  const Slice first = user_key_at(items.front().entry);
  std::size_t until = first.size();
  for (const Item& item : items) {
    const Slice key = user_key_at(item.entry);
    until = std::min(until, key.size());
    if (until <= from) {
      return from;
    }
    if (std::memcmp(first.data() + from, key.data() + from, until - from) != 0) {
      until = static_cast<std::size_t>(
          std::mismatch(first.data() + from, first.data() + until, key.data() + from).first - first.data());
    }
  }
  return until;
}

// `items` of keys that are the same up to `from`, but for zeros where one has ended.
void sort_from(Items items, std::size_t from) {
  from = same_until(items, from);
  bool more = false;  // than these bytes
  for (Item& item : items) {
    const Slice key = user_key_at(item.entry);
    item.head = head_of(key, from);
    more = more || key.size() > from + kComparedBytes;
  }
  std::ranges::sort(items, {}, &Item::head);
  for (auto run = items.begin(); run != items.end();) {
    const auto end = std::find_if(run, items.end(), [head = run->head](const Item& item) { return item.head != head; });
    if (end - run > kFew && more) {
      sort_from({run, end}, from + kComparedBytes);
    } else if (end - run > 1) {
      sort_whole({run, end});
    }
    run = end;
  }
}

class SortedReader : public MemTableRep::Iterator {
 public:
  explicit SortedReader(std::shared_ptr<const Entries> sorted) : sorted_(std::move(sorted)), at_(sorted_->end()) {}

  bool Valid() const override { return at_ != sorted_->end(); }
  const char* key() const override { return *at_; }
  void Next() override { ++at_; }
  void Prev() override { at_ = at_ == sorted_->begin() ? sorted_->end() : at_ - 1; }
  void Seek(const Slice& key, const char* entry) override {
    at_ = std::ranges::partition_point(*sorted_, [wanted = entry != nullptr ? key_at(entry) : key](const char* at) {
      return compare(key_at(at), wanted) < 0;
    });
  }
  void SeekForPrev(const Slice& key, const char* entry) override {
    at_ = std::ranges::partition_point(*sorted_, [wanted = entry != nullptr ? key_at(entry) : key](const char* at) {
      return compare(key_at(at), wanted) <= 0;
    });
    Prev();
  }
  void SeekToFirst() override { at_ = sorted_->begin(); }
  void SeekToLast() override {
    at_ = sorted_->end();
    Prev();
  }

 private:
  std::shared_ptr<const Entries> sorted_;
  Entries::const_iterator at_;
};

class Buffer : public MemTableRep {
 public:
  using MemTableRep::MemTableRep;

  void Insert(rocksdb::KeyHandle handle) override {
    const std::lock_guard lock(mutex_);
    entries_->push_back(static_cast<const char*>(handle));
    memory_.store(entries_->capacity() * sizeof(const char*), std::memory_order_relaxed);
  }
  bool Contains(const char* entry) const override {
    const std::lock_guard lock(mutex_);
    return std::ranges::any_of(*entries_, [entry](const char* at) { return compare(key_at(at), key_at(entry)) == 0; });
  }
  void MarkReadOnly() override {
    const std::lock_guard lock(mutex_);
    read_only_ = true;
  }
  std::size_t ApproximateMemoryUsage() override { return memory_.load(std::memory_order_relaxed); }

  // RocksDB would have the iterator made in the arena, whose type it does not publish: it lies in the buffer, which
  // lives longer, and RocksDB calls no more than its destructor.
  Iterator* GetIterator(rocksdb::Arena* arena) override {
    const std::lock_guard lock(mutex_);
    std::shared_ptr<const Entries> entries = sorted();
    if (arena == nullptr) {
      return new SortedReader(std::move(entries));
    }
    readers_.push_back(std::make_unique<Place>());
    return new (readers_.back()->bytes) SortedReader(std::move(entries));
  }

 private:
  struct Place {
    alignas(SortedReader) std::byte bytes[sizeof(SortedReader)];
  };

  // All that stands in the buffer now. What is full is put in order where it is, and once: then only the last entry of
  // each key is left, for nobody who reads older ones is there (no snapshot is ever taken, and nothing is read while
  // something is written), and three of four need not go through what RocksDB has a table's entries go through.
  std::shared_ptr<const Entries> sorted() {
    if (!read_only_) {
      const auto copy = std::make_shared<Entries>(*entries_);
      sort_entries(*copy);
      return copy;
    }
    if (!sorted_) {
      sorted_ = true;
      sort_entries(*entries_);
      const auto superseded = std::ranges::unique(*entries_, {}, user_key_at);
      entries_->erase(superseded.begin(), superseded.end());
    }
    return entries_;
  }

  mutable std::mutex mutex_;
  std::shared_ptr<Entries> entries_ = std::make_shared<Entries>();
  bool read_only_ = false;
  bool sorted_ = false;
  std::vector<std::unique_ptr<Place>> readers_;
  std::atomic<std::size_t> memory_ = 0;  // RocksDB asks at every entry
};

class Buffers : public rocksdb::MemTableRepFactory {
 public:
  using MemTableRepFactory::CreateMemTableRep;
  const char* Name() const override { return "limpet.Buffers"; }
  MemTableRep* CreateMemTableRep(const MemTableRep::KeyComparator&, rocksdb::Allocator* allocator,
                                 const rocksdb::SliceTransform*, rocksdb::Logger*) override {
    return new Buffer(allocator);
  }
};

}  // namespace

std::shared_ptr<rocksdb::MemTableRepFactory> unordered_buffer() {
  return std::make_shared<Buffers>();
}

void sort_entries(std::span<const char*> entries) {
  if (entries.empty()) {
    return;
  }
  std::vector<Item> items(entries.size());
  std::ranges::transform(entries, items.begin(), [](const char* entry) { return Item{.entry = entry}; });
  sort_from(items, 0);
  std::ranges::transform(items, entries.begin(), &Item::entry);
}

}  // namespace limpet
