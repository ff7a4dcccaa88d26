#include "storage/rocks_buffer.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

namespace limpet {

namespace {

using rocksdb::MemTableRep;
using rocksdb::Slice;

constexpr std::size_t kTrailer = 8;  // sequence number and type

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

std::uint64_t trailer_of(const Slice& key) {
  std::uint64_t trailer = 0;
  for (std::size_t i = kTrailer; i-- > 0;) {
    trailer = trailer << 8 | static_cast<unsigned char>(key[key.size() - kTrailer + i]);
  }
  return trailer;
}

// By the bytes of the key; of one key, what was written last comes first.
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

class Order : public MemTableRep::KeyComparator {
 public:
  int operator()(const char* a, const char* b) const override { return compare(key_at(a), key_at(b)); }
  int operator()(const char* a, const Slice& b) const override { return compare(key_at(a), b); }
};

class Buffers : public rocksdb::VectorRepFactory {
 public:
  using VectorRepFactory::CreateMemTableRep;
  MemTableRep* CreateMemTableRep(const MemTableRep::KeyComparator&, rocksdb::Allocator* allocator,
                                 const rocksdb::SliceTransform* transform, rocksdb::Logger* logger) override {
    static const Order& order = *new Order;  // never destroyed: a buffer may be written until the very end
    return VectorRepFactory::CreateMemTableRep(order, allocator, transform, logger);
  }
};

}  // namespace

std::shared_ptr<rocksdb::MemTableRepFactory> unordered_buffer() {
  return std::make_shared<Buffers>();
}

int compare_in_buffer(const char* a, const char* b) {
  return Order()(a, b);
}

}  // namespace limpet
