// The values of the configuration as people write them: durations, sizes, lists, znode paths.
//
// Pure functions; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace limpet {

// "250ms", "10s", "5m", "24h", in milliseconds; nullopt where it is none, or more than a billion of its unit.
std::optional<std::int64_t> parse_duration_ms(std::string_view text);
// The shortest form that parse_duration_ms takes: 604800000 is "168h".
std::string duration_text(std::int64_t ms);

// "4096", "64KiB", "1MiB", "2GiB", or in thousands "64kB", "1MB", "2GB"; in bytes.
std::optional<std::uint64_t> parse_size(std::string_view text);
std::string size_text(std::uint64_t bytes);

// Digits only.
std::optional<std::uint64_t> parse_count(std::string_view text);

// The parts between the commas, without empty ones.
std::vector<std::string> split_list(std::string_view text);

// An absolute znode path without an empty, "." or ".." segment and without a slash at its end, and not ZooKeeper's own.
bool is_znode_path(std::string_view path);

// Of `known`, the one that is written most alike; empty where none is alike.
std::string nearest_name(std::string_view name, const std::vector<std::string>& known);

}  // namespace limpet
