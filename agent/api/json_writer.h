// Writes JSON by appending to a string: what every answer of the API is made with.
//
// There is no document in between, because answers are on the hot path. Commas and quotes are the writer's business,
// matching begin and end the caller's. What is written is always valid UTF-8: a byte that is not becomes U+FFFD.
// A writer lives on the stack for one text; the string it appends to must outlive it. Any thread.
#pragma once

#include <algorithm>
#include <cassert>
#include <charconv>
#include <concepts>
#include <string>
#include <string_view>

#include "storage/record.h"

namespace limpet::api {

// Length in bytes (1 to 4) of the UTF-8 sequence that starts at `begin`, or 0 if none does. No surrogates, nothing
// overlong, nothing past U+10FFFF. Precondition: begin < end.
std::size_t utf8_sequence(const char* begin, const char* end);

bool is_utf8(std::string_view text);

// Length of what `text` begins with that stands for itself in a JSON string: ASCII without control characters, quotes
// and backslashes.
std::size_t plain_prefix(std::string_view text);

class JsonWriter {
 public:
  explicit JsonWriter(std::string& out) : out_(out) {}

  void begin_object() { open('{'); }
  void end_object() { close('}'); }
  void begin_array() { open('['); }
  void end_array() { close(']'); }

  static constexpr std::size_t kMaxKeyBytes = 28;

  // The value of the key is what is written next. `name` is written as it is: it must need no escaping.
  JsonWriter& key(std::string_view name) {
    // In one piece: an answer has some twenty of them.
    char text[kMaxKeyBytes + 4] = {',', '"'};
    assert(name.size() <= kMaxKeyBytes);
    char* const end = std::copy(name.begin(), name.end(), text + 2);
    end[0] = '"';
    end[1] = ':';
    const char* const begin = need_comma_ ? text : text + 1;
    out_.append(begin, static_cast<std::size_t>(end + 2 - begin));
    need_comma_ = false;
    return *this;
  }
  // The same for a name that comes from outside.
  JsonWriter& escaped_key(std::string_view name) {
    string(name);
    out_ += ':';
    need_comma_ = false;
    return *this;
  }

  void string(std::string_view text);
  // "0x" and lower-case digits.
  void hex(std::int64_t value);
  // RFC 3339, UTC, with milliseconds.
  void time(WallMs at);
  void base64(std::string_view bytes);
  void boolean(bool value) { literal(value ? "true" : "false"); }
  void null() { literal("null"); }
  // `text` must be JSON of its own.
  void literal(std::string_view text) {
    separate();
    out_ += text;
    need_comma_ = true;
  }

  template <std::integral T>
  requires(!std::same_as<T, bool>) void number(T value) {
    char digits[24];
    const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    literal(std::string_view(digits, static_cast<std::size_t>(end - digits)));
  }

 private:
  void open(char bracket) {
    separate();
    out_ += bracket;
    need_comma_ = false;
  }
  void close(char bracket) {
    out_ += bracket;
    need_comma_ = true;
  }
  void separate() {
    if (need_comma_) {
      out_ += ',';
    }
  }

  std::string& out_;
  bool need_comma_ = false;
};

}  // namespace limpet::api
