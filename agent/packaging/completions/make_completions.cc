// Makes the completions of bash, zsh and fish at build time from the command line that `limpet --help` prints.
//   make_completions DIRECTORY
#include <fmt/format.h>

#include <fstream>
#include <iostream>

#include "agent/cli/app.h"

namespace {

using limpet::cli::Globals;
using limpet::cli::Run;

// What the values of an option, or of a positional, may be. The parser holds most of these as code.
std::string values_of(const std::string& name) {
  return name == "--format"  ? "raw json curator spring serverset nerve"
         : name == "--state" ? "pending registered suspended conflict blocked unhealthy maintenance removing"
         : name == "--bind"  ? "none process"
         : name == "SWITCH"  ? "on off"
                             : "";
}

bool is_file(const std::string& name) {
  return name == "--data-file" || name == "--socket" || name == "--config";
}
bool is_directory(const std::string& name) {
  return name == "DATA_DIR" || name == "--data-dir";
}

struct Word {
  std::string name;  // "--data-file", or "SERVICE"
  std::string description;
  bool takes_value = false;
};

struct Verb {
  std::string name;
  std::string description;
  std::vector<Word> options;
  std::vector<Word> positionals;
};

Verb facts_of(const CLI::App& app) {
  Verb verb{app.get_name(), app.get_description(), {}, {}};
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional()) {
      verb.positionals.push_back({option->get_name(true), option->get_description(), true});
      continue;
    }
    for (const std::string& name : option->get_lnames()) {
      verb.options.push_back({"--" + name, option->get_description(), option->get_items_expected_max() > 0});
    }
  }
  return verb;
}

struct CommandLine {
  Verb global;
  std::vector<Verb> verbs;
};

CommandLine command_line() {
  CLI::App app;
  Globals globals;
  Run run;
  limpet::cli::build_app(app, globals, run);
  CommandLine line{facts_of(app), {}};
  for (const CLI::App* verb : app.get_subcommands([](CLI::App* one) { return !one->get_group().empty(); })) {
    line.verbs.push_back(facts_of(*verb));
  }
  return line;
}

std::string names_of(const std::vector<Word>& words) {
  std::string out;
  for (const Word& word : words) {
    out += (out.empty() ? "" : " ") + word.name;
  }
  return out;
}

// ---- bash

constexpr const char* kBashHead = R"SH(# bash completion of limpet; made at build time from its command line.
_limpet_names() {
  limpet ${1:+--socket "$1"} --answer-timeout 2s names ${2:+"$2"} 2>/dev/null
}
)SH";

constexpr const char* kBashTail = R"SH(
_limpet() {
  local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}"
  local verb='' socket='' word i
  local -a args=()
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    word="${COMP_WORDS[i]}"
    case "$word" in
      --) [ "$verb" = run ] && { _limpet_command $((i + 1)); return; } ;;
      --socket) socket="${COMP_WORDS[++i]}" ;;
      --*) case " $(_limpet_valued) " in *" $word "*) ((i++)) ;; esac ;;
      -*) ;;
      *) if [ -z "$verb" ]; then verb="$word"; else args+=("$word"); fi ;;
    esac
  done
  local values
  values="$(_limpet_values "$prev")"
  if [ "$values" = '<file>' ]; then
    compopt -o default 2>/dev/null
  elif [ "$values" = '<directory>' ]; then
    mapfile -t COMPREPLY < <(compgen -d -- "$cur")
  elif [ -n "$values" ]; then
    mapfile -t COMPREPLY < <(compgen -W "${values/<none>/}" -- "$cur")
  elif [[ "$cur" == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(_limpet_options '') $(_limpet_options "$verb")" -- "$cur")
  elif [ -z "$verb" ]; then
    mapfile -t COMPREPLY < <(compgen -W "$(_limpet_verbs)" -- "$cur")
  else
    local -a places
    read -ra places <<<"$(_limpet_positionals "$verb")"
    case "${places[${#args[@]}]}" in
      SERVICE) values="$(_limpet_names "$socket" '')" ;;
      INSTANCE) values="$(_limpet_names "$socket" "${args[${#args[@]}-1]}")" ;;
      SWITCH) values='on off' ;;
      DATA_DIR) mapfile -t COMPREPLY < <(compgen -d -- "$cur"); return ;;
      COMMAND) mapfile -t COMPREPLY < <(compgen -c -- "$cur"); return ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$values" -- "$cur")
  fi
}

