#include "agent/cli/times.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>

namespace limpet::cli {

namespace {

constexpr std::int64_t kSecond = 1000;
constexpr std::int64_t kMinute = 60 * kSecond;
constexpr std::int64_t kHour = 60 * kMinute;
constexpr std::int64_t kDay = 24 * kHour;

// The number that is all of `text`: digits only.
std::optional<std::int64_t> parse_digits(std::string_view text) {
  std::int64_t value = 0;
  const bool digits = std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (text.empty() || !digits || std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc{}) {
    return std::nullopt;
  }
  return value;
}

}  // namespace

std::optional<std::int64_t> parse_time_ms(std::string_view text) {
  constexpr std::string_view kShape = "0000-00-00T00:00:00";
  if (text.size() < kShape.size() + 1 || text.back() != 'Z') {
    return std::nullopt;
  }
  for (std::size_t i = 0; i < kShape.size(); ++i) {
    const bool digit = text[i] >= '0' && text[i] <= '9';
    if (kShape[i] == '0' ? !digit : text[i] != kShape[i]) {
      return std::nullopt;
    }
  }
  std::int64_t fraction_ms = 0;
  const std::string_view fraction = text.substr(kShape.size(), text.size() - kShape.size() - 1);
  if (!fraction.empty()) {
    if (fraction[0] != '.' || !parse_digits(fraction.substr(1, 3))) {
      return std::nullopt;
    }
    std::string digits(fraction.substr(1, 3));
    digits.resize(3, '0');
    fraction_ms = parse_digits(digits).value_or(0);
  }
  const auto part = [&](std::size_t at, std::size_t count) { return parse_digits(text.substr(at, count)).value_or(0); };
  const std::chrono::year_month_day date{std::chrono::year(static_cast<int>(part(0, 4))),
                                         std::chrono::month(static_cast<unsigned>(part(5, 2))),
                                         std::chrono::day(static_cast<unsigned>(part(8, 2)))};
  if (!date.ok()) {
    return std::nullopt;
  }
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  return days * kDay + part(11, 2) * kHour + part(14, 2) * kMinute + part(17, 2) * kSecond + fraction_ms;
}

std::string format_duration(std::int64_t duration_ms) {
  const std::int64_t ms = std::max<std::int64_t>(duration_ms, 0);
  if (ms < kSecond) {
    return fmt::format("{}ms", ms);
  }
  if (ms < kMinute) {
    return fmt::format("{}s", ms / kSecond);
  }
  if (ms < kHour) {
    return fmt::format("{}m{:02}s", ms / kMinute, ms % kMinute / kSecond);
  }
  if (ms < kDay) {
    return fmt::format("{}h{:02}m", ms / kHour, ms % kHour / kMinute);
  }
  return fmt::format("{}d{}h", ms / kDay, ms % kDay / kHour);
}

std::string format_age(std::int64_t age_ms) {
  if (age_ms < kSecond) {
    return "just now";
  }
  if (age_ms < kMinute) {
    return fmt::format("{}s ago", age_ms / kSecond);
  }
  if (age_ms < kHour) {
    return fmt::format("{}m ago", age_ms / kMinute);
  }
  if (age_ms < kDay) {
    return fmt::format("{}h ago", age_ms / kHour);
  }
  return fmt::format("{}d ago", age_ms / kDay);
}

}  // namespace limpet::cli
