// One health check of a registration, as it is asked for and as it is shown:
//
//   {"type":"tcp","address":"127.0.0.1:80"}              or "[::1]:80", or "unix:/run/app.sock"
//   {"type":"http","url":"http://127.0.0.1/health","status":"2xx"}   or "http+unix://%2Frun%2Fapp.sock/health", as well
//                                                  as "http://unix:/run/app.sock:/health"; or "status":"200,204,3xx"
//   {"type":"command","command":["/usr/bin/app","--healthy"]}
//
// each with "interval":"10s","timeout":"1s","rise":1,"fall":3. Pure functions; any thread.
#pragma once

#include <optional>
#include <string>

#include "agent/api/field_errors.h"
#include "agent/api/json_document.h"
#include "agent/api/json_writer.h"
#include "storage/record.h"

namespace limpet::api {

inline constexpr std::size_t kMaxChecks = 16;  // of one registration

// The check at `pointer` of the body; nullopt where `errors` has got what is wrong with it.
std::optional<Check> read_check(const JsonValue& value, const std::string& pointer, FieldErrors& errors);

void write_check(JsonWriter& json, const Check& check);

}  // namespace limpet::api
