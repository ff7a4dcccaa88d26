#include "agent/api/registration_reader.h"

#include <algorithm>

#include "agent/api/base64.h"
#include "agent/api/formats.h"
#include "agent/api/json.h"
#include "agent/api/json_writer.h"
#include "agent/api/names.h"
#include "agent/core/unicode.h"

namespace limpet::api {
namespace {

constexpr std::size_t kMaxAddressBytes = 255;
constexpr std::size_t kTimeBytes = 13;  // milliseconds since 1970, until 2286

// `text` is valid UTF-8.
bool has_control(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = utf8_sequence(text.data(), text.data() + text.size());
    if (is_control(text.substr(0, length))) {
      return true;
    }
    text.remove_prefix(length);
  }
  return false;
}

Problem too_large_data(const std::string& pointer, std::size_t bytes, std::size_t max_bytes) {
  Problem problem;
  problem.kind = ProblemKind::too_large;
  problem.detail = "The znode's data would have " + std::to_string(bytes) + " bytes; at most " +
                   std::to_string(max_bytes) + " are allowed.";
  problem.errors.push_back({pointer, problem.detail});
  return problem;
}

}  // namespace

bool RegistrationReader::field(std::string_view key, const JsonValue& value) {
  if (value.kind() == JsonKind::null) {  // as if it were left out: what a template without a value makes
    return std::find(kRegistrationFields.begin(), kRegistrationFields.end(), key) != kRegistrationFields.end();
  }
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
    return lifetime_.field(key, value);
  }
  return true;
}

std::optional<Problem> RegistrationReader::finish() {
  lifetime_.finish();
  if (has_data_ && has_data_base64_) {
    errors_.add(at("data_base64"), "must not be given together with data");
  }
  const bool has_data = has_data_ || has_data_base64_;
  const Format format = format_.value_or(has_data ? Format::raw : Format::json);
  if (errors_.empty()) {
    check_format(format);
  }
  if (!errors_.empty()) {
    return std::move(errors_).problem();
  }
  request_.format = format;
  if (format != Format::raw) {
    Content content = make_content(format, {request_.id, address_, port_, metadata_});
    request_.data = std::move(content.data);
    request_.time_at = content.time_at;
    request_.leaf = default_leaf(format, request_.id);
  }
  const std::size_t bytes = request_.data.size() + (request_.time_at ? kTimeBytes : 0);
  if (bytes > max_data_bytes_) {
    return too_large_data(has_data ? at(has_data_ ? "data" : "data_base64") : std::string(pointer_), bytes,
                          max_data_bytes_);
  }
  return std::nullopt;
}

void RegistrationReader::check_format(Format format) {
  if (format == Format::raw) {
    // Nothing that was given is dropped in silence.
    const auto useless = [this](bool given, std::string_view key) {
      if (given) {
        errors_.add(at(key), "is of no use with the format raw, which takes data only; choose another or leave it out");
      }
    };
    useless(address_.has_value(), "address");
    useless(port_.has_value(), "port");
    useless(metadata_.has_value(), "metadata");
    return;
  }
  const std::string name(format_name(format));
  if (has_data_ || has_data_base64_) {
    errors_.add(at("format"), "is " + name + ", which makes the data from address, port and metadata; leave out data");
  }
  if (needs_endpoint(format) && !address_) {
    errors_.add(at("address"), "is missing: readers of the format " + name + " need it");
  }
  if (needs_endpoint(format) && !port_) {
    errors_.add(at("port"), "is missing: readers of the format " + name + " need it");
  }
  if (request_.path) {
    if (const auto error = leaf_error(format, request_.id, *request_.path)) {
      errors_.add(at("path"), *error);
    }
  }
}

void RegistrationReader::read_data(const JsonValue& value) {
  has_data_ = true;
  if (value.kind() == JsonKind::string) {
    request_.data = std::string(value.text());
    return;
  }
  JsonWriter writer(request_.data);
  value.write(writer);
}

void RegistrationReader::read_data_base64(const JsonValue& value) {
  if (value.kind() != JsonKind::string) {
    return errors_.wrong_type(at("data_base64"), "a string", value.kind());
  }
  auto data = decode_base64(value.text());
  if (!data) {
    return errors_.add(at("data_base64"), "is not base64 (A-Z a-z 0-9 + /, padded with =)");
  }
  has_data_base64_ = true;
  request_.data = *std::move(data);
}

void RegistrationReader::read_address(const JsonValue& value) {
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

void RegistrationReader::read_port(const JsonValue& value) {
  if (value.kind() != JsonKind::integer && value.kind() != JsonKind::real) {
    return errors_.wrong_type(at("port"), "an integer from 1 to 65535", value.kind());
  }
  const auto port = value.kind() == JsonKind::integer ? parse_number(value.text(), 1, 65'535) : std::nullopt;
  if (!port) {
    return errors_.add(at("port"), "must be an integer from 1 to 65535");
  }
  port_ = static_cast<std::uint16_t>(*port);
}

void RegistrationReader::read_metadata(const JsonValue& value) {
  if (value.kind() != JsonKind::object) {
    return errors_.wrong_type(at("metadata"), "an object of strings", value.kind());
  }
  for (auto member = value.first(); member && !errors_.full(); member.next()) {
    if (member.value().kind() != JsonKind::string) {
      errors_.wrong_type(child_pointer(at("metadata"), member.key()), "a string", member.value().kind());
    }
  }
  metadata_ = value;
}

void RegistrationReader::read_format(const JsonValue& value) {
  if (value.kind() != JsonKind::string) {
    return errors_.wrong_type(at("format"), "a string", value.kind());
  }
  format_ = parse_format(value.text());
  if (!format_) {
    errors_.add(at("format"), "must be one of raw, json, curator, spring, serverset, nerve");
  }
}

void RegistrationReader::read_path(const JsonValue& value) {
  if (value.kind() != JsonKind::string) {
    return errors_.wrong_type(at("path"), "a string", value.kind());
  }
  if (const auto error = path_error(value.text())) {
    return errors_.add(at("path"), *error);
  }
  request_.path = value.text();
}

}  // namespace limpet::api
