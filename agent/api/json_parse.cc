// Strict reading of request bodies.
#include <algorithm>
#include <array>

#include "agent/api/field_errors.h"
#include "agent/api/json.h"
#include "agent/api/json_document.h"
#include "agent/api/names.h"
#include "agent/api/registration_reader.h"

namespace limpet::api {
namespace {

constexpr std::array<std::string_view, 3> kOperationFields = {"op", "service", "instance"};

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
void read_name(const JsonValue* value, const std::string& pointer, FieldErrors& errors, std::string& name) {
  if (value == nullptr) {
    return errors.add(pointer, "is missing");
  }
  if (value->kind() != JsonKind::string) {
    return errors.wrong_type(pointer, "a string", value->kind());
  }
  if (const auto error = name_error(value->text())) {
    return errors.add(pointer, *error);
  }
  name = value->text();
}

Parsed<core::ChangeRequest> read_operation(const JsonValue& object, const std::string& pointer,
                                           const BodyLimits& limits) {
  FieldErrors errors;
  if (object.kind() != JsonKind::object) {
    errors.wrong_type(pointer, "an object", object.kind());
    return std::move(errors).problem();
  }
  std::optional<JsonValue> op;
  std::optional<JsonValue> service;
  std::optional<JsonValue> instance;
  for (auto member = object.first(); member; member.next()) {
    if (member.key() == "op") {
      op = member.value();
    } else if (member.key() == "service") {
      service = member.value();
    } else if (member.key() == "instance") {
      instance = member.value();
    }
  }
  const bool is_register = op && op->kind() == JsonKind::string && op->text() == "register";
  const bool is_deregister = op && op->kind() == JsonKind::string && op->text() == "deregister";
  if (!is_register && !is_deregister) {
    errors.add(pointer + "/op", op ? "must be \"register\" or \"deregister\"" : "is missing");
  }
  RegistrationId id;
  read_name(service ? &*service : nullptr, pointer + "/service", errors, id.service);
  read_name(instance ? &*instance : nullptr, pointer + "/instance", errors, id.instance);
  RegistrationReader reader(pointer, errors, limits.max_data_bytes);
  for (auto member = object.first(); member; member.next()) {
    if (std::find(kOperationFields.begin(), kOperationFields.end(), member.key()) != kOperationFields.end()) {
      continue;
    }
    if (is_deregister) {
      errors.add(child_pointer(pointer, member.key()), "is not a field of a deregistration");
    } else if (!reader.field(member.key(), member.value())) {
      errors.unknown_field(pointer, member.key(), kRegistrationFields);
    }
  }
  if (is_deregister && errors.empty()) {
    return core::ChangeRequest(core::DeregisterRequest{std::move(id)});
  }
  auto request = reader.finish(id);
  if (auto* problem = std::get_if<Problem>(&request)) {
    return std::move(*problem);
  }
  return core::ChangeRequest(std::get<core::RegisterRequest>(std::move(request)));
}

}  // namespace

Parsed<core::RegisterRequest> parse_registration(const RegistrationId& id, std::string_view body,
                                                 const BodyLimits& limits) {
  auto document = read_object(body);
  if (auto* problem = std::get_if<Problem>(&document)) {
    return std::move(*problem);
  }
  FieldErrors errors;
  RegistrationReader reader("", errors, limits.max_data_bytes);
  for (auto member = std::get<JsonDocument>(document).root().first(); member; member.next()) {
    if (!reader.field(member.key(), member.value())) {
      errors.unknown_field("", member.key(), kRegistrationFields);
    }
  }
  return reader.finish(id);
}

Parsed<std::vector<core::ChangeRequest>> parse_batch(std::string_view body, const BodyLimits& limits) {
  auto document = read_object(body);
  if (auto* problem = std::get_if<Problem>(&document)) {
    return std::move(*problem);
  }
  constexpr std::array<std::string_view, 1> kBatchFields = {"operations"};
  FieldErrors errors;
  std::optional<JsonValue> operations;
  for (auto member = std::get<JsonDocument>(document).root().first(); member; member.next()) {
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
  std::vector<core::ChangeRequest> requests;
  for (auto element = operations->first(); element; element.next()) {
    const std::size_t index = requests.size();
    if (index == kMaxBatchOperations) {
      errors.add("/operations", "has more than " + std::to_string(kMaxBatchOperations) + " operations");
      return std::move(errors).problem();
    }
    auto operation = read_operation(element.value(), "/operations/" + std::to_string(index), limits);
    if (auto* problem = std::get_if<Problem>(&operation)) {
      problem->index = index;
      return std::move(*problem);
    }
    requests.push_back(std::move(std::get<core::ChangeRequest>(operation)));
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
  for (auto member = std::get<JsonDocument>(document).root().first(); member; member.next()) {
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

std::optional<Problem> parse_empty(std::string_view body) {
  auto document = read_object(body);
  if (auto* problem = std::get_if<Problem>(&document)) {
    return std::move(*problem);
  }
  FieldErrors errors;
  constexpr std::array<std::string_view, 0> kNone = {};
  for (auto member = std::get<JsonDocument>(document).root().first(); member; member.next()) {
    errors.unknown_field("", member.key(), kNone);
  }
  return errors.empty() ? std::nullopt : std::optional(std::move(errors).problem());
}

}  // namespace limpet::api
