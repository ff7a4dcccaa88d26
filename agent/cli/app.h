// The command line of `limpet`: its options, its verbs, its help. What the man page and the completions are made of
// (packaging/pages), too.
#pragma once

#include <string>

#include "agent/cli/command.h"

namespace limpet::cli {

inline constexpr const char* kDefaultSocket = "/run/limpet/limpet.sock";

struct Globals {
  std::optional<std::string> socket;
  bool json = false;
  WaitTime answer_timeout{"30s"};
  std::vector<std::string> command;  // of `limpet run`: what stands after --
};

// Puts everything on `app`, which must be fresh. `globals` and `run` must outlive the parsing, which fills them.
void build_app(CLI::App& app, Globals& globals, Run& run);

// Parses what was typed; throws CLI11's errors. Empty values (`--data=`) and the words after `limpet run … --` reach
// their verb as they are, which the parser alone would not see to.
void parse_words(CLI::App& app, Globals& globals, std::vector<std::string> words);

}  // namespace limpet::cli
