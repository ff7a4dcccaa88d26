// Strict reading of request bodies.
#include <algorithm>
#include <array>
#include <cassert>

#include "agent/api/json.h"
#include "agent/api/json_document.h"
#include "agent/api/json_writer.h"
#include "agent/api/names.h"

namespace limpet::api {
namespace {

constexpr std::size_t kMaxErrors = 16;  // told at once; the rest is found when these are mended
constexpr std::size_t kMaxAddressBytes = 255;
constexpr std::size_t kMaxWordBytes = 64;  // of an unknown word that is repeated to the caller

constexpr std::array<std::string_view, 7> kFields = {"data",     "data_base64", "address", "port",
                                                     "metadata", "format",      "path"};
constexpr std::array<std::string_view, 3> kOperationFields = {"op", "service", "instance"};
// What the interface describes but this version cannot do yet.
constexpr std::array<std::string_view, 5> kPlannedFields = {"ttl", "bind", "pid", "checks", "expires"};
constexpr std::array<std::string_view, 4> kPlannedFormats = {"curator", "spring", "serverset", "nerve"};

template <typename Words>
bool contains(const Words& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::string_view kind_name(JsonKind kind) {
  switch (kind) {
    case JsonKind::null:
      return "null";
    case JsonKind::boolean:
      return "a boolean";
    case JsonKind::integer:
    case JsonKind::real:
      return "a number";
    case JsonKind::string:
      return "a string";
    case JsonKind::array:
      return "an array";
    case JsonKind::object:
      return "an object";
  }
  assert(false);
  return "";
}

// RFC 6901: "~" and "/" within a key are escaped.
std::string child_pointer(const std::string& parent, std::string_view key) {
  std::string pointer = parent + "/";
  for (const char c : key) {
    if (c == '~') {
      pointer += "~0";
    } else if (c == '/') {
      pointer += "~1";
    } else {
      pointer += c;
    }
  }
  return pointer;
}

// Control characters of ASCII and of Latin-1 (U+0080 to U+009F); `text` is valid UTF-8.
bool has_control(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x20 || byte == 0x7F ||
        (byte == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0)) {
      return true;
    }
  }
  return false;
}

std::optional<std::string> decode_base64(std::string_view text) {
  static constexpr auto kValues = [] {
    std::array<signed char, 256> values{};
    values.fill(-1);
    constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (std::size_t i = 0; i < kAlphabet.size(); ++i) {
      values[static_cast<unsigned char>(kAlphabet[i])] = static_cast<signed char>(i);
    }
    return values;
  }();
  if (text.size() % 4 != 0) {
    return std::nullopt;
  }
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  text.remove_suffix(padding);
  std::string bytes;
  bytes.reserve(text.size() / 4 * 3 + 2);
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const signed char value = kValues[static_cast<unsigned char>(c)];
    if (value < 0) {
      return std::nullopt;
    }
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    count += 6;
    if (count >= 8) {
      count -= 8;
      bytes += static_cast<char>(bits >> count & 0xFF);
    }
  }
  // The bits that the padding leaves over are zero in what an encoder writes.
  if ((bits & ((1U << count) - 1)) != 0) {
    return std::nullopt;
  }
  return bytes;
}

class Errors {
 public:
  void add(std::string pointer, std::string detail) {
    if (errors_.size() < kMaxErrors) {
      errors_.push_back({std::move(pointer), std::move(detail)});
    }
  }
  void wrong_type(std::string pointer, std::string_view expected, JsonKind found) {
    add(std::move(pointer), "must be " + std::string(expected) + ", not " + std::string(kind_name(found)));
  }
  bool empty() const { return errors_.empty(); }
  Problem problem() && {
    Problem problem;
    problem.kind = ProblemKind::invalid;
    const FieldError& first = errors_.front();
    problem.detail = (first.pointer.empty() ? "The body" : first.pointer) + ": " + first.detail + ".";
    if (errors_.size() > 1) {
      problem.detail += " " + std::to_string(errors_.size() - 1) + " more: see `errors`.";
    }
    problem.errors = std::move(errors_);
    return problem;
  }

 private:
  std::vector<FieldError> errors_;
};

