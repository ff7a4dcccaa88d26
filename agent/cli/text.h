// Text for people: UTF-8, widths, wrapping, and making foreign text harmless on a terminal; also the two encodings that
// requests need. Pure functions on bytes; any thread; none of them fails.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace limpet::cli {

// True where `bytes` is well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates).
bool is_utf8(std::string_view bytes);

// Columns that `text` takes: its code points. What limpet shows is ASCII nearly always, so East Asian wide characters
// are counted as one.
std::size_t display_width(std::string_view text);

// `text` cut to at most `width` columns, the last of them an ellipsis where something was cut.
std::string truncate(std::string_view text, std::size_t width);

// `text` with every control character written out (\n, \t, \x1b), so that the data of one user's registration cannot
// drive the terminal of another who looks at it.
std::string printable(std::string_view text);

// `text` broken at spaces into lines of at most `width` columns; a longer word has a line of its own.
std::vector<std::string> wrap(std::string_view text, std::size_t width);

// RFC 4648 section 4, with padding.
std::string base64(std::string_view bytes);

// `text` as one path segment of a URL, or as the value of a query parameter (where `+` means a space to some servers).
std::string encode_segment(std::string_view text);
std::string encode_query_value(std::string_view text);

// "512 B", "1.2 MiB".
std::string format_bytes(std::uint64_t bytes);

}  // namespace limpet::cli
