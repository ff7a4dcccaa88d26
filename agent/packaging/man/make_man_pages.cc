// Makes the man pages limpet(1), limpetd(8) and limpet.json(5) at build time, from what the programs themselves say:
// the command line that --help prints, the table of configuration keys, and the commented default configuration.
//   make_man_pages DIRECTORY limpet.json
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <iostream>

#include "agent/cli/app.h"
#include "agent/config.h"

namespace {

using limpet::cli::Globals;
using limpet::cli::Run;

// Text as roff takes it: nothing in it is a request or an escape.
std::string plain(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else if (c == '"') {
      out += "\\(dq";
    } else if (c == '\'' || c == '`' || c == '^' || c == '~') {
      out += c == '\'' ? "\\(aq" : c == '`' ? "\\(ga" : c == '^' ? "\\(ha" : "\\(ti";
    } else {
      out += c;
    }
  }
  return !out.empty() && out[0] == '.' ? "\\&" + out : out;
}

std::string bold(const std::string& text) {
  return "\\fB" + plain(text) + "\\fR";
}
std::string italic(const std::string& text) {
  return "\\fI" + plain(text) + "\\fR";
}

// Prose, in which lines that are indented stand as they are.
std::string prose(const std::string& text) {
  std::string out;
  bool literal = false;
  std::size_t from = 0;
  while (from < text.size()) {
    const std::size_t end = std::min(text.find('\n', from), text.size());
    const std::string line = text.substr(from, end - from);
    from = end + 1;
    const bool indented = line.starts_with("  ");
    if (indented != literal && !line.empty()) {
      out += indented ? ".PP\n.nf\n.RS 4\n" : ".RE\n.fi\n.PP\n";
      literal = indented;
    }
    out += line.empty() ? (literal ? "" : ".PP\n") : plain(indented ? line.substr(2) : line) + "\n";
  }
  return out + (literal ? ".RE\n.fi\n" : "");
}

// "--socket PATH", "-h, --help".
std::string shown_option(const CLI::Option& option) {
  std::string names;
  for (const std::string& name : option.get_snames()) {
    names += (names.empty() ? "" : ", ") + bold("-" + name);
  }
  for (const std::string& name : option.get_lnames()) {
    names += (names.empty() ? "" : ", ") + bold("--" + name);
  }
  const std::string& value = option.get_option_text();
  return value.empty() ? names : names + " " + italic(value);
}

std::string options_of(const CLI::App& app) {
  std::string out;
  for (const CLI::Option* option : app.get_options()) {
    if (option->nonpositional() && option->get_name() != "--help") {
      out += ".TP\n" + shown_option(*option) + "\n" + plain(option->get_description()) + "\n";
    }
  }
  return out;
}

std::string page_head(const std::string& name, int section, const std::string& manual, const std::string& purpose) {
  std::string upper = name;
  std::transform(upper.begin(), upper.end(), upper.begin(), [](unsigned char c) { return std::toupper(c); });
  return fmt::format(".TH {} {} \"\" \"limpet " LIMPET_VERSION "\" \"{}\"\n.SH NAME\n{} \\- {}\n", upper, section,
                     manual, name, plain(purpose));
}

std::string command_section(const CLI::App& verb) {
  std::string usage = bold("limpet " + verb.get_name());
  for (const CLI::Option* option : verb.get_options()) {
    if (option->get_positional()) {
      const std::string name = italic(option->get_name(true));
      usage += option->get_required() ? " " + name : " [" + name + "]";
    }
  }
  const std::string options = options_of(verb);
  return fmt::format(".SS {}\n{}{}\n.PP\n{}.\n.PP\n{}{}", plain(verb.get_name()), usage,
                     options.empty() ? "" : " [" + italic("OPTIONS") + "]", plain(verb.get_description()), options,
                     ".PP\n" + prose(verb.get_footer()));
}

std::string limpet_page() {
  CLI::App app;
  Globals globals;
  Run run;
  limpet::cli::build_app(app, globals, run);
  std::string out = page_head("limpet", 1, "User Commands", "register this host's services, and see how they are");
  out += ".SH SYNOPSIS\n" + bold("limpet") + " [" + bold("--socket") + " " + italic("PATH") + "] [" + bold("--json") +
         "] " + italic("COMMAND") + " ...\n";
  out += ".SH DESCRIPTION\n" + prose(app.get_description()) + ".PP\n" + prose(app.get_footer());
  out += ".SH OPTIONS\n" + options_of(app) + ".SH COMMANDS\n";
  for (const CLI::App* verb : app.get_subcommands([](CLI::App* one) { return !one->get_group().empty(); })) {
    out += command_section(*verb);
  }
  out += ".SH ENVIRONMENT\n.TP\n" + bold("LIMPET_SOCKET") +
         "\nlimpetd\\(aqs socket; \\fB\\-\\-socket\\fR wins over it\n.TP\n" + bold("NO_COLOR") +
         "\nwhere it is set, there are no colours on a terminal either\n";
  out += ".SH FILES\n.TP\n" + italic(limpet::cli::kDefaultSocket) + "\nlimpetd\\(aqs socket\n";
  return out + ".SH SEE ALSO\n.BR limpetd (8),\n.BR limpet.json (5)\n";
}

