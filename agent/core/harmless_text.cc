#include "agent/core/harmless_text.h"

#include <algorithm>

#include "agent/core/unicode.h"

namespace limpet {

namespace {

constexpr char kHexDigits[] = "0123456789abcdef";

void append_byte(std::string& out, char c) {
  const auto byte = static_cast<unsigned char>(c);
  out += {'\\', 'x', kHexDigits[byte >> 4], kHexDigits[byte & 15]};
}

// `character`: one whole sequence.
void append_character(std::string& out, std::string_view character) {
  if (character == "\n") {
    out += "\\n";
  } else if (character == "\t") {
    out += "\\t";
  } else if (is_control(character)) {
    append_byte(out, character.back());  // of U+0080 to U+009F this is the number
  } else if (const std::uint32_t mark = turning_mark(character); mark != 0) {
    out += {'\\',
            'u',
            kHexDigits[mark >> 12],
            kHexDigits[mark >> 8 & 15],
            kHexDigits[mark >> 4 & 15],
            kHexDigits[mark & 15]};
  } else {
    out += character;
  }
}

void append_harmless(std::string& out, std::string_view text, bool quotes) {
  while (!text.empty()) {
    const std::size_t length = utf8_sequence(text.data(), text.data() + text.size());
    if (length == 0) {
      append_byte(out, text[0]);
    } else {
      if (quotes && (text[0] == '"' || text[0] == '\\')) {
        out += '\\';
      }
      append_character(out, text.substr(0, length));
    }
    text.remove_prefix(std::max<std::size_t>(length, 1));
  }
}

// Characters that end no value and begin none.
bool is_plain(char c) {
  return c > ' ' && c < 0x7F && c != '"' && c != '\\' && c != '=';
}

}  // namespace

std::string harmless(std::string_view text) {
  std::string out;
  append_harmless(out, text, false);
  return out;
}

std::string quoted_value(std::string_view text) {
  std::string out = "\"";
  append_harmless(out, text, true);
  out += '"';
  return out;
}

std::string log_value(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_plain) ? std::string(text) : quoted_value(text);
}

}  // namespace limpet
