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
  std::size_t count;
};

// Without a constructor, so that nothing has to be asked before each use.
constinit thread_local Spares spares[kClasses + 1] = {};
constinit thread_local bool ending = false;  // the thread: nothing is kept any more

struct AtEndOfThread {
  ~AtEndOfThread() {
    ending = true;
    limpet::give_back_spare_blocks();
  }
};

void keep(void* memory, std::size_t block_class) {
  Spares& same = spares[block_class];
  if (ending || same.count >= kMostBytes / room_of(block_class)) {
    return std::free(memory);
  }
  if (same.count == 0) {
    static thread_local const AtEndOfThread at_end;
    (void)at_end;
  }
  same.first = ::new (memory) Spare{same.first};
  ++same.count;
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
    }
    same.count = 0;
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
    --same.count;
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
