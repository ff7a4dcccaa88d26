#include "agent/liveness/health.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "agent/liveness/check_target.h"

namespace limpet::liveness {

std::vector<std::optional<std::size_t>> Health::replace(const std::vector<Check>& checks, bool failing, bool unproven) {
  const Standing begins = failing ? Standing::failing : unproven ? Standing::unproven : Standing::passing;
  std::vector<State> next;
  std::vector<std::optional<std::size_t>> places;
  std::vector<bool> taken(checks_.size());
  for (const Check& check : checks) {
    std::size_t place = 0;
    while (place < checks_.size() && (taken[place] || checks_[place].check != check)) {
      ++place;
    }
    if (place < checks_.size()) {
      taken[place] = true;
      next.push_back(checks_[place]);
      places.emplace_back(place);
    } else {
      next.push_back(State{check, begins, 0, {}});
      places.emplace_back(std::nullopt);
    }
  }
  checks_ = std::move(next);
  told_failing_ = failing;
  return places;
}

void Health::take(std::size_t index, Finding finding) {
  assert(index < checks_.size());
  State& state = checks_[index];
  if (!finding.well) {
    state.words = std::move(finding.words);
  }
  if (state.standing == Standing::unproven) {
    state.standing = finding.well ? Standing::passing : Standing::failing;
    return;
  }
  const bool passing = state.standing == Standing::passing;
  if (finding.well == passing) {
    state.in_a_row = 0;
  } else if (++state.in_a_row >= (passing ? state.check.fall : state.check.rise)) {
    state.standing = passing ? Standing::failing : Standing::passing;
    state.in_a_row = 0;
  }
}

void Health::void_failures() {
  for (State& state : checks_) {
    if (state.standing == Standing::failing) {
      state.standing = Standing::doubtful;
    }
  }
  told_failing_ = false;
  told_message_.clear();
}

void Health::recheck(bool all) {
  for (State& state : checks_) {
    const bool open = state.standing == Standing::doubtful || state.standing == Standing::unproven;
    if (open || (all && state.standing == Standing::passing)) {
      state.standing = Standing::passing;
      state.in_a_row = 0;
    }
  }
}

std::size_t Health::failing() const {
  return static_cast<std::size_t>(std::count_if(checks_.begin(), checks_.end(), [](const State& state) {
    return state.standing == Standing::doubtful || state.standing == Standing::failing;
  }));
}

std::optional<Health::Report> Health::report(std::int64_t now_ms) {
  const bool failing = std::any_of(checks_.begin(), checks_.end(),
                                   [](const State& state) { return state.standing == Standing::failing; });
  if (!failing) {
    return std::exchange(told_failing_, false) ? std::optional(Report{true, {}}) : std::nullopt;
  }
  std::string words = message();
  if (words.empty()) {
    return std::nullopt;  // none of those that failed in an earlier run has run yet
  }
  const bool news = words != told_message_ && (!told_at_ms_ || now_ms - *told_at_ms_ >= kTellEveryMs);
  if (told_failing_ && !news) {
    return std::nullopt;
  }
  told_failing_ = true;
  told_at_ms_ = now_ms;
  told_message_ = words;
  return Report{false, std::move(words)};
}

// The last words of the first that fails, and how many more do.
std::string Health::message() const {
  std::string text;
  std::size_t others = 0;
  for (const State& state : checks_) {
    if (state.standing != Standing::failing || state.words.empty()) {
      continue;
    }
    if (text.empty()) {
      text = name_of(state.check) + ": " + state.words;
    } else {
      ++others;
    }
  }
  if (others > 0) {
    text += " (and " + std::to_string(others) + (others == 1 ? " more check fails)" : " more checks fail)");
  }
  return text;
}

bool stood_still(std::int64_t took_ms, std::int64_t timeout_ms, std::int64_t slept_ms) {
  constexpr std::int64_t kLateMs = 250;
  return took_ms > timeout_ms + kLateMs || slept_ms >= kLateMs;
}

}  // namespace limpet::liveness
