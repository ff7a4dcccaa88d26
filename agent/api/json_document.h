// JSON that came from outside, read strictly: the only user of nlohmann/json, and of it only the event interface.
//
// A JsonDocument is a tape: one small Node for each value in the order of the text, which says where its string or
// number stands: as a rule in the bytes that were read, which must outlive it; where these had to be decoded, in a
// string of its own. Reading it costs one or two allocations however many values there are, and refuses what must never
// be coerced or guessed: a byte order mark, invalid UTF-8, lone surrogates, NUL, text after the value, nesting
// deeper than 32, a key that occurs twice in one object. Numbers are kept as they were written, whatever their size.
// A JsonValue is a view and must not outlive its document. Any thread.
#pragma once

#include <cassert>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace limpet::api {

inline constexpr std::size_t kMaxJsonDepth = 32;

class JsonWriter;

class JsonDocument {
 public:
  // `integer`: without fraction or exponent, and within 64 bits. `real`: any other number.
  enum class Kind : std::uint8_t { null, boolean, integer, real, string, array, object };

  class Value;

  // Reads `bytes`, at most 2 GiB, which must outlive what is returned. On failure returns nullopt and puts into `error`
  // what is wrong and where, in words for a human.
  static std::optional<JsonDocument> parse(std::string_view bytes, std::string& error);

  // The same, but never the short way (json_scan.cc): for tests, which compare the two.
  static std::optional<JsonDocument> parse_by_library(std::string_view bytes, std::string& error);

  Value root() const;

 private:
  struct Builder;
  class Scanner;
  struct Node {
    Kind kind;
    bool truth;
    std::uint32_t end;   // index past this value and all in it
    std::uint32_t text;  // where in bytes_, or where that is null, in text_
    std::uint32_t size;
  };

  JsonDocument() = default;
  // Reads what is simple. False: it is not, and this is of no use; nothing is said about whether it is valid.
  bool scan(std::string_view bytes);

  void add(const Node& node) {
    if (count_ == room_) {
      make_room(2 * room_);
    }
    nodes_[count_++] = node;
  }
  void make_room(std::uint32_t room);

  std::string_view text_of(const Node& node) const {
    return {(bytes_ != nullptr ? bytes_ : text_.data()) + node.text, node.size};
  }

  // Not a vector: one value comes in a few instructions.
  std::unique_ptr<Node[]> nodes_;
  std::uint32_t count_ = 0;
  std::uint32_t room_ = 0;
  const char* bytes_ = nullptr;
  std::string text_;
};

class JsonDocument::Value {
 public:
  Kind kind() const { return node().kind; }
  bool boolean() const { return node().truth; }
  // Of a string: what it means. Of a number: its digits.
  std::string_view text() const { return document_->text_of(node()); }

  // Elements of an array and members of an object, in the order of the text: for (auto e = v.first(); e; e.next()).
  class Cursor {
   public:
    Cursor() = default;  // at the end
    explicit operator bool() const { return at_ < end_; }
    void next() { at_ = value().node().end; }
    Value value() const { return Value(document_, keyed_ ? at_ + 1 : at_); }
    // Of a member of an object.
    std::string_view key() const { return Value(document_, at_).text(); }

   private:
    friend class Value;
    Cursor(const JsonDocument* document, std::uint32_t at, std::uint32_t end, bool keyed)
        : document_(document), at_(at), end_(end), keyed_(keyed) {}
    const JsonDocument* document_ = nullptr;
    std::uint32_t at_ = 0;
    std::uint32_t end_ = 0;
    bool keyed_ = false;
  };
  Cursor first() const { return {document_, index_ + 1, node().end, node().kind == Kind::object}; }

  // The value as compact JSON: no white space, keys in their order, numbers as they were written.
  void write(JsonWriter& writer) const;

 private:
  friend class JsonDocument;
  friend class Cursor;
  Value(const JsonDocument* document, std::uint32_t index) : document_(document), index_(index) {}
  const Node& node() const { return document_->nodes_[index_]; }

  const JsonDocument* document_;
  std::uint32_t index_;
};

inline JsonDocument::Value JsonDocument::root() const {
  assert(count_ != 0);
  return {this, 0};
}

using JsonValue = JsonDocument::Value;
using JsonKind = JsonDocument::Kind;

}  // namespace limpet::api