Problem too_large_data(const std::string& pointer, std::size_t bytes) {
  Problem problem;
  problem.kind = ProblemKind::too_large;
  problem.detail = "The znode's data would have " + std::to_string(bytes) + " bytes; at most " +
                   std::to_string(kMaxDataBytes) + " are allowed.";
  problem.errors.push_back({pointer, problem.detail});
  return problem;
}

// Reads the fields of one registration out of its object.
class RegistrationReader {
 public:
  // Where the object stands in the body; `errors` takes what is wrong.
  RegistrationReader(std::string pointer, Errors& errors) : pointer_(std::move(pointer)), errors_(errors) {}

  // One member. Returns false where no registration has such a field.
  bool field(std::string_view key, const JsonValue& value) {
    if (key == "data") {
      read_data(value);
    } else if (key == "data_base64") {
      read_data_base64(value);
    } else if (key == "address") {
      read_address(value);
    } else if (key == "port") {
      read_port(value);
    } else if (key == "metadata") {
      read_metadata(value);
    } else if (key == "format") {
      read_format(value);
    } else if (key == "path") {
      read_path(value);
    } else {
      return false;
    }
    return true;
  }

  // After all members: the request, or nullopt with `errors` not empty.
  std::optional<core::RegisterRequest> finish(const RegistrationId& id) {
    if (data_ && data_base64_) {
      errors_.add(at("data_base64"), "must not be given together with data");
    }
    const bool has_data = data_ || data_base64_;
    const Format format = format_.value_or(has_data ? Format::raw : Format::json);
    if (format == Format::json && has_data) {
      errors_.add(at("format"), "is json, which makes the data from address, port and metadata; leave out data");
    }
    if (!errors_.empty()) {
      return std::nullopt;
    }
    core::RegisterRequest request;
    request.id = id;
    request.path = std::move(path_);
    request.format = format;
    if (format == Format::json) {
      request.data = json_data(id);
    } else if (has_data) {
      request.data = data_ ? std::move(*data_) : std::move(*data_base64_);
    }
    return request;
  }

  std::string data_pointer() const { return at(data_base64_ ? "data_base64" : "data"); }

 private:
  std::string at(std::string_view key) const { return child_pointer(pointer_, key); }

  void read_data(const JsonValue& value) {
    data_.emplace();
    if (value.kind() == JsonKind::string) {
      *data_ = value.text();
      return;
    }
    JsonWriter writer(*data_);
    value.write(writer);
  }

  void read_data_base64(const JsonValue& value) {
    if (value.kind() != JsonKind::string) {
      return errors_.wrong_type(at("data_base64"), "a string", value.kind());
    }
    data_base64_ = decode_base64(value.text());
    if (!data_base64_) {
      errors_.add(at("data_base64"), "is not base64 (A-Z a-z 0-9 + /, padded with =)");
    }
  }

  void read_address(const JsonValue& value) {
    if (value.kind() != JsonKind::string) {
      return errors_.wrong_type(at("address"), "a string", value.kind());
    }
    const std::string_view text = value.text();
    if (text.empty() || text.size() > kMaxAddressBytes) {
      errors_.add(at("address"), "must have 1 to " + std::to_string(kMaxAddressBytes) + " bytes");
    } else if (has_control(text)) {
      errors_.add(at("address"), "must not hold control characters");
    } else {
      address_ = text;
    }
  }

