// The fields of a registration that say when it ends or is withdrawn by itself: ttl, bind, pid, checks, expires.
// Internal to agent/api.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "agent/api/field_errors.h"
#include "agent/api/json_document.h"
#include "storage/record.h"

namespace limpet::api {

inline constexpr std::array<std::string_view, 5> kLifetimeFields = {"ttl", "bind", "pid", "checks", "expires"};

class LifetimeReader {
 public:
  // As RegistrationReader.
  LifetimeReader(std::string_view pointer, FieldErrors& errors, Lifetime& lifetime)
      : pointer_(pointer), errors_(errors), lifetime_(lifetime) {}

  // One member. Returns false where it is not about the lifetime.
  bool field(std::string_view key, const JsonValue& value);

  // After all members. Of a process only `pid` is filled in, 0 where it is to be the caller's.
  void finish();

 private:
  std::string at(std::string_view key) const { return child_pointer(pointer_, key); }

  void read_bind(const JsonValue& value);
  void read_pid(const JsonValue& value);
  void read_checks(const JsonValue& value);

  const std::string_view pointer_;
  FieldErrors& errors_;
  Lifetime& lifetime_;
  std::optional<std::int32_t> pid_;
};

}  // namespace limpet::api
