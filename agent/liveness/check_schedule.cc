#include "agent/liveness/check_schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cassert>
#include <chrono>

#include "agent/liveness/command_run.h"
#include "agent/liveness/network_run.h"
#include "agent/liveness/process_id.h"

namespace limpet::liveness {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr int kMaxExcused = 5;

std::int64_t steady_ms() {
  return std::chrono::duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
}

std::string limit_text(std::int64_t ms) {
  return ms % 1000 == 0 ? fmt::format("{}s", ms / 1000) : fmt::format("{}ms", ms);
}

}  // namespace

CheckSchedule::CheckSchedule(boost::asio::io_context& io, Bounds bounds, Tell tell)
    : io_(io),
      bounds_(bounds),
      tell_(std::move(tell)),
      random_(std::random_device()()),
      timer_(io),
      off_thread_(std::make_unique<OffThread>(io)) {}

CheckSchedule::~CheckSchedule() {
  stop();
}

void CheckSchedule::stop() {
  alive_ = nullptr;
  timer_.cancel();
  for (const auto& [id, watched] : watched_) {
    for (const auto& job : watched->jobs) {
      forget(*job);
    }
  }
  watched_.clear();
}

CheckSchedule::Tally CheckSchedule::tally() const {
  Tally tally;
  for (const auto& [id, watched] : watched_) {
    const std::size_t failing = watched->health.failing();
    tally.failing += failing;
    tally.passing += watched->health.checks() - failing;
  }
  return tally;
}

void CheckSchedule::watch(const RegistrationId& id, std::uint32_t uid, const std::vector<Check>& checks, bool failing) {
  if (const auto found = watched_.find(id); found != watched_.end() && found->second->uid != uid) {
    unwatch(id);
  }
  auto& slot = watched_[id];
  if (slot == nullptr) {
    slot = std::make_unique<Watched>();
    slot->id = id;
    slot->uid = uid;
  }
  Watched& watched = *slot;
  const auto places = watched.health.replace(checks, failing);
  std::vector<std::unique_ptr<Job>> jobs;
  for (std::size_t i = 0; i < checks.size(); ++i) {
    jobs.push_back(places[i] ? std::move(watched.jobs[*places[i]]) : make_job(checks[i]));
    jobs.back()->of = &watched;
    jobs.back()->index = i;
  }
  for (const auto& job : watched.jobs) {
    if (job != nullptr) {
      forget(*job);
    }
  }
  watched.jobs = std::move(jobs);
  watched.turn = ++turns_;
  if (auto report = watched.health.report(steady_ms())) {
    tell_later(watched, std::move(*report));
  }
  set_timer();
}

// What the checks that go on have found already may be news to the core, or no longer true.
void CheckSchedule::tell_later(const Watched& watched, Health::Report report) {
  boost::asio::post(io_, [this, alive = std::weak_ptr<char>(alive_), id = watched.id, turn = watched.turn,
                          report = std::move(report)]() mutable {
    if (alive.expired()) {
      return;
    }
    if (const auto found = watched_.find(id); found != watched_.end() && found->second->turn == turn) {
      tell_(id, std::move(report));
    }
  });
}

void CheckSchedule::unwatch(const RegistrationId& id) {
  const auto found = watched_.find(id);
  if (found == watched_.end()) {
    return;
  }
  for (const auto& job : found->second->jobs) {
    forget(*job);
  }
  watched_.erase(found);
}

std::unique_ptr<CheckSchedule::Job> CheckSchedule::make_job(const Check& check) {
  auto job = std::make_unique<Job>();
  job->check = check;
  put_off(*job, steady_ms() + random_below(std::min(check.interval_ms, bounds_.first_run_ms)));
  return job;
}

void CheckSchedule::forget(Job& job) {
  if (job.running) {
    --running_[kind_of(job)];
    deadlines_.erase({job.started_ms + job.check.timeout_ms, &job});
    job.run->drop();
  } else {
    due_[kind_of(job)].erase({job.due_ms, &job});
  }
}

