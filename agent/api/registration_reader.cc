#include "agent/api/registration_reader.h"

#include <algorithm>

#include "agent/api/base64.h"
#include "agent/api/json_writer.h"
#include "agent/api/names.h"

namespace limpet::api {
namespace {

constexpr std::size_t kMaxAddressBytes = 255;

// Formats that the interface describes but this version cannot make yet.
constexpr std::array<std::string_view, 4> kPlannedFormats = {"curator", "spring", "serverset", "nerve"};

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

Parsed<core::RegisterRequest> RegistrationReader::finish(const RegistrationId& id) {
  Lifetime lifetime = lifetime_.finish();
  if (data_ && data_base64_) {
    errors_.add(at("data_base64"), "must not be given together with data");
  }
  const bool has_data = data_ || data_base64_;
  const Format format = format_.value_or(has_data ? Format::raw : Format::json);
  if (format == Format::json && has_data) {
    errors_.add(at("format"), "is json, which makes the data from address, port and metadata; leave out data");
  }
  if (!errors_.empty()) {
    return std::move(errors_).problem();
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
  if (request.data.size() > max_data_bytes_) {
    return too_large_data(has_data ? at(data_ ? "data" : "data_base64") : pointer_, request.data.size(),
                          max_data_bytes_);
  }
  request.lifetime = std::move(lifetime);
  return request;
}

void RegistrationReader::read_data(const JsonValue& value) {
  data_.emplace();
  if (value.kind() == JsonKind::string) {
    *data_ = value.text();
    return;
  }
  JsonWriter writer(*data_);
  value.write(writer);
}

void RegistrationReader::read_data_base64(const JsonValue& value) {
  if (value.kind() != JsonKind::string) {
    return errors_.wrong_type(at("data_base64"), "a string", value.kind());
  }
  data_base64_ = decode_base64(value.text());
  if (!data_base64_) {
    errors_.add(at("data_base64"), "is not base64 (A-Z a-z 0-9 + /, padded with =)");
  }
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
  for (auto member = value.first(); member; member.next()) {
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
  if (value.text() == "raw") {
    format_ = Format::raw;
  } else if (value.text() == "json") {
    format_ = Format::json;
  } else if (std::find(kPlannedFormats.begin(), kPlannedFormats.end(), value.text()) != kPlannedFormats.end()) {
    errors_.add(at("format"), "\"" + std::string(value.text()) + "\" is not supported by this version");
  } else {
    errors_.add(at("format"), "must be \"raw\" or \"json\"");
  }
}

void RegistrationReader::read_path(const JsonValue& value) {
  if (value.kind() != JsonKind::string) {
    return errors_.wrong_type(at("path"), "a string", value.kind());
  }
  if (const auto error = path_error(value.text())) {
    return errors_.add(at("path"), *error);
  }
  path_ = value.text();
}

std::string RegistrationReader::json_data(const RegistrationId& id) const {
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

}  // namespace limpet::api
