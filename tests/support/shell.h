// Words for a shell.
#pragma once

#include <string>
#include <string_view>

namespace limpet::test {

// One word of a command for popen() or system(), whatever characters it has: a source tree may lie in a directory whose
// name has spaces.
inline std::string shell_word(std::string_view text) {
  std::string word = "'";
  for (const char c : text) {
    word += c == '\'' ? std::string_view("'\\''") : std::string_view(&c, 1);
  }
  return word + "'";
}

}  // namespace limpet::test
