// What the system knows of this process and of the disk it writes to. Reads /proc; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace limpet {

struct ProcessFigures {
  double started_s = 0;  // since 1970
  double cpu_s = 0;      // user and system
  std::uint64_t resident_bytes = 0;
  std::uint64_t virtual_bytes = 0;
  std::uint64_t open_descriptors = 0;
  std::uint64_t max_descriptors = 0;
};
// What cannot be read is 0.
ProcessFigures process_figures();

// Bytes that this process may still write below `directory`; nothing where the system does not say. Asks the file
// system, which may block.
std::optional<std::uint64_t> free_bytes(const std::string& directory);

}  // namespace limpet
