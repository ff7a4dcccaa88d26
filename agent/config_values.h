// The values of the configuration as people write them: sizes, lists, znode paths. Durations are written as in the API.
//
// Pure functions; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace limpet {

// "4096", "64KiB", "1MiB", "2GiB", or in thousands "64kB", "1MB", "2GB"; in bytes.
std::optional<std::uint64_t> parse_size(std::string_view text);
std::string size_text(std::uint64_t bytes);

// Digits only.
std::optional<std::uint64_t> parse_count(std::string_view text);

// The parts between the commas; of nothing, none.
std::vector<std::string> split_list(std::string_view text);

// An absolute znode path without an empty, "." or ".." segment and without a slash at its end, not ZooKeeper's own, and
// of 1,024 bytes and 16 segments at most.
bool is_znode_path(std::string_view path);

// Of `known`, the one that is written most alike; empty where none is alike.
std::string nearest_name(std::string_view name, const std::vector<std::string>& known);

}  // namespace limpet
