// Errors as values, for every layer.
//
// A Status says whether a call succeeded and, if not, which kind of thing went wrong (Errc) and, in words for a
// human, what happened to what. A Result<T> is a Status or a T. Both are [[nodiscard]]. Context is added once,
// where it is known; nothing here logs. Plain values: any thread.
#pragma once

#include <cassert>
#include <optional>
#include <string>
#include <utility>

namespace limpet {

enum class Errc {
  ok = 0,
  in_use,        // another process holds the state directory
  damaged,       // what is on disk cannot be verified; it must not be used silently
  newer_format,  // written by a later version of limpet; left untouched
  full,          // no space (or quota) left on the device; may pass by itself
  io,            // any other failure of the disk or the file system; the outcome of a write is unknown
  permission,    // the state directory is not ours, or not private
  invalid,       // the caller's input is wrong
};

class [[nodiscard]] Status {
 public:
  Status() = default;  // ok
  Status(Errc code, std::string message) : code_(code), message_(std::move(message)) { assert(code != Errc::ok); }

  bool ok() const { return code_ == Errc::ok; }
  explicit operator bool() const { return ok(); }
  Errc code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  Errc code_ = Errc::ok;
  std::string message_;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}         // NOLINT(google-explicit-constructor): a value is a result
  Result(Status status) : status_(std::move(status)) {  // NOLINT(google-explicit-constructor): so is an error
    assert(!status_.ok());
  }

  bool ok() const { return value_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Status& status() const { return status_; }

  // Precondition: ok().
  T& value() {
    assert(ok());
    return *value_;
  }
  const T& value() const {
    assert(ok());
    return *value_;
  }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace limpet
