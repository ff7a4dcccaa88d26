#include "agent/cli/paged.h"

#include <fmt/format.h>

#include <algorithm>

#include "agent/cli/text.h"

namespace limpet::cli {

namespace {

std::string target_of(const Paged& question, std::int64_t limit, const std::string& after) {
  std::string target = question.path;
  char separator = '?';
  const auto add = [&](std::string_view key, std::string_view value) {
    target += fmt::format("{}{}={}", separator, key, encode_query_value(value));
    separator = '&';
  };
  for (const auto& [key, value] : question.filters) {
    add(key, value);
  }
  add("limit", std::to_string(limit));
  if (!after.empty()) {
    add(question.cursor, after);
  }
  return target;
}

// Asks for one page. Nothing as for fetch_pages.
std::optional<Answer> ask_page(Context& context, const Paged& question, const std::string& target, Exit& exit) {
  Request request;
  request.target = target;
  std::optional<Answer> answer = ask(context, request);
  if (!answer) {
    exit = Exit::unreachable;
    return std::nullopt;
  }
  if (!answer->ok()) {
    exit = refused(context, fmt::format("read the {}", question.items), *answer);
    return std::nullopt;
  }
  return answer;
}

}  // namespace

void Paged::filter(const std::string& key, const std::string& value) {
  if (!value.empty()) {
    filters.emplace_back(key, value);
  }
}

std::string next_of(const Json& page) {
  const Json& next = at(page, "next");
  return next.is_string() ? next.get<std::string>() : next.is_number_integer() ? next.dump() : std::string{};
}

std::optional<Json> fetch_pages(Context& context, const Paged& question, Exit& exit) {
  constexpr std::int64_t kPage = 1000;
  Json whole;
  std::string as_it_came;
  std::string after;
  std::int64_t count = 0;
  for (bool last = false; !last;) {
    const std::int64_t wanted = question.limit == 0 ? kPage : std::min(kPage, question.limit - count);
    std::optional<Answer> answer = ask_page(context, question, target_of(question, wanted, after), exit);
    if (!answer) {
      return std::nullopt;
    }
    std::optional<Json> page = body_of(context, *answer);
    if (!page) {
      exit = Exit::failed;
      return std::nullopt;
    }
    const Json& items = at(*page, question.items);
    const std::size_t size = items.is_array() ? items.size() : 0;
    count += static_cast<std::int64_t>(size);
    const std::string next = next_of(*page);
    // An agent that gives the same page for ever must not hold us for ever.
    last = size == 0 || next.empty() || next == after || (question.limit != 0 && count >= question.limit);
    if (whole.is_null()) {
      as_it_came = std::move(answer->body);
      whole = std::move(*page);
    } else {
      as_it_came.clear();
      for (Json& item : (*page)[question.items]) {
        whole[question.items].push_back(std::move(item));
      }
      whole["next"] = at(*page, "next");
    }
    after = next;
  }
  if (context.json) {
    print_json(context, as_it_came.empty() ? whole.dump() : as_it_came);
  }
  return whole;
}

}  // namespace limpet::cli
