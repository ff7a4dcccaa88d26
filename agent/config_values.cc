#include "agent/config_values.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include "agent/api/names.h"

namespace limpet {

namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

// The larger first, so that the shortest form is found first.
constexpr std::array<Unit, 3> kBinarySizes = {{{"GiB", 1ULL << 30}, {"MiB", 1ULL << 20}, {"KiB", 1024}}};
constexpr std::array<Unit, 6> kOtherSizes = {
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

template <std::size_t n>
std::optional<std::uint64_t> factor_of(const std::array<Unit, n>& units, std::string_view name) {
  const auto unit = std::find_if(units.begin(), units.end(), [name](const auto& u) { return u.name == name; });
  return unit == units.end() ? std::nullopt : std::optional(unit->factor);
}

}  // namespace

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
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    parts.emplace_back(text.substr(0, comma));
    if (comma == text.size() - 1) {
      parts.emplace_back();
    }
    text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
  }
  return parts;
}

bool is_znode_path(std::string_view path) {
  constexpr std::size_t kMaxBytes = 1'024;  // what lies below has room in the paths that the API takes
  constexpr std::ptrdiff_t kMaxSegments = 16;
  if (path == "/") {
    return true;
  }
  if (path.size() > kMaxBytes || std::count(path.begin(), path.end(), '/') > kMaxSegments) {
    return false;
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
    if (const std::size_t far = api::edit_distance(candidate, name); far < least) {
      least = far;
      best = candidate;
    }
  }
  return best;
}

}  // namespace limpet
