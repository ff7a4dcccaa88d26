#include "tests/docs/fixture.h"

#include <array>
#include <cstdio>

#include "tests/support/shell.h"

namespace limpet::test {

RealEnsemble& Docs::ensemble() {
  static RealEnsemble one([] {
    RealEnsemble::Options options;
    options.servers = 1;
    return options;
  }());
  return one;
}

Docs::Outcome Docs::run(const std::string& script, const std::vector<std::string>& arguments) {
  std::string command = "/usr/bin/python3 -BW ignore " + shell_word(LIMPET_SOURCE_DIR "/tests/docs/" + script);
  for (const std::string& argument : arguments) {
    command += " " + shell_word(argument);
  }
  Outcome outcome;
  std::FILE* pipe = ::popen(("exec 2>&1 </dev/null; " + command).c_str(), "r");
  if (pipe == nullptr) {
    return outcome;
  }
  std::array<char, 4096> chunk{};
  for (std::size_t count = 0; (count = std::fread(chunk.data(), 1, chunk.size(), pipe)) > 0;) {
    outcome.output.append(chunk.data(), count);
  }
  outcome.status = ::pclose(pipe);
  return outcome;
}

}  // namespace limpet::test
