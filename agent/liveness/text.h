// Bytes of strangers (a process's name, a check's output) made fit for logs, JSON and terminals. Pure; any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace limpet::liveness {

// `bytes` as valid UTF-8 of at most `max_bytes`, in one line: white space is run together into single spaces and
// trimmed, control characters and what is not UTF-8 stand as \xNN, and what is cut off is marked by "…".
// Precondition: max_bytes >= 8.
std::string printable(std::string_view bytes, std::size_t max_bytes);

}  // namespace limpet::liveness
