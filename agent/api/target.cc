#include "agent/api/target.h"

#include <algorithm>

#include "agent/api/names.h"

namespace limpet::api {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  if (c >= 'a' && c <= 'f') {
    return c - 'a' + 10;
  }
  if (c >= 'A' && c <= 'F') {
    return c - 'A' + 10;
  }
  return -1;
}

Problem bad_request(std::string detail) {
  Problem problem;
  problem.kind = ProblemKind::bad_request;
  problem.detail = std::move(detail);
  return problem;
}

}  // namespace

bool percent_decode(std::string_view text, std::string& out) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (text.size() - i < 3) {
      return false;
    }
    const int high = hex_digit(text[i + 1]);
    const int low = hex_digit(text[i + 2]);
    if (high < 0 || low < 0) {
      return false;
    }
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return true;
}

std::optional<Problem> Target::parse(std::string_view raw) {
  count_ = 0;
  decoded_.clear();
  constexpr std::string_view kScheme = "http://";
  if (raw.starts_with(kScheme)) {
    raw.remove_prefix(std::min(raw.find('/', kScheme.size()), raw.size()));
    raw = raw.empty() ? "/" : raw;
  }
  if (!raw.starts_with('/')) {
    return bad_request("The request target must be a path that starts with a slash.");
  }
  if (raw.find('#') != std::string_view::npos) {
    return bad_request("The request target must not have a fragment (#…).");
  }
  const std::size_t question = raw.find('?');
  path_ = raw.substr(0, question);
  query_ = question == std::string_view::npos ? std::string_view() : raw.substr(question + 1);
  decoded_.reserve(path_.size());  // so that views into it stay valid
  std::string_view rest = path_.substr(1);
  while (count_ < kMaxSegments) {
    const std::size_t slash = rest.find('/');
    std::string_view segment = rest.substr(0, slash);
    if (segment.find('%') != std::string_view::npos) {
      const std::size_t begin = decoded_.size();
      if (!percent_decode(segment, decoded_)) {
        return bad_request("The path has a percent sign that two hexadecimal digits do not follow; write %25 for it.");
      }
      segment = std::string_view(decoded_).substr(begin);
    }
    segments_[count_++] = segment;
    if (slash == std::string_view::npos) {
      break;
    }
    rest.remove_prefix(slash + 1);
  }
  return std::nullopt;
}

Parsed<Query> Query::parse(std::string_view query, std::initializer_list<std::string_view> allowed) {
  Query result;
  while (!query.empty()) {
    const std::size_t end = query.find('&');
    const std::string_view item = query.substr(0, end);
    query = end == std::string_view::npos ? std::string_view() : query.substr(end + 1);
    if (item.empty()) {
      continue;
    }
    const std::size_t equals = item.find('=');
    std::string name;
    std::string value;
    if (!percent_decode(item.substr(0, equals), name) ||
        (equals != std::string_view::npos && !percent_decode(item.substr(equals + 1), value))) {
      return bad_request("The query has a percent sign that two hexadecimal digits do not follow; write %25 for it.");
    }
    if (std::find(allowed.begin(), allowed.end(), name) == allowed.end()) {
      std::string detail = "There is no query parameter \"" + name + "\" here";
      if (const auto nearest = nearest_word(name.substr(0, 32), allowed); !nearest.empty()) {
        detail += "; did you mean \"" + std::string(nearest) + "\"?";
      } else {
        detail += ".";
      }
      return bad_request(std::move(detail));
    }
    if (result.find(name) != nullptr) {
      return bad_request("The query parameter \"" + name + "\" is given twice.");
    }
    result.parameters_.emplace_back(std::move(name), std::move(value));
  }
  return result;
}

const std::string* Query::find(std::string_view name) const {
  for (const auto& [key, value] : parameters_) {
    if (key == name) {
      return &value;
    }
  }
  return nullptr;
}

}  // namespace limpet::api
