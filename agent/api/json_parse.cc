// Strict reading of request bodies.
#include <algorithm>
#include <array>
#include <charconv>

#include "agent/api/field_errors.h"
#include "agent/api/json.h"
#include "agent/api/json_document.h"
#include "agent/api/names.h"
#include "agent/api/registration_reader.h"

namespace limpet::api {
namespace {

constexpr std::array<std::string_view, 3> kOperationFields = {"op", "service", "instance"};

constexpr std::array<std::string_view, 3> kPruneFields = {"older_than", "dry_run", "service"};

void read_prune_field(std::string_view key, const JsonValue& value, FieldErrors& errors, core::Prune& prune) {
  if (key == kPruneFields[0]) {
    if (value.kind() != JsonKind::string) {
      return errors.wrong_type("/older_than", "a string", value.kind());
    }
    const auto age = parse_age(value.text());
    if (!age) {
      return errors.add("/older_than", "must be a duration such as \"12h\" or \"7d\" (units: ms s m h d)");
    }
    prune.unused_ms = age->count();
  } else if (key == kPruneFields[1]) {
    if (value.kind() != JsonKind::boolean) {
      return errors.wrong_type("/dry_run", "true or false", value.kind());
    }
    prune.dry_run = value.boolean();
  } else if (key == kPruneFields[2]) {
    if (value.kind() != JsonKind::string) {
      return errors.wrong_type("/service", "a string", value.kind());
    }
    prune.service = value.text();
  } else {
    errors.unknown_field("", key, kPruneFields);
  }
}

Problem bad_json(const std::string& error) {
  Problem problem;
  problem.kind = ProblemKind::bad_json;
  problem.detail = "The body: " + error + ".";
  return problem;
}

Parsed<JsonDocument> read_object(std::string_view body) {
  std::string error;
  auto document = JsonDocument::parse(body.empty() ? "{}" : body, error);
  if (!document) {
    return bad_json(error);
  }
  if (document->root().kind() != JsonKind::object) {
    FieldErrors errors;
    errors.wrong_type("", "an object", document->root().kind());
    return std::move(errors).problem();
  }
  return std::move(*document);
}

// A service or instance of an operation of a batch.
void read_name(const std::optional<JsonValue>& value, std::string_view parent, std::string_view key,
               FieldErrors& errors, std::string& name) {
  if (!value || value->kind() == JsonKind::null) {
    errors.add(child_pointer(parent, key), "is missing");
  } else if (value->kind() != JsonKind::string) {
    errors.wrong_type(child_pointer(parent, key), "a string", value->kind());
  } else if (auto error = name_error(value->text())) {
    errors.add(child_pointer(parent, key), *std::move(error));
  } else {
    name.append(value->text());  // which is less work than an assignment
  }
}

// Appends what is asked for to `requests`.
std::optional<Problem> read_operation(const JsonValue& object, std::string_view pointer, const BodyLimits& limits,
                                      std::vector<core::ChangeRequest>& requests) {
  FieldErrors errors;
  if (object.kind() != JsonKind::object) {
    errors.wrong_type(std::string(pointer), "an object", object.kind());
    return std::move(errors).problem();
  }
  std::optional<JsonValue> op;
  std::optional<JsonValue> service;
  std::optional<JsonValue> instance;
  JsonValue::Cursor others;  // from the first of them on
  for (auto member = object.first(); member; member.next()) {
    if (member.key() == "op") {
      op = member.value();
    } else if (member.key() == "service") {
      service = member.value();
    } else if (member.key() == "instance") {
      instance = member.value();
    } else if (!others) {
      others = member;
    }
  }
  const bool is_register = op && op->kind() == JsonKind::string && op->text() == "register";
  const bool is_deregister = op && op->kind() == JsonKind::string && op->text() == "deregister";
  if (!is_register && !is_deregister) {
    errors.add(child_pointer(pointer, "op"),
               op && op->kind() != JsonKind::null ? "must be \"register\" or \"deregister\"" : "is missing");
  }
  auto& request = std::get<core::RegisterRequest>(requests.emplace_back(std::in_place_type<core::RegisterRequest>));
  read_name(service, pointer, "service", errors, request.id.service);
  read_name(instance, pointer, "instance", errors, request.id.instance);
  RegistrationReader reader(pointer, errors, limits.max_data_bytes, request);
  for (auto member = others; member && !errors.full(); member.next()) {
    if (std::find(kOperationFields.begin(), kOperationFields.end(), member.key()) != kOperationFields.end()) {
      continue;
    }
    if (is_deregister && member.value().kind() != JsonKind::null) {
      errors.add(child_pointer(pointer, member.key()), "is not a field of a deregistration");
    } else if (!reader.field(member.key(), member.value())) {
      errors.unknown_field(pointer, member.key(), kRegistrationFields);
    }
  }
  if (is_deregister && errors.empty()) {
    core::DeregisterRequest deregister{std::move(request.id)};
    requests.back() = std::move(deregister);
    return std::nullopt;
  }
  return reader.finish();
}

}  // namespace

Parsed<core::RegisterRequest> parse_registration(const RegistrationId& id, std::string_view body,
                                                 const BodyLimits& limits) {
  auto document = read_object(body);
  if (auto* problem = std::get_if<Problem>(&document)) {
    return std::move(*problem);
  }
  Parsed<core::RegisterRequest> parsed;
  auto& request = parsed.emplace<core::RegisterRequest>();
  request.id = id;
  FieldErrors errors;
  RegistrationReader reader("", errors, limits.max_data_bytes, request);
  for (auto member = std::get<JsonDocument>(document).root().first(); member && !errors.full(); member.next()) {
    if (!reader.field(member.key(), member.value())) {
      errors.unknown_field("", member.key(), kRegistrationFields);
    }
  }
  if (auto problem = reader.finish()) {
    parsed = *std::move(problem);
  }
  return parsed;
}

Parsed<std::vector<core::ChangeRequest>> parse_batch(std::string_view body, const BodyLimits& limits) {
  auto document = read_object(body);
  if (auto* problem = std::get_if<Problem>(&document)) {
    return std::move(*problem);
  }
  constexpr std::array<std::string_view, 1> kBatchFields = {"operations"};
  FieldErrors errors;
  std::optional<JsonValue> operations;
  for (auto member = std::get<JsonDocument>(document).root().first(); member && !errors.full(); member.next()) {
    if (member.key() == kBatchFields[0]) {
      operations = member.value();
    } else {
      errors.unknown_field("", member.key(), kBatchFields);
    }
  }
  if (!operations) {
    errors.add("/operations", "is missing");
  } else if (operations->kind() != JsonKind::array) {
    errors.wrong_type("/operations", "an array", operations->kind());
  }
  if (!errors.empty()) {
    return std::move(errors).problem();
  }
  std::size_t count = 0;
  for (auto element = operations->first(); element; element.next()) {
    ++count;
  }
  std::vector<core::ChangeRequest> requests;
  requests.reserve(std::min(count, kMaxBatchOperations));
  std::array<char, 32> pointer;
  constexpr std::string_view kStem = "/operations/";
  char* const digits = std::copy(kStem.begin(), kStem.end(), pointer.begin());
  for (auto element = operations->first(); element; element.next()) {
    const std::size_t index = requests.size();
    if (index == kMaxBatchOperations) {
      errors.add("/operations", "has more than " + std::to_string(kMaxBatchOperations) + " operations");
      return std::move(errors).problem();
    }
    const char* const end = std::to_chars(digits, pointer.data() + pointer.size(), index).ptr;
    if (auto problem = read_operation(element.value(), {pointer.data(), end}, limits, requests)) {
      problem->index = index;
      return *std::move(problem);
    }
  }
  return requests;
}

Parsed<std::string> parse_maintenance(std::string_view body) {
  auto document = read_object(body);
  if (auto* problem = std::get_if<Problem>(&document)) {
    return std::move(*problem);
  }
  constexpr std::array<std::string_view, 1> kFields = {"reason"};
  FieldErrors errors;
  std::string reason;
  for (auto member = std::get<JsonDocument>(document).root().first(); member && !errors.full(); member.next()) {
    if (member.key() != kFields[0]) {
      errors.unknown_field("", member.key(), kFields);
    } else if (member.value().kind() == JsonKind::null) {
      continue;
    } else if (member.value().kind() != JsonKind::string) {
      errors.wrong_type("/reason", "a string", member.value().kind());
    } else if (member.value().text().size() > kMaxReasonBytes) {
      errors.add("/reason", "may have " + std::to_string(kMaxReasonBytes) + " bytes at most");
    } else {
      reason = member.value().text();
    }
  }
  if (!errors.empty()) {
    return std::move(errors).problem();
  }
  return reason;
}

Parsed<core::Prune> parse_prune(std::string_view body) {
  auto document = read_object(body);
  if (auto* problem = std::get_if<Problem>(&document)) {
    return std::move(*problem);
  }
  FieldErrors errors;
  core::Prune prune;
  prune.unused_ms = kPruneAge.count();
  for (auto member = std::get<JsonDocument>(document).root().first(); member; member.next()) {
    if (member.value().kind() != JsonKind::null) {
      read_prune_field(member.key(), member.value(), errors, prune);
    }
  }
  if (!errors.empty()) {
    return std::move(errors).problem();
  }
  return prune;
}

std::optional<Problem> parse_empty(std::string_view body) {
  auto document = read_object(body);
  if (auto* problem = std::get_if<Problem>(&document)) {
    return std::move(*problem);
  }
  FieldErrors errors;
  constexpr std::array<std::string_view, 0> kNone = {};
  for (auto member = std::get<JsonDocument>(document).root().first(); member && !errors.full(); member.next()) {
    errors.unknown_field("", member.key(), kNone);
  }
  return errors.empty() ? std::nullopt : std::optional(std::move(errors).problem());
}

}  // namespace limpet::api
