// The short way through JSON: nearly every body is made of plain strings, small integers, and containers of them, and
// reading those a character at a time is most of what a request costs. Whatever is not surely that and surely valid is
// left to the library, which also has the words for what is wrong.
#include <algorithm>
#include <array>
#include <span>

#include "agent/api/json_document.h"
#include "agent/api/json_writer.h"

namespace limpet::api {

// Reads `text` into `document`. Every function says false where it is not sure.
class JsonDocument::Scanner {
 public:
  Scanner(std::string_view text, JsonDocument& document)
      : begin_(text.data()), at_(begin_), end_(begin_ + text.size()), document_(document) {}

  bool scan() {
    skip_space();
    if (!value(0)) {
      return false;
    }
    skip_space();
    return at_ == end_;
  }

 private:
  // Members of one object whose keys are compared each with each.
  static constexpr std::size_t kMaxMembers = 24;
  static constexpr std::size_t kMaxDigits = 18;  // surely within 64 bits

  void skip_space() {
    while (at_ != end_ && (*at_ == ' ' || *at_ == '\n' || *at_ == '\r' || *at_ == '\t')) {
      ++at_;
    }
  }

  bool take(char c) {
    if (at_ == end_ || *at_ != c) {
      return false;
    }
    ++at_;
    return true;
  }

  bool take(std::string_view word) {
    if (!std::string_view(at_, static_cast<std::size_t>(end_ - at_)).starts_with(word)) {
      return false;
    }
    at_ += word.size();
    return true;
  }

  std::uint32_t add(Kind kind, std::string_view text = {}) {
    const auto index = static_cast<std::uint32_t>(document_.nodes_.size());
    const auto at = static_cast<std::uint32_t>(text.empty() ? 0 : text.data() - begin_);
    document_.nodes_.push_back({kind, false, index + 1, at, static_cast<std::uint32_t>(text.size())});
    return index;
  }

  bool string() {
    if (!take('"')) {
      return false;
    }
    const std::string_view text(at_, plain_prefix({at_, static_cast<std::size_t>(end_ - at_)}));
    at_ += text.size();
    add(Kind::string, text);
    return take('"');
  }

  bool integer() {
    const char* const begin = at_;
    (void)take('-');
    const char* const digits = at_;
    while (at_ != end_ && *at_ >= '0' && *at_ <= '9') {
      ++at_;
    }
    const auto count = static_cast<std::size_t>(at_ - digits);
    const bool leading_zero = count != 0 && *digits == '0' && at_ - begin != 1;
    const bool more = at_ != end_ && (*at_ == '.' || *at_ == 'e' || *at_ == 'E');
    add(Kind::integer, {begin, static_cast<std::size_t>(at_ - begin)});
    return count != 0 && count <= kMaxDigits && !leading_zero && !more;
  }

  bool value(std::size_t depth) {
    if (at_ == end_) {
      return false;
    }
    switch (*at_) {
      case '"':
        return string();
      case '{':
        return depth < kMaxJsonDepth && object(depth);
      case '[':
        return depth < kMaxJsonDepth && array(depth);
      case 't':
        document_.nodes_[add(Kind::boolean)].truth = true;
        return take("true");
      case 'f':
        add(Kind::boolean);
        return take("false");
      case 'n':
        add(Kind::null);
        return take("null");
      default:
        return integer();
    }
  }

  bool array(std::size_t depth) {
    const std::uint32_t index = add(Kind::array);
    ++at_;
    skip_space();
    if (!take(']')) {
      do {
        skip_space();
        if (!value(depth + 1)) {
          return false;
        }
        skip_space();
      } while (take(','));
      if (!take(']')) {
        return false;
      }
    }
    document_.nodes_[index].end = static_cast<std::uint32_t>(document_.nodes_.size());
    return true;
  }

  bool object(std::size_t depth) {
    const std::uint32_t index = add(Kind::object);
    std::array<std::uint32_t, kMaxMembers> keys;
    std::size_t members = 0;
    ++at_;
    skip_space();
    if (!take('}')) {
      do {
        skip_space();
        const auto key = static_cast<std::uint32_t>(document_.nodes_.size());
        if (members == kMaxMembers || !string() || occurs(key, {keys.data(), members})) {
          return false;
        }
        keys[members++] = key;
        skip_space();
        if (!take(':')) {
          return false;
        }
        skip_space();
        if (!value(depth + 1)) {
          return false;
        }
        skip_space();
      } while (take(','));
      if (!take('}')) {
        return false;
      }
    }
    document_.nodes_[index].end = static_cast<std::uint32_t>(document_.nodes_.size());
    return true;
  }

  bool occurs(std::uint32_t key, std::span<const std::uint32_t> keys) const {
    const auto text = [&](std::uint32_t index) { return Value(&document_, index).text(); };
    return std::any_of(keys.begin(), keys.end(), [&](std::uint32_t other) { return text(other) == text(key); });
  }

  const char* const begin_;
  const char* at_;
  const char* const end_;
  JsonDocument& document_;
};

bool JsonDocument::scan(std::string_view bytes) {
  constexpr std::size_t kLittle = 16;
  constexpr std::size_t kBytesOfOne = 32;  // a batch's registrations have more for each value
  nodes_.reserve(kLittle + bytes.size() / kBytesOfOne);
  bytes_ = bytes.data();
  if (Scanner(bytes, *this).scan()) {
    return true;
  }
  nodes_.clear();
  bytes_ = nullptr;
  return false;
}

}  // namespace limpet::api
