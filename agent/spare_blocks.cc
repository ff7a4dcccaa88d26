#include "agent/spare_blocks.h"

#if defined(__has_feature)  // clang's way to say it
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define LIMPET_KEEP_OFF
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LIMPET_KEEP_OFF
#endif

#ifdef LIMPET_KEEP_OFF

void limpet::give_back_spare_blocks() {}

#else

#include <malloc.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>

namespace {

// As the allocator cuts them: a block of class n has room for 16 n + 8 bytes.
constexpr std::size_t kStep = 16;
constexpr std::size_t kExtra = 8;
constexpr std::size_t kClasses = 64;
constexpr std::size_t kMostBytes = 128 * 1024;  // of one class

constexpr std::size_t room_of(std::size_t block_class) {
  return block_class * kStep + kExtra;
}

// The smallest class with room for `size` bytes.
constexpr std::size_t class_for(std::size_t size) {
  return size <= kStep + kExtra ? 1 : (size - kExtra + kStep - 1) / kStep;
}

struct Spare {
  Spare* next;
};
struct Spares {
  Spare* first;
  std::size_t room;  // for so many more
};

constexpr auto make_empty() {
  std::array<Spares, kClasses + 1> empty{};
  for (std::size_t block_class = 1; block_class <= kClasses; ++block_class) {
    empty[block_class].room = kMostBytes / room_of(block_class);
  }
  return empty;
}

// Without a constructor, so that nothing has to be asked before each use.
constinit thread_local std::array<Spares, kClasses + 1> spares = make_empty();

struct AtEndOfThread {
  ~AtEndOfThread() {
    limpet::give_back_spare_blocks();
    for (Spares& same : spares) {
      same.room = 0;  // nothing is kept any more
    }
  }
};

// Apart, so that what happens with each block stays short.
[[gnu::noinline]] void give_back_at_end_of_thread() {
  static thread_local const AtEndOfThread at_end;
  (void)at_end;
}

inline void keep(void* memory, std::size_t block_class) {
  Spares& same = spares[block_class];
  if (same.room == 0) {
    return std::free(memory);
  }
  if (same.first == nullptr) {
    give_back_at_end_of_thread();
  }
  same.first = ::new (memory) Spare{same.first};
  --same.room;
}

void* take_new(std::size_t size) {
  while (true) {
    if (void* memory = std::malloc(size)) {
      return memory;
    }
    const std::new_handler handler = std::get_new_handler();
    if (handler == nullptr) {
      throw std::bad_alloc();
    }
    handler();
  }
}

}  // namespace

void limpet::give_back_spare_blocks() {
  for (Spares& same : spares) {
    while (same.first != nullptr) {
      Spare* const next = same.first->next;
      std::free(same.first);
      same.first = next;
      ++same.room;
    }
  }
}

void* operator new(std::size_t size) {
  const std::size_t block_class = class_for(size);
  if (block_class > kClasses) {
    return take_new(size);
  }
  Spares& same = spares[block_class];
  if (Spare* const spare = same.first) {
    same.first = spare->next;
    ++same.room;
    return spare;
  }
  return take_new(room_of(block_class));
}

void operator delete(void* memory, std::size_t size) noexcept {
  const std::size_t block_class = class_for(size);
  if (memory == nullptr || block_class > kClasses) {
    return std::free(memory);
  }
  keep(memory, block_class);
}

void operator delete(void* memory) noexcept {
  if (memory == nullptr) {
    return;
  }
  const std::size_t room = ::malloc_usable_size(memory);
  if (room < room_of(1) || room > room_of(kClasses)) {
    return std::free(memory);
  }
  keep(memory, (room - kExtra) / kStep);
}

#endif
