#include "tests/support/preload.h"

#include <stdlib.h>

#include <cstdlib>
#include <filesystem>

namespace limpet::test {

namespace {

namespace fs = std::filesystem;

// A directory of links that goes with the test program.
struct Links {
  Links() {
    char name[] = "/tmp/limpet-preload-XXXXXX";
    if (::mkdtemp(name) == nullptr) {
      std::abort();
    }
    directory = name;
  }
  ~Links() {
    std::error_code ignored;
    fs::remove_all(directory, ignored);
  }
  Links(const Links&) = delete;
  Links& operator=(const Links&) = delete;

  fs::path directory;
};

}  // namespace

std::string preload(const std::string& library) {
  static const Links links;
  const fs::path link = links.directory / fs::path(library).filename();
  std::error_code exists;
  fs::create_symlink(library, link, exists);
  return "LD_PRELOAD=" + link.string();
}

}  // namespace limpet::test
