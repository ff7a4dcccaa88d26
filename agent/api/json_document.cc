#include "agent/api/json_document.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "agent/api/json_writer.h"

namespace limpet::api {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxDetailBytes = 200;

// The parser's message, without its own name in front and without the bytes that it last read, which may be long and
// anything.
std::string plain_words(std::string_view message) {
  if (const auto name_end = message.find("] "); name_end != std::string_view::npos) {
    message.remove_prefix(name_end + 2);
  }
  std::string words(message.substr(0, message.find("; last read: ")));
  if (const auto expected = message.rfind("; expected "); expected != std::string_view::npos) {
    words += message.substr(expected);
  }
  words.resize(std::min(words.size(), kMaxDetailBytes));
  return words;
}

}  // namespace

// Takes the parser's events; returning false stops it.
struct JsonDocument::Builder {
  JsonDocument& document;
  std::string& error;
  std::vector<std::uint32_t> open{};  // the containers around the next value

  bool null() { return add(Kind::null, {}); }
  bool boolean(bool value) {
    document.add({Kind::boolean, value, document.count_ + 1, 0, 0});
    return true;
  }
  bool number_integer(Json::number_integer_t value) { return add_integer(value); }
  bool number_unsigned(Json::number_unsigned_t value) { return add_integer(value); }
  bool number_float(Json::number_float_t, const std::string& digits) { return add(Kind::real, digits); }
  bool string(std::string& value) { return add(Kind::string, value); }
  bool binary(Json::binary_t&) { return false; }  // no such thing in JSON text
  bool start_object(std::size_t) { return start(Kind::object); }
  bool key(std::string& value) { return add(Kind::string, value); }
  bool end_object() {
    const std::uint32_t object = open.back();
    end();
    return keys_differ(object);
  }
  bool start_array(std::size_t) { return start(Kind::array); }
  bool end_array() {
    end();
    return true;
  }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& exception) {
    error = plain_words(exception.what());
    return false;
  }

 private:
  bool add(Kind kind, std::string_view text) {
    document.add({kind, false, document.count_ + 1, static_cast<std::uint32_t>(document.text_.size()),
                  static_cast<std::uint32_t>(text.size())});
    document.text_ += text;
    return true;
  }

  template <typename T>
  bool add_integer(T value) {
    char digits[24];
    const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    return add(Kind::integer, std::string_view(digits, static_cast<std::size_t>(end - digits)));
  }

  bool start(Kind kind) {
    if (open.size() == kMaxJsonDepth) {
      error = "nested deeper than " + std::to_string(kMaxJsonDepth) + " levels";
      return false;
    }
    open.push_back(document.count_);
    return add(kind, {});
  }

  void end() {
    document.nodes_[open.back()].end = document.count_;
    open.pop_back();
  }

  // Sorted, because an object may have as many keys as fit into the body.
  bool keys_differ(std::uint32_t object) {
    std::vector<std::string_view> keys;
    for (auto member = Value(&document, object).first(); member; member.next()) {
      keys.push_back(member.key());
    }
    std::sort(keys.begin(), keys.end());
    const auto twice = std::adjacent_find(keys.begin(), keys.end());
    if (twice == keys.end()) {
      return true;
    }
    error = "the key \"" + std::string(twice->substr(0, kMaxDetailBytes)) + "\" occurs twice in one object";
    return false;
  }
};

void JsonDocument::make_room(std::uint32_t room) {
  constexpr std::uint32_t kAtLeast = 16;
  room_ = std::max(room, kAtLeast);
  auto larger = std::make_unique_for_overwrite<Node[]>(room_);
  std::copy_n(nodes_.get(), count_, larger.get());
  nodes_ = std::move(larger);
}

std::optional<JsonDocument> JsonDocument::parse(std::string_view bytes, std::string& error) {
  assert(bytes.size() <= 0x7fffffff);
  if (std::optional<JsonDocument> document = JsonDocument(); document->scan(bytes)) {
    return document;
  }
  return parse_by_library(bytes, error);
}

std::optional<JsonDocument> JsonDocument::parse_by_library(std::string_view bytes, std::string& error) {
  if (bytes.starts_with("\xEF\xBB\xBF")) {
    error = "starts with a byte order mark; JSON is sent as UTF-8 without one";
    return std::nullopt;
  }
  // The parser takes NUL for the end of the text, and would not see what follows.
  if (const auto nul = bytes.find('\0'); nul != std::string_view::npos) {
    error = "has a NUL byte at offset " + std::to_string(nul);
    return std::nullopt;
  }
  JsonDocument document;
  Builder builder{document, error};
  if (!Json::sax_parse(bytes.begin(), bytes.end(), &builder)) {
    return std::nullopt;
  }
  return document;
}

void JsonDocument::Value::write(JsonWriter& writer) const {
  switch (kind()) {
    case Kind::null:
      return writer.null();
    case Kind::boolean:
      return writer.boolean(boolean());
    case Kind::integer:
    case Kind::real:
      return writer.literal(text());
    case Kind::string:
      return writer.string(text());
    case Kind::array:
      writer.begin_array();
      for (auto element = first(); element; element.next()) {
        element.value().write(writer);
      }
      return writer.end_array();
    case Kind::object:
      writer.begin_object();
      for (auto member = first(); member; member.next()) {
        writer.escaped_key(member.key());
        member.value().write(writer);
      }
      return writer.end_object();
  }
}

}  // namespace limpet::api
