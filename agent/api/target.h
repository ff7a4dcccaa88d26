// The request target, taken apart: path segments and query parameters, percent-decoded.
//
// A plus sign stands for itself, in the query too: names may hold one and no value holds a space. Any thread.
#pragma once

#include <array>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agent/api/problem.h"

namespace limpet::api {

class Target {
 public:
  static constexpr std::size_t kMaxSegments = 8;  // more than any resource has

  // Takes apart an origin-form ("/v1/status?x=y") or absolute-form ("http://localhost/v1/status") target. `raw` must
  // outlive this. Where it is malformed or has a bad percent escape, returns what is wrong.
  std::optional<Problem> parse(std::string_view raw);

  // Decoded; a segment may hold a slash that was written %2F. Valid until the next parse.
  std::span<const std::string_view> segments() const { return {segments_.data(), count_}; }
  // Not decoded; without the question mark.
  std::string_view query() const { return query_; }
  // As it was sent, without the query.
  std::string_view path() const { return path_; }

 private:
  std::array<std::string_view, kMaxSegments> segments_;
  std::size_t count_ = 0;
  std::string_view path_;
  std::string_view query_;
  std::string decoded_;  // the segments that had escapes
};

// Query parameters; each at most once.
class Query {
 public:
  // Refuses (bad_request) whatever is not in `allowed`, occurs twice, or is badly escaped.
  static Parsed<Query> parse(std::string_view query, std::initializer_list<std::string_view> allowed);

  const std::string* find(std::string_view name) const;

 private:
  std::vector<std::pair<std::string, std::string>> parameters_;
};

// Appends `text` with %XX decoded; false where an escape is not two hexadecimal digits.
bool percent_decode(std::string_view text, std::string& out);

}  // namespace limpet::api
