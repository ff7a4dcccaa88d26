#include "agent/cli/command.h"

#include <fmt/format.h>

#include "agent/api/names.h"
#include "agent/cli/text.h"

namespace limpet::cli {

namespace {

// A person's words for an answer that is no problem+json: whatever is there, cut short.
std::string plain_answer(const Answer& answer) {
  constexpr std::size_t kEnough = 200;
  if (!is_utf8(answer.body)) {
    return "an answer that is not text";
  }
  return truncate(printable(answer.body), kEnough);
}

}  // namespace

std::string Name::target() const {
  return fmt::format("/v1/registrations/{}/{}", encode_segment(service), encode_segment(instance));
}

void add_name(CLI::App& verb, Name& name, bool required) {
  const auto not_empty = [](const std::string& value) {
    return value.empty() ? std::string("must not be empty") : std::string{};
  };
  verb.add_option("SERVICE", name.service, "name of the service, such as web")
      ->required(required)
      ->option_text(" ")
      ->check(not_empty);
  verb.add_option("INSTANCE", name.instance, "name of this instance of it, such as i-1")
      ->required(required)
      ->option_text(" ")
      ->check(not_empty);
}

std::chrono::milliseconds WaitTime::duration() const {
  return api::parse_duration(typed, api::kLongestDuration).value_or(std::chrono::milliseconds(0));
}

std::string WaitTime::query() const {
  return asked() ? "?wait=" + encode_query_value(typed) : std::string{};
}

std::string check_duration(const std::string& value) {
  return api::parse_duration(value, api::kLongestDuration)
             ? std::string{}
             : fmt::format("'{}' is no duration; write 500ms, 10s, 5m or 24h", value);
}

CLI::Option* add_wait(CLI::App& verb, const std::string& names, WaitTime& wait, const std::string& description) {
  return verb.add_option(names, wait.typed, description)->option_text("D")->check(check_duration);
}

Exit failed(Context& context, Exit exit, std::string_view code, const std::string& message) {
  if (context.json) {
    Json problem = Json::object();
    problem["type"] = fmt::format("urn:limpet:problem:{}", code);
    problem["title"] = exit == Exit::unreachable ? "limpetd cannot be reached" : "limpet failed";
    problem["detail"] = message;
    problem["code"] = code;
    problem["retryable"] = exit == Exit::unreachable;
    print_json(context, problem.dump(-1, ' ', false, Json::error_handler_t::replace));
  } else {
    context.console.error(message);
  }
  return exit;
}

std::optional<Answer> ask(Context& context, const Request& request) {
  auto reply = context.client.call(request);
  if (const auto* unreachable = std::get_if<Unreachable>(&reply)) {
    (void)failed(context, Exit::unreachable, "unreachable", unreachable->why);
    return std::nullopt;
  }
  return std::get<Answer>(std::move(reply));
}

Exit refused(Context& context, const std::string& what, const Answer& answer) {
  const Json problem = parse(answer.body);
  if (context.json && problem.is_object()) {
    print_json(context, answer.body);
    return Exit::failed;
  }
  std::string detail = text(problem, "detail");
  if (detail.empty()) {
    detail = text(problem, "title");
  }
  if (detail.empty()) {
    detail = fmt::format("the agent answered {}: {}", answer.status, plain_answer(answer));
  }
  const std::string code = text(problem, "code");
  std::string message = fmt::format("cannot {}: {}", printable(what), printable(detail));
  message += code.empty() ? std::string{} : fmt::format(" ({})", printable(code));
  for (const Json& error : at(problem, "errors")) {
    const std::string fault = text(error, "detail");
    // One fault alone is often the detail once more.
    if (detail.find(fault) == std::string::npos) {
      message += fmt::format("\n  {}: {}", printable(text(error, "pointer")), printable(fault));
    }
  }
  if (code == "storage_failed") {
    message += "\nWhether it was accepted is not known; the same command again is safe.";
  } else if (!answer.retry_after.empty()) {
    message += fmt::format("\nThis may pass: try again in {} s.", printable(answer.retry_after));
  } else if (flag(problem, "retryable")) {
    message += "\nThis may pass: try again.";
  }
  return failed(context, Exit::failed, "refused", message);
}

std::optional<Json> body_of(Context& context, const Answer& answer) {
  Json body = parse(answer.body);
  if (body.is_discarded()) {
    (void)failed(context, Exit::failed, "bad_answer",
                 fmt::format("the agent's answer is not JSON: {}\nIs this limpetd's socket?", plain_answer(answer)));
    return std::nullopt;
  }
  return body;
}

void print_json(Context& context, std::string_view body) {
  context.console.json(body);
  if (body.empty() || body.back() != '\n') {
    context.console.out("\n");
  }
}

Answer look_up(Context& context, const Name& name) {
  Request request;
  request.target = name.target();
  auto reply = context.client.call(request);
  auto* answer = std::get_if<Answer>(&reply);
  return answer == nullptr ? Answer{} : std::move(*answer);
}

std::string change_number(const Json& body) {
  const std::int64_t seq = number(body, "seq");
  return seq > 0 ? fmt::format("change {}", seq) : std::string("the change");
}

Exit wait_ran_out(Context& context, const Name& name, std::string_view wanted, const WaitTime& wait, const Json& item) {
  const std::string state = text(item, "state");
  const std::string stand = state.empty() ? "its state is not known" : state_with_reason(item, context.now_ms);
  std::string message = printable(fmt::format("{} is not {} after {}: {}", name.str(), wanted, wait.typed, stand));
  const std::string advice = advice_for(state, text(at(item, "reason"), "code"), text(item, "path"));
  message += advice.empty() ? std::string{} : "\n" + printable(advice);
  message += "\nSee: " + printable(fmt::format("limpet show {} {}", name.service, name.instance));
  context.console.error(message);
  return Exit::timed_out;
}

}  // namespace limpet::cli
