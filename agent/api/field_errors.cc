#include "agent/api/field_errors.h"

#include <cassert>

namespace limpet::api {
namespace {

std::string_view kind_name(JsonKind kind) {
  switch (kind) {
    case JsonKind::null:
      return "null";
    case JsonKind::boolean:
      return "a boolean";
    case JsonKind::integer:
    case JsonKind::real:
      return "a number";
    case JsonKind::string:
      return "a string";
    case JsonKind::array:
      return "an array";
    case JsonKind::object:
      return "an object";
  }
  assert(false);
  return "";
}

}  // namespace

std::string child_pointer(std::string_view parent, std::string_view key) {
  std::string pointer(parent);
  pointer += '/';
  for (const char c : key.substr(0, kMaxWordBytes)) {
    if (c == '~') {
      pointer += "~0";
    } else if (c == '/') {
      pointer += "~1";
    } else {
      pointer += c;
    }
  }
  return pointer;
}

void FieldErrors::add(std::string pointer, std::string detail) {
  if (!full()) {
    errors_.push_back({std::move(pointer), std::move(detail)});
  }
}

void FieldErrors::wrong_type(std::string pointer, std::string_view expected, JsonKind found) {
  add(std::move(pointer), "must be " + std::string(expected) + ", not " + std::string(kind_name(found)));
}

void FieldErrors::add_unknown(std::string_view parent, std::string_view key, std::string_view nearest) {
  std::string detail = "is not a field of this object";
  if (!nearest.empty()) {
    detail += "; did you mean " + std::string(nearest) + "?";
  }
  add(child_pointer(parent, key), std::move(detail));
}

Problem FieldErrors::problem() && {
  assert(!errors_.empty());
  Problem problem;
  problem.kind = ProblemKind::invalid;
  const FieldError& first = errors_.front();
  problem.detail = (first.pointer.empty() ? "The body" : first.pointer) + " " + first.detail;
  problem.detail += problem.detail.ends_with('?') ? "" : ".";
  if (errors_.size() > 1) {
    problem.detail += " And " + std::to_string(errors_.size() - 1) + " more: see errors.";
  }
  problem.errors = std::move(errors_);
  return problem;
}

}  // namespace limpet::api