  void read_port(const JsonValue& value) {
    if (value.kind() != JsonKind::integer && value.kind() != JsonKind::real) {
      return errors_.wrong_type(at("port"), "an integer from 1 to 65535", value.kind());
    }
    const auto port = value.kind() == JsonKind::integer ? parse_number(value.text(), 1, 65'535) : std::nullopt;
    if (!port) {
      return errors_.add(at("port"), "must be an integer from 1 to 65535");
    }
    port_ = static_cast<std::uint16_t>(*port);
  }

  void read_metadata(const JsonValue& value) {
    if (value.kind() != JsonKind::object) {
      return errors_.wrong_type(at("metadata"), "an object of strings", value.kind());
    }
    for (auto member = value.first(); member; member.next()) {
      if (member.value().kind() != JsonKind::string) {
        errors_.wrong_type(child_pointer(at("metadata"), member.key().substr(0, kMaxWordBytes)), "a string",
                           member.value().kind());
      }
    }
    metadata_ = value;
  }

  void read_format(const JsonValue& value) {
    if (value.kind() != JsonKind::string) {
      return errors_.wrong_type(at("format"), "a string", value.kind());
    }
    if (value.text() == "raw") {
      format_ = Format::raw;
    } else if (value.text() == "json") {
      format_ = Format::json;
    } else if (contains(kPlannedFormats, value.text())) {
      errors_.add(at("format"), "\"" + std::string(value.text()) + "\" is not supported by this version");
    } else {
      errors_.add(at("format"), "must be \"raw\" or \"json\"");
    }
  }

  void read_path(const JsonValue& value) {
    if (value.kind() != JsonKind::string) {
      return errors_.wrong_type(at("path"), "a string", value.kind());
    }
    if (const auto error = path_error(value.text())) {
      return errors_.add(at("path"), *error);
    }
    path_ = value.text();
  }

  std::string json_data(const RegistrationId& id) const {
    std::string data;
    JsonWriter json(data);
    json.begin_object();
    json.key("service").string(id.service);
    json.key("instance").string(id.instance);
    if (address_) {
      json.key("address").string(*address_);
    }
    if (port_) {
      json.key("port").number(*port_);
    }
    if (metadata_) {
      json.key("metadata");
      metadata_->write(json);
    }
    json.end_object();
    return data;
  }

  const std::string pointer_;
  Errors& errors_;
  std::optional<std::string> data_;
  std::optional<std::string> data_base64_;
  std::optional<std::string> address_;
  std::optional<std::uint16_t> port_;
  std::optional<JsonValue> metadata_;
  std::optional<Format> format_;
  std::optional<std::string> path_;
};

// `known`: the fields that could have been meant.
template <typename Words>
void unknown_field(const std::string& parent, std::string_view key, const Words& known, Errors& errors) {
  const std::string word(key.substr(0, kMaxWordBytes));
  std::string detail = "is not a field of this object";
  if (contains(kPlannedFields, key)) {
    detail = "is not supported by this version";
  } else if (const auto nearest = nearest_word(word, known); !nearest.empty()) {
    detail += "; did you mean " + std::string(nearest) + "?";
  }
  errors.add(child_pointer(parent, word), std::move(detail));
}

Problem bad_json(const std::string& error) {
  Problem problem;
  problem.kind = ProblemKind::bad_json;
  problem.detail = "The body: " + error + ".";
  return problem;
}

Parsed<JsonDocument> read_object(std::string_view body) {
  std::string error;
  auto document = JsonDocument::parse(body.empty() ? "{}" : body, error);
  if (!document) {
    return bad_json(error);
  }
  if (document->root().kind() != JsonKind::object) {
    Errors errors;
    errors.wrong_type("", "an object", document->root().kind());
    return std::move(errors).problem();
  }
  return std::move(*document);
}

// A service or instance of an operation of a batch.
void read_name(const JsonValue* value, const std::string& pointer, Errors& errors, std::string& name) {
  if (value == nullptr) {
    return errors.add(pointer, "is missing");
  }
  if (value->kind() != JsonKind::string) {
    return errors.wrong_type(pointer, "a string", value->kind());
  }
  if (const auto error = name_error(value->text())) {
    return errors.add(pointer, *error);
  }
  name = value->text();
}

Parsed<core::ChangeRequest> read_operation(const JsonValue& object, const std::string& pointer) {
  Errors errors;
  if (object.kind() != JsonKind::object) {
    errors.wrong_type(pointer, "an object", object.kind());
    return std::move(errors).problem();
  }
  std::optional<JsonValue> op;
  std::optional<JsonValue> service;
  std::optional<JsonValue> instance;
  for (auto member = object.first(); member; member.next()) {
    if (member.key() == "op") {
      op = member.value();
    } else if (member.key() == "service") {
      service = member.value();
    } else if (member.key() == "instance") {
      instance = member.value();
    }
  }
  const bool is_register = op && op->kind() == JsonKind::string && op->text() == "register";
  const bool is_deregister = op && op->kind() == JsonKind::string && op->text() == "deregister";
  if (!is_register && !is_deregister) {
    errors.add(pointer + "/op", op ? "must be \"register\" or \"deregister\"" : "is missing");
  }
  RegistrationId id;
  read_name(service ? &*service : nullptr, pointer + "/service", errors, id.service);
  read_name(instance ? &*instance : nullptr, pointer + "/instance", errors, id.instance);
  RegistrationReader reader(pointer, errors);
  for (auto member = object.first(); member; member.next()) {
    if (contains(kOperationFields, member.key())) {
      continue;
    }
    if (is_deregister) {
      errors.add(child_pointer(pointer, member.key().substr(0, kMaxWordBytes)), "is not a field of a deregistration");
    } else if (!reader.field(member.key(), member.value())) {
      unknown_field(pointer, member.key(), kFields, errors);
    }
  }
  if (is_deregister && errors.empty()) {
    return core::ChangeRequest(core::DeregisterRequest{std::move(id)});
  }
  auto request = reader.finish(id);
  if (!request) {
    return std::move(errors).problem();
  }
  if (request->data.size() > kMaxDataBytes) {
    return too_large_data(reader.data_pointer(), request->data.size());
  }
  return core::ChangeRequest(std::move(*request));
}

}  // namespace

