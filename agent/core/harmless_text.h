// Text from outside in a line of the log or on a terminal. Every such text passes through here, so that no caller,
// check or server can forge a field or a line, drive a terminal, or turn the order in which a line is read. Pure; any
// thread.
#pragma once

#include <string>
#include <string_view>

namespace limpet {

// `text` with control characters (\n, \t, \x1b), bytes that are not UTF-8 (\xff) and marks of direction (\u202e)
// written out. What is harmless stays as it is, so this may be done twice. For terminals, and for the line of a log.
std::string harmless(std::string_view text);

// The same between double quotes, with quotes and backslashes escaped: free text as the value of key=value in a log.
std::string quoted_value(std::string_view text);

// A name, a path or an address as the value of key=value in a log: as it is where it is one plain word, quoted_value()
// otherwise.
std::string log_value(std::string_view text);

}  // namespace limpet
