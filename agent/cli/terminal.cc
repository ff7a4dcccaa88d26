#include "agent/cli/terminal.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>

#include "agent/core/harmless_text.h"
#include "agent/core/unicode.h"

namespace limpet::cli {

namespace {

constexpr std::string_view kPlain = "\x1b[0m";

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view{} : std::string_view{value};
}

const char* escape_of(Colour colour) {
  switch (colour) {
    case Colour::none:
      return "";
    case Colour::bold:
      return "\x1b[1m";
    case Colour::red:
      return "\x1b[31m";
    case Colour::green:
      return "\x1b[32m";
    case Colour::yellow:
      return "\x1b[33m";
    case Colour::dim:
      return "\x1b[2m";
  }
  return "";
}

// What `text` begins with that is to get to a terminal as it is: a line end, or a colour of Terminal::paint().
std::size_t own_control(std::string_view text) {
  if (text.starts_with('\n')) {
    return 1;
  }
  for (const Colour colour : {Colour::bold, Colour::red, Colour::green, Colour::yellow, Colour::dim}) {
    if (const std::string_view escape = escape_of(colour); text.starts_with(escape)) {
      return escape.size();
    }
  }
  return text.starts_with(kPlain) ? kPlain.size() : 0;
}

std::string shown(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t own = own_control(text);
    const std::size_t end = own > 0 ? own : std::min(text.find_first_of("\n\x1b", 1), text.size());
    out += own > 0 ? std::string(text.substr(0, own)) : harmless(text.substr(0, end));
    text.remove_prefix(end);
  }
  return out;
}

// 0, or the errno of the write that failed.
int write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(fd, text.data(), text.size());
    if (written < 0) {
      if (errno == EINTR) {
        continue;
      }
      return errno;
    }
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return 0;
}

}  // namespace

Terminal Terminal::of(int fd) {
  constexpr std::size_t kMinWidth = 40;
  Terminal terminal;
  terminal.tty = ::isatty(fd) == 1;
  if (!terminal.tty) {
    return terminal;
  }
  terminal.colour = environment("NO_COLOR").empty() && environment("TERM") != "dumb";
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    terminal.width = std::max<std::size_t>(size.ws_col, kMinWidth);
  }
  return terminal;
}

std::string Terminal::paint(Colour paint_colour, std::string_view text) const {
  if (!colour || paint_colour == Colour::none) {
    return std::string(text);
  }
  return fmt::format("{}{}{}", escape_of(paint_colour), text, kPlain);
}

Colour colour_of_state(std::string_view state) {
  constexpr std::array kGood = {"registered", "healthy", "repaired", "session_connected", "storage_recovered"};
  constexpr std::array kBad = {"conflict",      "blocked", "unhealthy",   "session_expired", "storage_failed",
                               "process_ended", "expired", "ttl_expired", "auth_failed",     "connection_closed"};
  if (std::find(kGood.begin(), kGood.end(), state) != kGood.end()) {
    return Colour::green;
  }
  if (std::find(kBad.begin(), kBad.end(), state) != kBad.end()) {
    return Colour::red;
  }
  return state == "maintenance" ? Colour::dim : Colour::yellow;
}

void Console::out(std::string_view text) {
  out_ += shown(text);
}

void Console::json(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = std::max<std::size_t>(utf8_sequence(text.data(), text.data() + text.size()), 1);
    const std::string_view character = text.substr(0, length);
    // Those of ASCII but DEL stand between values, or are escaped already.
    if (character == "\x7F" || (length == 2 && is_control(character))) {
      out_ += fmt::format("\\u{:04x}", static_cast<unsigned char>(character.back()));
    } else {
      out_ += character;
    }
    text.remove_prefix(length);
  }
}

void Console::error(std::string_view message) {
  note(fmt::format("limpet: {}\n", message));
}

void Console::note(std::string_view message) {
  // Where standard error is gone as well, there is nobody left to tell; the exit status still does.
  (void)write_all(STDERR_FILENO, shown(message));
}

bool Console::flush() {
  const int error_number = write_all(STDOUT_FILENO, out_);
  out_.clear();
  reader_gone_ = reader_gone_ || error_number == EPIPE;
  return error_number == 0 || error_number == EPIPE;
}

}  // namespace limpet::cli
