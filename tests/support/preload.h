// Libraries that go between a process and its system: LD_PRELOAD.
#pragma once

#include <string>

namespace limpet::test {

// The variable of the environment that loads `library` first, by a path in /tmp: the loader splits its list at spaces
// and colons, and a source tree may lie in a directory whose name has them.
std::string preload(const std::string& library);

}  // namespace limpet::test
