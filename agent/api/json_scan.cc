// The short way through JSON: nearly every body is made of plain strings, small integers, and containers of them, and
// reading those a character at a time is most of what a request costs. Whatever is not surely that and surely valid is
// left to the library, which also has the words for what is wrong.
#include <algorithm>
#include <array>

#include "agent/api/json_document.h"
#include "agent/api/json_writer.h"
#include "agent/api/plain_text.h"

namespace limpet::api {

// Reads `text` into `document`. What reads something takes where that begins and returns where it ends, or null where
// it is not sure.
class JsonDocument::Scanner {
 public:
  Scanner(std::string_view text, JsonDocument& document)
      : begin_(text.data()), end_(begin_ + text.size()), document_(document) {}

  bool scan() {
    const char* at = begin_;
    const char first = skip_space(at);
    at = value(at, first, 0);
    return at != nullptr && skip_space(at) == kEnd && at == end_;
  }

 private:
  // Members of one object whose keys are compared each with each.
  static constexpr std::size_t kMaxMembers = 24;
  static constexpr std::ptrdiff_t kMaxDigits = 18;  // surely within 64 bits
  static constexpr char kEnd = '\0';

  // The keys of one object so far, by their nodes.
  struct Keys {
    std::uint64_t marks = 0;  // of those that are there, see mark_of()
    std::size_t count = 0;
    std::array<std::uint32_t, kMaxMembers> nodes;
  };

  // Nearly all keys of an object differ in their length or their first byte already.
  static std::uint64_t mark_of(std::string_view key) {
    const std::size_t kind = key.size() + 7 * static_cast<unsigned char>(key.empty() ? 0 : key.front());
    return std::uint64_t{1} << (kind % 64);
  }

  std::string_view text(std::uint32_t index) const { return document_.text_of(document_.nodes_[index]); }

  // Adds the key that was just read. False where there are too many, or it occurs twice.
  bool add_key(Keys& keys, std::string_view key) const {
    const std::uint64_t mark = mark_of(key);
    if (keys.count == kMaxMembers || ((keys.marks & mark) != 0 && occurs(keys, key))) {
      return false;
    }
    keys.marks |= mark;
    keys.nodes[keys.count++] = document_.count_ - 1;
    return true;
  }

  [[gnu::noinline]] bool occurs(const Keys& keys, std::string_view key) const {
    return std::any_of(keys.nodes.begin(), keys.nodes.begin() + static_cast<std::ptrdiff_t>(keys.count),
                       [&](std::uint32_t other) { return text(other) == key; });
  }

  bool is(const char* at, char c) const { return at != end_ && *at == c; }

  // Moves on to the next byte that is no space, and returns it; kEnd at the end. Where that byte itself stands there,
  // it fits nowhere.
  char skip_space(const char*& at) const {
    for (; at != end_; ++at) {
      if (*at > ' ' || (*at != ' ' && *at != '\n' && *at != '\r' && *at != '\t')) {
        return *at;
      }
    }
    return kEnd;
  }

  const char* word(const char* at, std::string_view word) const {
    const std::string_view rest(at, static_cast<std::size_t>(end_ - at));
    return rest.starts_with(word) ? at + word.size() : nullptr;
  }

  // Returns its index.
  std::uint32_t add(Kind kind, bool truth, const char* begin, const char* end) {
    const std::uint32_t index = document_.count_;
    document_.add(
        {kind, truth, index + 1, static_cast<std::uint32_t>(begin - begin_), static_cast<std::uint32_t>(end - begin)});
    return index;
  }
  std::uint32_t add(Kind kind, bool truth = false) { return add(kind, truth, begin_, begin_); }
  void close(std::uint32_t container) { document_.nodes_[container].end = document_.count_; }

  // Where what stands for itself ends: as a rule within the first block.
  const char* plain_end(const char* at) const {
    constexpr std::size_t kBlock = sizeof(plain_text::Block);
    const auto left = static_cast<std::size_t>(end_ - at);
    if (left < kBlock) {
      return at + plain_prefix({at, left});
    }
    const std::size_t plain = plain_text::count_marked(plain_text::plain_marks(at));
    return at + plain + (plain == kBlock ? plain_prefix({at + kBlock, left - kBlock}) : 0);
  }

  // `at`: behind the quote.
  [[gnu::always_inline]] const char* string(const char* at) {
    const char* const end = plain_end(at);
    add(Kind::string, false, at, end);
    return is(end, '"') ? end + 1 : nullptr;
  }

  const char* integer(const char* at) {
    const char* const digits = is(at, '-') ? at + 1 : at;
    const char* end = digits;
    while (end != end_ && *end >= '0' && *end <= '9') {
      ++end;
    }
    const bool leading_zero = is(digits, '0') && end - at != 1;
    const bool more = is(end, '.') || is(end, 'e') || is(end, 'E');
    add(Kind::integer, false, at, end);
    return end != digits && end - digits <= kMaxDigits && !leading_zero && !more ? end : nullptr;
  }

  // `first`: what stands at `at`. The most frequent is in line.
  [[gnu::always_inline]] const char* value(const char* at, char first, std::size_t depth) {
    return first == '"' ? string(at + 1) : other_value(at, first, depth);
  }

  [[gnu::noinline]] const char* other_value(const char* at, char first, std::size_t depth) {
    switch (first) {
      case '{':
        return depth < kMaxJsonDepth ? object(at + 1, depth) : nullptr;
      case '[':
        return depth < kMaxJsonDepth ? array(at + 1, depth) : nullptr;
      case 't':
        add(Kind::boolean, true);
        return word(at, "true");
      case 'f':
        add(Kind::boolean);
        return word(at, "false");
      case 'n':
        add(Kind::null);
        return word(at, "null");
      default:
        return integer(at);
    }
  }

  // `at`: behind the bracket.
  const char* array(const char* at, std::size_t depth) {
    const std::uint32_t index = add(Kind::array);
    char next = skip_space(at);
    if (next == ']') {
      return at + 1;
    }
    while (true) {
      at = value(at, next, depth + 1);
      if (at == nullptr) {
        return nullptr;
      }
      next = skip_space(at);
      if (next != ',') {
        close(index);
        return next == ']' ? at + 1 : nullptr;
      }
      next = skip_space(++at);
    }
  }

  // The same.
  const char* object(const char* at, std::size_t depth) {
    const std::uint32_t index = add(Kind::object);
    char next = skip_space(at);
    if (next == '}') {
      return at + 1;
    }
    Keys keys;
    while (next == '"') {
      const char* const key = at + 1;
      at = string(key);
      if (at == nullptr || !add_key(keys, {key, at - 1}) || skip_space(at) != ':') {
        return nullptr;
      }
      next = skip_space(++at);
      at = value(at, next, depth + 1);
      if (at == nullptr) {
        return nullptr;
      }
      next = skip_space(at);
      if (next != ',') {
        close(index);
        return next == '}' ? at + 1 : nullptr;
      }
      next = skip_space(++at);
    }
    return nullptr;
  }

  const char* const begin_;
  const char* const end_;
  JsonDocument& document_;
};

bool JsonDocument::scan(std::string_view bytes) {
  constexpr std::size_t kBytesOfOne = 32;  // a batch's registrations have more for each value
  make_room(static_cast<std::uint32_t>(bytes.size() / kBytesOfOne));
  bytes_ = bytes.data();
  return Scanner(bytes, *this).scan();
}

}  // namespace limpet::api
