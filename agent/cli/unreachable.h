// Why the agent's socket cannot be connected to, in words that a newcomer can act on.
#pragma once

#include <string>

namespace limpet::cli {

// `error_number` is connect(2)'s errno for the socket at `path`; `origin` as for Client. Looks at the file system and
// the user database, so that the advice fits; first line: what is wrong, further lines: what to do.
std::string explain_connect_failure(int error_number, const std::string& path, const std::string& origin);

}  // namespace limpet::cli