# After `limpet run ... --`: as if the command stood alone, where bash-completion is there to do it.
_limpet_command() {
  if declare -F _command_offset >/dev/null; then
    _command_offset "$1"
  elif [ "$COMP_CWORD" -eq "$1" ]; then
    mapfile -t COMPREPLY < <(compgen -c -- "${COMP_WORDS[COMP_CWORD]}")
  else
    compopt -o default 2>/dev/null
  fi
}

complete -F _limpet limpet
)SH";

// The cases of _limpet_values: what may stand behind an option. `valued` gathers the options that take a value.
std::string bash_values(const Verb& verb, std::string& valued) {
  std::string cases;
  for (const Word& option : verb.options) {
    if (!option.takes_value || (" " + valued + " ").find(" " + option.name + " ") != std::string::npos) {
      continue;
    }
    valued += (valued.empty() ? "" : " ") + option.name;
    const std::string known = values_of(option.name);
    const std::string values = is_file(option.name)        ? "<file>"
                               : is_directory(option.name) ? "<directory>"
                               : known.empty()             ? "<none>"
                                                           : known;
    cases += fmt::format("    {}) echo '{}' ;;\n", option.name, values);
  }
  return cases;
}

std::string bash(const CommandLine& line) {
  std::string verbs;
  std::string options = fmt::format("    '') echo '{}' ;;\n", names_of(line.global.options));
  std::string positionals;
  std::string valued;
  std::string values = bash_values(line.global, valued);
  for (const Verb& verb : line.verbs) {
    verbs += (verbs.empty() ? "" : " ") + verb.name;
    options += fmt::format("    {}) echo '{}' ;;\n", verb.name, names_of(verb.options));
    positionals += fmt::format("    {}) echo '{}' ;;\n", verb.name, names_of(verb.positionals));
    values += bash_values(verb, valued);
  }
  const auto function = [](const std::string& name, const std::string& cases) {
    return fmt::format("_limpet_{}() {{\n  case \"$1\" in\n{}  esac\n}}\n", name, cases);
  };
  return kBashHead +
         fmt::format("_limpet_verbs() {{ echo '{}'; }}\n_limpet_valued() {{ echo '{}'; }}\n", verbs, valued) +
         function("options", options) + function("positionals", positionals) + function("values", values) + kBashTail;
}

// ---- zsh

// Inside single quotes, in a specification of _arguments.
std::string zsh_text(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\'') {
      out += "'\\''";
    } else {
      out += c == '[' || c == ']' || c == ':' || c == '\\' ? std::string("\\") + c : std::string(1, c);
    }
  }
  return out;
}

std::string zsh_action(const std::string& name) {
  const std::string values = values_of(name);
  return !values.empty()      ? "(" + values + ")"
         : is_file(name)      ? "_files"
         : is_directory(name) ? "_files -/"
         : name == "SERVICE"  ? "_limpet_services"
         : name == "INSTANCE" ? "_limpet_instances"
         : name == "COMMAND"  ? "_normal"
                              : " ";
}

std::string zsh_options(const Verb& verb, const std::string& indent) {
  std::string out;
  for (const Word& option : verb.options) {
    out += fmt::format("{}'{}{}[{}]{}' \\\n", indent, option.name == "--metadata" ? "*" : "", option.name,
                       zsh_text(option.description),
                       option.takes_value ? ":value:" + zsh_action(option.name) : std::string{});
  }
  return out;
}

constexpr const char* kZshHead = R"SH(#compdef limpet
# zsh completion of limpet; made at build time from its command line.
_limpet_names() {
  local -a names
  names=(${(f)"$(limpet ${opt_args[--socket]:+--socket ${opt_args[--socket]}} --answer-timeout 2s names $1 2>/dev/null)"})
  compadd -a names
}
_limpet_services() { _limpet_names }
# The service is the word before.
_limpet_instances() { _limpet_names ${words[CURRENT-1]} }