void CheckSchedule::put_off(Job& job, std::int64_t due_ms) {
  job.due_ms = due_ms;
  due_[kind_of(job)].emplace(due_ms, &job);
}

// Drops what takes too long, starts what is due and has room. What is told of it may watch, unwatch and stop.
void CheckSchedule::pump() {
  const std::weak_ptr<char> alive = alive_;
  while (!alive.expired() && !deadlines_.empty() && deadlines_.begin()->first <= steady_ms()) {
    Job& job = *deadlines_.begin()->second;
    Finding finding{false, job.run->timed_out(limit_text(job.check.timeout_ms))};
    job.run->drop();
    finished(job, std::move(finding));
  }
  const std::int64_t now_ms = steady_ms();
  for (std::size_t kind = 0; kind < due_.size(); ++kind) {
    while (!alive.expired() && has_room(kind) && !due_[kind].empty() && due_[kind].begin()->first <= now_ms) {
      start(*due_[kind].begin()->second);
    }
  }
  if (!alive.expired()) {
    set_timer();
  }
}

void CheckSchedule::set_timer() {
  std::int64_t next_ms = deadlines_.empty() ? INT64_MAX : deadlines_.begin()->first;
  for (std::size_t kind = 0; kind < due_.size(); ++kind) {
    if (has_room(kind) && !due_[kind].empty()) {
      next_ms = std::min(next_ms, due_[kind].begin()->first);
    }
  }
  if (next_ms == INT64_MAX) {
    timer_.cancel();
    return;
  }
  timer_.expires_at(steady_clock::time_point(milliseconds(next_ms)));
  timer_.async_wait([this, alive = std::weak_ptr<char>(alive_)](boost::system::error_code error) {
    if (!error && !alive.expired()) {
      pump();
    }
  });
}

void CheckSchedule::start(Job& job) {
  due_[kind_of(job)].erase({job.due_ms, &job});
  job.started_ms = steady_ms();
  job.asleep_ms = asleep_ms();
  job.running = true;
  ++running_[kind_of(job)];
  deadlines_.emplace(job.started_ms + job.check.timeout_ms, &job);
  if (job.run != nullptr && job.run->lingers()) {
    return finished(job, {false, "its process of the last time was killed, and has not ended yet"});
  }
  const auto done = [this, of = &job](Finding finding) {
    const std::weak_ptr<char> alive = alive_;
    finished(*of, std::move(finding));
    if (!alive.expired()) {
      pump();
    }
  };
  job.run = job.check.type == CheckType::command ? start_command_run(io_, job.check.command, job.of->uid, done)
                                                 : start_network_run(io_, *off_thread_, job.check, job.of->uid, done);
}

// Takes what a run came to. What is told of it may be the end of `job`.
void CheckSchedule::finished(Job& job, Finding finding) {
  assert(job.running);
  const std::int64_t now_ms = steady_ms();
  const std::int64_t took_ms = now_ms - job.started_ms;
  const bool excused = !finding.well && job.excused < kMaxExcused &&
                       stood_still(took_ms, job.check.timeout_ms, asleep_ms() - job.asleep_ms);
  job.running = false;
  job.excused = excused ? job.excused + 1 : 0;
  --running_[kind_of(job)];
  deadlines_.erase({job.started_ms + job.check.timeout_ms, &job});
  const std::int64_t tenth_ms = job.check.interval_ms / 10;
  const std::int64_t next_ms = job.started_ms + job.check.interval_ms - tenth_ms + random_below(2 * tenth_ms + 1);
  put_off(job, excused ? now_ms : std::max(now_ms, next_ms));
  if (finding.known && !excused) {
    Watched& watched = *job.of;
    watched.health.take(job.index, std::move(finding));
    if (auto report = watched.health.report(now_ms)) {
      const RegistrationId id = watched.id;
      tell_(id, std::move(*report));
    }
  }
}

std::int64_t CheckSchedule::random_below(std::int64_t limit) {
  return limit <= 1 ? 0 : std::uniform_int_distribution<std::int64_t>(0, limit - 1)(random_);
}

}  // namespace limpet::liveness
