// Runs the real `limpet` program and collects what it wrote and how it ended.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace limpet::test {

struct Setting {
  std::vector<std::string> environment;     // "NAME=value", all of it
  std::string standard_input;               // what can be read there
  std::optional<unsigned short> tty_width;  // standard output is a terminal so wide
  std::string output_file;                  // standard output goes to this file
  bool output_reader_gone = false;          // standard output is a pipe that nobody reads any more
  bool as_nobody = false;                   // needs root
};

struct Outcome {
  int exit = -1;    // or -1 where a signal ended it
  std::string out;  // a terminal's line ends are made plain again
  std::string err;
};

// Blocks until it has ended.
Outcome run_limpet(const std::vector<std::string>& arguments, const Setting& setting = {});

// "…Z", so many seconds ago: as the API writes a time.
std::string seconds_ago(long seconds);

}  // namespace limpet::test
