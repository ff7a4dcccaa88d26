// A value that is made once and only read from then on, by whoever holds it: nothing of it is copied. The last holder
// frees it. One holder belongs to one thread at a time; the value may be read by any. (A std::shared_ptr is twice as
// large, and there may be a hundred thousand of these.)
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>

namespace limpet {

template <typename T>
class Shared {
 public:
  Shared() = default;  // holds nothing
  // Where a Shared<T> is wanted a T will do, and the other way round.
  Shared(T value) : held_(new Held{{1}, std::move(value)}) {}  // NOLINT(google-explicit-constructor)
  // What `make` returns, made where it is held: nothing is moved.
  template <typename Make>
  static Shared made_by(Make make) {
    Shared shared;
    shared.held_ = new Held{{1}, make()};
    return shared;
  }
  Shared(const Shared& other) noexcept : held_(other.held_) {
    if (held_ != nullptr) {
      held_->holders.fetch_add(1, std::memory_order_relaxed);
    }
  }
  Shared(Shared&& other) noexcept : held_(std::exchange(other.held_, nullptr)) {}
  Shared& operator=(Shared other) noexcept {
    std::swap(held_, other.held_);
    return *this;
  }
  ~Shared() {
    if (held_ != nullptr && held_->holders.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      delete held_;
    }
  }

  explicit operator bool() const { return held_ != nullptr; }
  // Where it holds something; that is valid for as long as anybody holds it.
  const T& operator*() const { return held_->value; }
  const T* operator->() const { return &held_->value; }
  operator const T&() const { return held_->value; }  // NOLINT(google-explicit-constructor)

  // Null where it holds nothing.
  const T* get() const { return held_ != nullptr ? &held_->value : nullptr; }

 private:
  struct Held {
    std::atomic<std::uint32_t> holders;
    const T value;
  };
  Held* held_ = nullptr;
};

}  // namespace limpet