Parsed<core::RegisterRequest> parse_registration(const RegistrationId& id, std::string_view body) {
  auto document = read_object(body);
  if (auto* problem = std::get_if<Problem>(&document)) {
    return std::move(*problem);
  }
  Errors errors;
  RegistrationReader reader("", errors);
  for (auto member = std::get<JsonDocument>(document).root().first(); member; member.next()) {
    if (!reader.field(member.key(), member.value())) {
      unknown_field("", member.key(), kFields, errors);
    }
  }
  auto request = reader.finish(id);
  if (!request) {
    return std::move(errors).problem();
  }
  if (request->data.size() > kMaxDataBytes) {
    return too_large_data(reader.data_pointer(), request->data.size());
  }
  return std::move(*request);
}

Parsed<std::vector<core::ChangeRequest>> parse_batch(std::string_view body) {
  auto document = read_object(body);
  if (auto* problem = std::get_if<Problem>(&document)) {
    return std::move(*problem);
  }
  constexpr std::array<std::string_view, 1> kBatchFields = {"operations"};
  Errors errors;
  std::optional<JsonValue> operations;
  for (auto member = std::get<JsonDocument>(document).root().first(); member; member.next()) {
    if (member.key() == kBatchFields[0]) {
      operations = member.value();
    } else {
      unknown_field("", member.key(), kBatchFields, errors);
    }
  }
  if (!operations) {
    errors.add("/operations", "is missing");
  } else if (operations->kind() != JsonKind::array) {
    errors.wrong_type("/operations", "an array", operations->kind());
  }
  if (!errors.empty()) {
    return std::move(errors).problem();
  }
  std::vector<core::ChangeRequest> requests;
  for (auto element = operations->first(); element; element.next()) {
    const std::size_t index = requests.size();
    if (index == kMaxBatchOperations) {
      errors.add("/operations", "has more than " + std::to_string(kMaxBatchOperations) + " operations");
      return std::move(errors).problem();
    }
    auto operation = read_operation(element.value(), "/operations/" + std::to_string(index));
    if (auto* problem = std::get_if<Problem>(&operation)) {
      problem->index = index;
      return std::move(*problem);
    }
    requests.push_back(std::move(std::get<core::ChangeRequest>(operation)));
  }
  return requests;
}

std::optional<Problem> parse_empty(std::string_view body) {
  auto document = read_object(body);
  if (auto* problem = std::get_if<Problem>(&document)) {
    return std::move(*problem);
  }
  Errors errors;
  constexpr std::array<std::string_view, 0> kNone = {};
  for (auto member = std::get<JsonDocument>(document).root().first(); member; member.next()) {
    unknown_field("", member.key(), kNone, errors);
  }
  return errors.empty() ? std::nullopt : std::optional(std::move(errors).problem());
}

}  // namespace limpet::api
