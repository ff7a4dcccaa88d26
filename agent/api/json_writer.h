// Writes JSON by appending to a string: what every answer of the API is made with.
//
// There is no document in between, because answers are on the hot path. Commas and quotes are the writer's business,
// matching begin and end the caller's. What is written is always valid UTF-8, a byte that is not becoming U+FFFD, and
// harmless on a terminal: all control characters, DEL and U+0080 to U+009F among them, are written as escapes.
// A writer lives on the stack for one text; the string it appends to must outlive it. Any thread.
#pragma once

#include <algorithm>
#include <array>
#include <cassert>
#include <charconv>
#include <concepts>
#include <string>
#include <string_view>

#include "storage/record.h"

namespace limpet::api {

bool is_utf8(std::string_view text);

// Length of what `text` begins with that stands for itself in a JSON string: ASCII without control characters, quotes
// and backslashes.
std::size_t plain_prefix(std::string_view text);
bool is_plain(std::string_view text);  // all of it

class JsonWriter {
 public:
  // What is written has arrived in `out` as soon as the outermost value is complete, and not before.
  explicit JsonWriter(std::string& out) : out_(out) {}
  JsonWriter(const JsonWriter&) = delete;
  JsonWriter& operator=(const JsonWriter&) = delete;

  void begin_object() { open('{'); }
  void end_object() { close('}'); }
  void begin_array() { open('['); }
  void end_array() { close(']'); }

  // The value of the key is what is written next. `name` is written as it is: it must need no escaping.
  template <std::size_t Size>
  JsonWriter& key(const char (&name)[Size]) {
    return key(std::string_view(name, Size - 1));
  }
  [[gnu::always_inline]] JsonWriter& key(std::string_view name) {
    char* to = begin_value(name.size() + 3);
    *to++ = '"';
    to = copy(name, to);
    *to++ = '"';
    *to++ = ':';
    end_ = to;
    need_comma_ = false;
    return *this;
  }
  // The same for a name that comes from outside.
  JsonWriter& escaped_key(std::string_view name) {
    string(name);
    put(':');
    need_comma_ = false;
    return *this;
  }

  void string(std::string_view text);
  // The same for what surely stands for itself (is_plain()): words of ours, names, what was looked at before.
  void plain(std::string_view text) {
    if (text.size() > kRoom - 3) {
      return plain_piecewise(text);
    }
    char* const to = begin_value(text.size() + 2);
    *to = '"';
    end_value(quote(copy(text, to + 1)));
  }
  // "0x" and lower-case digits.
  void hex(std::int64_t value);
  // RFC 3339, UTC, with milliseconds.
  void time(WallMs at);
  void base64(std::string_view bytes);
  void boolean(bool value) { literal(value ? "true" : "false"); }
  void null() { literal("null"); }
  // null for an empty text.
  void text_or_null(std::string_view text) { text.empty() ? null() : string(text); }
  // `text` must be JSON of its own.
  void literal(std::string_view text) {
    separate();
    put(text);
    complete();
  }

  // `text`: members of the present object with their keys, commas in between.
  void members(std::string_view text) {
    separate();
    put(text);
    need_comma_ = true;
  }

  // How long the string will be, with what was written so far.
  std::size_t size() const { return out_.size() + used(); }

  template <std::integral T>
  requires(!std::same_as<T, bool>) void number(T value) {
    constexpr std::size_t kMaxDigits = 24;
    char* const to = begin_value(kMaxDigits);
    end_value(std::to_chars(to, to + kMaxDigits, value).ptr);
  }

 private:
  // An answer has some hundred small pieces: they gather here, so that the string grows by few large ones.
  static constexpr std::size_t kRoom = 512;

  void open(char bracket) {
    separate();
    put(bracket);
    ++depth_;
    need_comma_ = false;
  }
  void close(char bracket) {
    put(bracket);
    --depth_;
    complete();
  }
  void separate() {
    if (need_comma_) {
      put(',');
    }
  }
  void complete() {
    need_comma_ = true;
    if (depth_ == 0) {
      flush();
    }
  }

  std::size_t used() const { return static_cast<std::size_t>(end_ - room_.data()); }
  // Where up to `size` bytes, of kRoom at most, may be written; end_ then says how far they were.
  char* room_for(std::size_t size) {
    if (kRoom - used() < size) {
      flush();
    }
    return end_;
  }
  // The same for one value of less than kRoom, with the comma in front of it; end_value() says how far it was.
  char* begin_value(std::size_t size) {
    char* const to = room_for(size + 1);
    *to = ',';  // stays only where it is wanted
    return to + (need_comma_ ? 1 : 0);
  }
  void end_value(char* end) {
    end_ = end;
    complete();
  }
  static char* copy(std::string_view text, char* to) { return std::copy(text.begin(), text.end(), to); }
  static char* quote(char* to) {
    *to = '"';
    return to + 1;
  }
  void put(char one) {
    *room_for(1) = one;
    ++end_;
  }
  void put(std::string_view text) {
    if (text.size() > kRoom) {
      flush();
      out_ += text;
      return;
    }
    end_ = copy(text, room_for(text.size()));
  }
  void plain_piecewise(std::string_view text);
  void put_escaped(std::string_view text);
  void flush() {
    out_.append(room_.data(), used());
    end_ = room_.data();
  }

  std::string& out_;
  int depth_ = 0;
  bool need_comma_ = false;
  std::array<char, kRoom> room_;
  char* end_ = room_.data();  // of what is in there
};

}  // namespace limpet::api
