// Times as the API writes them, and durations as people read them. Pure; any thread. Milliseconds throughout.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace limpet::cli {

// RFC 3339 in UTC ("2024-01-31T23:59:59.123Z") to milliseconds since 1970; anything else is nothing.
std::optional<std::int64_t> parse_time_ms(std::string_view text);

// "250ms", "12s", "4m12s", "3h07m", "2d4h": the two largest units that say something. Negative counts as 0.
std::string format_duration(std::int64_t duration_ms);

// "just now", "12s ago", "3m ago", "5h ago", "2d ago". A clock that was set back gives "just now".
std::string format_age(std::int64_t age_ms);

}  // namespace limpet::cli
