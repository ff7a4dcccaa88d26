// Where the output goes: what it can show (Terminal), and the way there (Console). One of each, made in main.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace limpet::cli {

enum class Colour { none, bold, red, green, yellow, dim };

// What standard output can show.
struct Terminal {
  bool tty = false;        // a person looks: long cells may be cut
  bool colour = false;     // a tty, unless NO_COLOR is set or TERM is "dumb"
  std::size_t width = 80;  // columns, at least 40

  // Asks `fd` and the environment.
  static Terminal of(int fd);

  // `text` in `colour`, or as it is where there are no colours.
  std::string paint(Colour colour, std::string_view text) const;
};

// The colour of a registration's state, or of what an event of the history says.
Colour colour_of_state(std::string_view state);

// Standard output, gathered and written at the end, and standard error, written at once.
//
// Nothing that comes from others gets to a terminal as it is: of all that is given to out(), error() and note(), only
// line ends and the colours of Terminal::paint() stay what they are; json() writes control characters as JSON does.
class Console {
 public:
  void out(std::string_view text);
  // One JSON text, or a part of one.
  void json(std::string_view text);
  // One message: "limpet: …" and a line end are added.
  void error(std::string_view message);
  // A remark that is neither the answer nor an error, to standard error as it is.
  void note(std::string_view message);

  // Writes what out() gathered. False where it cannot be written; a reader that has gone away (`limpet list | head -1`)
  // had what it wanted, so that is no failure. Blocks.
  [[nodiscard]] bool flush();
  // Whether flush() found that nobody reads any more.
  bool reader_gone() const { return reader_gone_; }

 private:
  std::string out_;
  bool reader_gone_ = false;
};

}  // namespace limpet::cli
