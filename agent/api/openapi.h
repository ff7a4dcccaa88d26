// The API's description: agent/api/openapi.json, which is built in. Any thread.
#pragma once

#include <string_view>

namespace limpet::api {

// OpenAPI 3.1, as JSON.
std::string_view openapi_document();

}  // namespace limpet::api
