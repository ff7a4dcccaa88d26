// What a reload of the configuration came to. Plain values; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace limpet::api {

// What a run may deregister because it has gone from the files.
enum class Removals {
  guarded,  // not more than half of what came from files at once
  forced,   // all of it
};

// A file of registrations that was refused, or a part of one; or the directory itself.
struct FileProblem {
  std::string file;
  std::string error;
  friend bool operator==(const FileProblem&, const FileProblem&) = default;
};

// What the directory of registrations by file came to.
struct FilesReport {
  std::uint64_t added = 0;
  std::uint64_t changed = 0;
  std::uint64_t removed = 0;
  std::uint64_t held = 0;  // has gone from the files, and stays registered until Removals::forced
  std::vector<FileProblem> errors;
};

// How the registrations by file are, as the newest look at them found.
struct FilesStatus {
  std::string directory;            // empty: none is configured
  std::uint64_t registrations = 0;  // that came from files
  std::uint64_t held = 0;
  std::vector<FileProblem> errors;
};

struct ReloadReport {
  std::vector<std::string> applied;        // keys whose new value holds now
  std::vector<std::string> needs_restart;  // keys whose new value waits for a restart
  FilesReport registrations_d;
};

}  // namespace limpet::api
