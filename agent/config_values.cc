#include "agent/config_values.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <utility>

namespace limpet {

namespace {

template <typename Number>
struct Unit {
  std::string_view name;
  Number factor;
};

// The larger first, so that the shortest form is found first.
constexpr std::array<Unit<std::int64_t>, 4> kDurations = {{{"h", 3'600'000}, {"m", 60'000}, {"s", 1'000}, {"ms", 1}}};
constexpr std::array<Unit<std::uint64_t>, 3> kBinarySizes = {{{"GiB", 1ULL << 30}, {"MiB", 1ULL << 20}, {"KiB", 1024}}};
constexpr std::array<Unit<std::uint64_t>, 6> kOtherSizes = {
    {{"GB", 1'000'000'000}, {"MB", 1'000'000}, {"kB", 1'000}, {"KB", 1'000}, {"B", 1}, {"", 1}}};

// The number at the start of `text`; what follows it stays in `text`.
std::optional<std::uint64_t> take_number(std::string_view& text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) {
    return std::nullopt;
  }
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return number;
}

template <typename Number, std::size_t n>
std::optional<Number> factor_of(const std::array<Unit<Number>, n>& units, std::string_view name) {
  const auto unit = std::find_if(units.begin(), units.end(), [name](const auto& u) { return u.name == name; });
  return unit == units.end() ? std::nullopt : std::optional(unit->factor);
}

std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) {
    row[j] = j;
  }
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t next = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = std::exchange(row[j], next);
    }
  }
  return row[b.size()];
}

}  // namespace

std::optional<std::int64_t> parse_duration_ms(std::string_view text) {
  constexpr std::uint64_t kMost = 1'000'000'000;
  const auto number = take_number(text);
  const auto factor = factor_of(kDurations, text);
  if (!number || *number > kMost || !factor) {
    return std::nullopt;
  }
  return static_cast<std::int64_t>(*number) * *factor;
}

std::string duration_text(std::int64_t ms) {
  if (ms == 0) {
    return "0s";
  }
  const auto unit =
      std::find_if(kDurations.begin(), kDurations.end(), [ms](const auto& u) { return ms % u.factor == 0; });
  return std::to_string(ms / unit->factor) + std::string(unit->name);
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  const auto number = take_number(text);
  auto factor = factor_of(kBinarySizes, text);
  if (!factor) {
    factor = factor_of(kOtherSizes, text);
  }
  if (!number || !factor || *number > std::numeric_limits<std::uint64_t>::max() / *factor) {
    return std::nullopt;
  }
  return *number * *factor;
}

std::string size_text(std::uint64_t bytes) {
  for (const auto& unit : kBinarySizes) {
    if (bytes != 0 && bytes % unit.factor == 0) {
      return std::to_string(bytes / unit.factor) + std::string(unit.name);
    }
  }
  return std::to_string(bytes);
}

std::optional<std::uint64_t> parse_count(std::string_view text) {
  const auto number = take_number(text);
  return text.empty() ? number : std::nullopt;
}

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> parts;
  for (std::size_t from = 0; from <= text.size();) {
    const std::size_t end = std::min(text.find(',', from), text.size());
    if (end > from) {
      parts.emplace_back(text.substr(from, end - from));
    }
    from = end + 1;
  }
  return parts;
}

bool is_znode_path(std::string_view path) {
  if (path == "/") {
    return true;
  }
  if (path.empty() || path.front() != '/' || path.back() == '/' || path.find("//") != std::string_view::npos) {
    return false;
  }
  const std::string framed = std::string(path) + "/";
  return framed.find("/./") == std::string::npos && framed.find("/../") == std::string::npos &&
         framed.rfind("/zookeeper/", 0) != 0 &&
         std::all_of(path.begin(), path.end(), [](unsigned char c) { return c > 0x20 && c < 0x7f; });
}

std::string nearest_name(std::string_view name, const std::vector<std::string>& known) {
  constexpr std::size_t kAlike = 3;
  std::string best;
  std::size_t least = kAlike + 1;
  for (const std::string& candidate : known) {
    if (const std::size_t far = distance(candidate, name); far < least) {
      least = far;
      best = candidate;
    }
  }
  return best;
}

}  // namespace limpet
