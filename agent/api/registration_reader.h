// The fields of one registration, out of the body of a PUT or an operation of a batch. Internal to agent/api.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "agent/api/field_errors.h"
#include "agent/api/json_document.h"
#include "agent/api/lifetime_reader.h"
#include "agent/core/types.h"

namespace limpet::api {

inline constexpr std::array<std::string_view, 12> kRegistrationFields = {
    "data", "data_base64", "address", "port", "metadata", "format", "path", "ttl", "bind", "pid", "checks", "expires"};

class RegistrationReader {
 public:
  // `pointer`: where the object stands in the body. `errors` takes what is wrong, `request` what is asked for. All of
  // them must outlive this. `max_data_bytes` bounds the znode's data.
  RegistrationReader(std::string_view pointer, FieldErrors& errors, std::size_t max_data_bytes,
                     core::RegisterRequest& request)
      : pointer_(pointer),
        errors_(errors),
        max_data_bytes_(max_data_bytes),
        request_(request),
        lifetime_(pointer, errors, request.lifetime) {}

  // One member; null leaves it out. Returns false where no registration has such a field. The document must outlive
  // this.
  bool field(std::string_view key, const JsonValue& value);

  // After all members, and with the request's id: it is complete, or invalid with all that `errors` has, or too_large.
  std::optional<Problem> finish();

 private:
  std::string at(std::string_view key) const { return child_pointer(pointer_, key); }

  void read_data(const JsonValue& value);
  void read_data_base64(const JsonValue& value);
  void read_address(const JsonValue& value);
  void read_port(const JsonValue& value);
  void read_metadata(const JsonValue& value);
  void read_format(const JsonValue& value);
  void read_path(const JsonValue& value);
  // How the format goes together with the other fields.
  void check_format(Format format);

  const std::string_view pointer_;
  FieldErrors& errors_;
  const std::size_t max_data_bytes_;
  core::RegisterRequest& request_;
  LifetimeReader lifetime_;
  bool has_data_ = false;
  bool has_data_base64_ = false;
  std::optional<std::string_view> address_;
  std::optional<std::uint16_t> port_;
  std::optional<JsonValue> metadata_;
  std::optional<Format> format_;
};

}  // namespace limpet::api
