// Base64 (RFC 4648, section 4: the standard alphabet, padded). Pure functions; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace limpet::api {

void append_base64(std::string& out, std::string_view bytes);

// The bytes that `text` stands for; nullopt where no encoder writes such a text: white space, no padding, left-over
// bits that are not zero.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace limpet::api