_limpet() {
  local curcontext="$curcontext" state line
  local -a verbs
  typeset -A opt_args
  verbs=(
)SH";

std::string zsh(const CommandLine& line) {
  std::string out = kZshHead;
  for (const Verb& verb : line.verbs) {
    out += fmt::format("    '{}:{}'\n", verb.name, zsh_text(verb.description));
  }
  out += "  )\n  _arguments -C \\\n" + zsh_options(line.global, "    ") +
         "    '1:command:->verb' \\\n    '*::argument:->rest'\n  case $state in\n    verb) _describe command verbs ;;\n"
         "    rest)\n      case $line[1] in\n";
  for (const Verb& verb : line.verbs) {
    out += fmt::format("        {})\n          _arguments \\\n{}", verb.name, zsh_options(verb, "            "));
    int place = 0;
    for (const Word& positional : verb.positionals) {
      const bool rest = positional.name == "COMMAND";
      out += fmt::format("            '{}:{}:{}' \\\n", rest ? "*:" : std::to_string(++place), positional.name,
                         zsh_action(positional.name));
    }
    out += "            && return 0 ;;\n";
  }
  return out + "      esac ;;\n  esac\n}\n\n_limpet \"$@\"\n";
}

// ---- fish

std::string fish_text(const std::string& text) {
  std::string out;
  for (const char c : text) {
    out += c == '\'' || c == '\\' ? std::string("\\") + c : std::string(1, c);
  }
  return out;
}

std::string fish_options(const Verb& verb, const std::string& condition) {
  std::string out;
  for (const Word& option : verb.options) {
    const std::string values = values_of(option.name);
    out += fmt::format("complete -c limpet{} -l {}{} -d '{}'\n", condition, option.name.substr(2),
                       !option.takes_value         ? std::string{}
                       : !values.empty()           ? " -x -a '" + values + "'"
                       : is_file(option.name)      ? std::string(" -r -F")
                       : is_directory(option.name) ? std::string(" -x -a '(__fish_complete_directories)'")
                                                   : std::string(" -x"),
                       fish_text(option.description));
  }
  return out;
}

std::string fish(const CommandLine& line) {
  std::string out = R"SH(# fish completion of limpet; made at build time from its command line.
# The words behind the verb that are no options.
function __limpet_arguments
    set -l words (commandline -opc)
    set -e words[1]
    string match -v -- '-*' $words | tail -n +2
end
function __limpet_place
    test (count (__limpet_arguments)) -eq $argv[1]
end
function __limpet_services
    limpet --answer-timeout 2s names 2>/dev/null
end
function __limpet_instances
    set -l arguments (__limpet_arguments)
    limpet --answer-timeout 2s names $arguments[-1] 2>/dev/null
end
complete -c limpet -f
)SH";
  out += fish_options(line.global, "");
  for (const Verb& verb : line.verbs) {
    out += fmt::format("complete -c limpet -n __fish_use_subcommand -a {} -d '{}'\n", verb.name,
                       fish_text(verb.description));
  }
  for (const Verb& verb : line.verbs) {
    const std::string seen = "__fish_seen_subcommand_from " + verb.name;
    out += fish_options(verb, " -n '" + seen + "'");
    int place = 0;
    for (const Word& positional : verb.positionals) {
      const std::string& name = positional.name;
      const std::string values = name == "SERVICE"    ? "(__limpet_services)"
                                 : name == "INSTANCE" ? "(__limpet_instances)"
                                 : name == "DATA_DIR" ? "(__fish_complete_directories)"
                                 : name == "COMMAND"  ? "(__fish_complete_subcommand)"
                                                      : values_of(name);
      out += fmt::format("complete -c limpet -n '{}; and __limpet_place {}' -a '{}'\n", seen, place++, values);
    }
  }
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: make_completions DIRECTORY\n";
    return 2;
  }
  const std::string directory = argv[1];
  const CommandLine line = command_line();
  std::ofstream(directory + "/limpet.bash") << bash(line);
  std::ofstream(directory + "/_limpet") << zsh(line);
  std::ofstream(directory + "/limpet.fish") << fish(line);
  return 0;
}