std::string flag_of(std::string key) {
  std::replace(key.begin(), key.end(), '_', '-');
  return "--" + key;
}

std::string limpetd_page() {
  std::string out =
      page_head("limpetd", 8, "System Administration", "keep this host's service registrations in ZooKeeper");
  out += ".SH SYNOPSIS\n" + bold("limpetd") + " [" + italic("OPTIONS") + "]\n";
  out += ".SH DESCRIPTION\n" +
         prose(
             "limpetd runs once on every host. Local programs register with it over a unix socket. It keeps each "
             "registration on disk, holds it in ZooKeeper as an ephemeral znode of its own session, and when ZooKeeper "
             "loses its leader or its quorum it goes on accepting, and replays what it accepted, in order, once the "
             "quorum is back.\n\nEvery option but the first ones is also a key of the configuration file, see "
             "limpet.json(5), and a variable of the environment: --data-dir is \"data_dir\" and LIMPET_DATA_DIR. The "
             "option wins over the environment, the environment over the file.\n");
  out += ".SH OPTIONS\n.TP\n" + bold("--config") + " " + italic("FILE") + "\nthe configuration file [" +
         plain(limpet::kDefaultConfigFile) + "]\n.TP\n" + bold("--check-config") +
         "\ncheck the configuration and end\n.TP\n" + bold("-h") + ", " + bold("--help") +
         "\nprint the options\n.TP\n" + bold("--version") + "\nprint the version\n";
  for (const limpet::ConfigKey& key : limpet::config_keys()) {
    out += ".TP\n" + bold(flag_of(key.name)) + " " + italic(key.argument) + "\n" + plain(key.help) + "\n";
  }
  out +=
      ".SH SIGNALS\n.TP\nSIGHUP\nread the configuration again\n.TP\nSIGTERM, SIGINT\nstop; the session is kept, and "
      "with it what is registered, for its time\\-out\n";
  out +=
      ".SH EXIT STATUS\n.TP\n0\nnormal stop\n.TP\n1\nanything else than what follows\n.TP\n2\nbad usage or "
      "configuration\n.TP\n3\nthe state directory is in use\n.TP\n4\nthe state is damaged\n";
  out += ".SH FILES\n.TP\n" + italic(limpet::kDefaultConfigFile) + "\nthe configuration\n.TP\n" +
         italic(limpet::Config().data_dir) + "\nthe state\n.TP\n" + italic(limpet::Config().socket) + "\nthe API\n";
  return out + ".SH SEE ALSO\n.BR limpet (1),\n.BR limpet.json (5)\n";
}

std::string trimmed(const std::string& line) {
  const std::size_t from = line.find_first_not_of(' ');
  return from == std::string::npos ? std::string{} : line.substr(from);
}

// The comments of the default configuration, each with the key and the default below it.
std::string configuration_page(std::istream& file) {
  std::string out = page_head("limpet.json", 5, "File Formats", "configuration of limpetd");
  out += ".SH DESCRIPTION\n";
  std::string comment;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    line = trimmed(line);
    if (line == "{") {
      out += prose(comment);
      comment.clear();
      inside = true;
    } else if (line.starts_with("// ---- ")) {
      std::string title = line.substr(8);
      const std::size_t stop = title.find('.');
      const std::string rest = stop == std::string::npos ? "" : trimmed(title.substr(stop + 1));
      out += ".SH " + plain(title.substr(0, stop)) + "\n" + (rest.empty() ? "" : prose(rest + "\n"));
    } else if (line.starts_with("//")) {
      comment += (line.size() > 3 ? line.substr(3) : "") + "\n";
    } else if (inside && line.starts_with("\"")) {
      const std::size_t quote = line.find('"', 1);
      std::string value = trimmed(line.substr(line.find(':', quote) + 1));
      value = value.ends_with(",") ? value.substr(0, value.size() - 1) : value;
      out += ".TP\n" + bold(line.substr(1, quote - 1)) + " (default: " + plain(value) + ")\n";
      // Several keys may share the comment above the first.
      out += comment.empty() ? "as above\n" : ".RS\n" + prose(comment) + ".RE\n";
      comment.clear();
    }
  }
  return out + ".SH SEE ALSO\n.BR limpetd (8),\n.BR limpet (1)\n";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: make_man_pages DIRECTORY limpet.json\n";
    return 2;
  }
  const std::string directory = argv[1];
  std::ifstream configuration(argv[2]);
  if (!configuration) {
    std::cerr << "make_man_pages: cannot read " << argv[2] << "\n";
    return 1;
  }
  std::ofstream(directory + "/limpet.1") << limpet_page();
  std::ofstream(directory + "/limpetd.8") << limpetd_page();
  std::ofstream(directory + "/limpet.json.5") << configuration_page(configuration);
  return 0;
}
