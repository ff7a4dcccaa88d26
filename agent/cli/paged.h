// Questions whose answers come in pages: list, queue, history.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "agent/cli/command.h"

namespace limpet::cli {

// The answer is {"<items>":[…],"next":…}; `next` goes back as the parameter `cursor`.
struct Paged {
  std::string path;
  std::vector<std::pair<std::string, std::string>> filters;  // query parameters, not encoded
  const char* items = "";
  const char* cursor = "after";
  std::int64_t limit = 0;  // items in all; 0: every one

  // Leaves out what is empty.
  void filter(const std::string& key, const std::string& value);
};

// Where the next page starts: an id, or a number; empty after the last.
std::string next_of(const Json& page);

// All pages as one answer, with --json printed: a single page byte for byte. Nothing where that failed and was
// reported: `exit` then says how.
std::optional<Json> fetch_pages(Context& context, const Paged& question, Exit& exit);

}  // namespace limpet::cli
