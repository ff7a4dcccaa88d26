#include "agent/liveness/check_schedule.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <cassert>
#include <chrono>

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
      network_(io),
      commands_(std::make_shared<CommandRuns>(io)) {
  kinds_[0].slots = bounds.network;
  kinds_[1].slots = bounds.commands;
}

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

CheckSchedule::Stats CheckSchedule::stats() const {
  Stats stats;
  const std::int64_t now_ms = steady_ms();
  for (const auto& [id, watched] : watched_) {
    const std::size_t failing = watched->health.failing();
    stats.failing += failing;
    stats.passing += watched->health.checks() - failing;
    for (const auto& job : watched->jobs) {
      stats.late += job->state != JobState::running && now_ms - job->due_ms > job->check.interval_ms ? 1 : 0;
    }
  }
  for (std::size_t i = 0; i < kinds_.size(); ++i) {
    stats.running[i] = kinds_[i].running;
    stats.runs[i] = kinds_[i].runs;
  }
  stats.unknown_runs = unknown_runs_;
  return stats;
}

bool CheckSchedule::Kind::has_room(const Share& share) const {
  return (share.running < slots.guaranteed && running < slots.at_most) ||
         (share.running < slots.of_user && running < slots.total);
}

CheckSchedule::Job* CheckSchedule::Kind::next(std::int64_t now_ms) {
  auto entry = shares.upper_bound(last_uid);
  for (std::size_t i = 0; i < shares.size(); ++i, ++entry) {
    entry = entry == shares.end() ? shares.begin() : entry;
    const Share& share = entry->second;
    if (!share.due.empty() && share.due.begin()->first <= now_ms && has_room(share)) {
      last_uid = entry->first;
      return share.due.begin()->second;
    }
  }
  return nullptr;
}

void CheckSchedule::watch(const RegistrationId& id, std::uint32_t uid, const std::vector<Check>& checks, bool failing,
                          bool unproven) {
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
  const auto places = watched.health.replace(checks, failing, unproven);
  std::vector<std::unique_ptr<Job>> jobs;
  for (std::size_t i = 0; i < checks.size(); ++i) {
    jobs.push_back(places[i] ? std::move(watched.jobs[*places[i]]) : make_job(watched, checks[i]));
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

void CheckSchedule::void_failures(const RegistrationId& id) {
  if (const auto found = watched_.find(id); found != watched_.end()) {
    found->second->health.void_failures();
  }
}

void CheckSchedule::recheck(bool all) {
  rechecked_ms_ = all ? steady_ms() : rechecked_ms_;
  for (const auto& [id, watched] : watched_) {
    watched->health.recheck(all);
  }
}

std::unique_ptr<CheckSchedule::Job> CheckSchedule::make_job(Watched& watched, const Check& check) {
  auto job = std::make_unique<Job>();
  job->of = &watched;
  job->check = check;
  put_off(*job, steady_ms() + random_below(std::min(check.interval_ms, bounds_.first_run_ms)));
  return job;
}

// Takes the job out of what its state has it in.
void CheckSchedule::leave_state(Job& job) {
  Share& share = share_of(job);
  switch (job.state) {
    case JobState::due:
      share.due.erase({job.due_ms, &job});
      break;
    case JobState::queued:
      break;
    case JobState::running:
      --share.running;
      --kind_of(job).running;
      deadlines_.erase({job.started_ms + job.check.timeout_ms, &job});
      break;
  }
}

void CheckSchedule::forget(Job& job) {
  leave_state(job);
  if (job.state != JobState::due) {
    job.run->drop();
  }
  drop_empty_share(kind_of(job), job.of->uid);
}

void CheckSchedule::drop_empty_share(Kind& kind, std::uint32_t uid) {
  if (const auto found = kind.shares.find(uid);
      found != kind.shares.end() && found->second.due.empty() && found->second.running == 0) {
    kind.shares.erase(found);
  }
}

void CheckSchedule::put_off(Job& job, std::int64_t due_ms) {
  job.state = JobState::due;
  job.due_ms = due_ms;
  share_of(job).due.emplace(due_ms, &job);
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
  for (std::size_t i = 0; i < 2 && !alive.expired(); ++i) {
    Job* job = kinds_[i].next(now_ms);
    while (job != nullptr) {
      start(*job);
      job = alive.expired() ? nullptr : kinds_[i].next(now_ms);
    }
  }
  if (!alive.expired()) {
    set_timer();
  }
}

void CheckSchedule::set_timer() {
  std::int64_t next_ms = deadlines_.empty() ? INT64_MAX : deadlines_.begin()->first;
  for (const Kind& kind : kinds_) {
    for (const auto& [uid, share] : kind.shares) {
      if (!share.due.empty() && kind.has_room(share)) {
        next_ms = std::min(next_ms, share.due.begin()->first);
      }
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
  leave_state(job);
  job.state = JobState::queued;
  const std::uint32_t uid = job.of->uid;
  if (const Status allowed = permits(network_.policy, job.check, uid == ::geteuid()); !allowed.ok()) {
    begin(job);
    return finished(job, {false, allowed.message()});
  }
  if (job.run != nullptr && job.run->lingers()) {
    begin(job);
    return finished(job, {false, "its process of the last time was killed, and has not ended yet"});
  }
  const auto begun = [this, of = &job] {
    begin(*of);
    set_timer();
  };
  const auto done = [this, of = &job](Finding finding) {
    const std::weak_ptr<char> alive = alive_;
    finished(*of, std::move(finding));
    if (!alive.expired()) {
      pump();
    }
  };
  job.run = job.check.type == CheckType::command ? start_command_run(commands_, job.check.command, uid, done)
                                                 : start_network_run(network_, job.check, uid, begun, done);
  if (!job.run->queued()) {
    begin(job);
  }
}

// It begins to look. What queued for a thread gets its slot even where none is free: threads are few.
void CheckSchedule::begin(Job& job) {
  assert(job.state == JobState::queued);
  job.state = JobState::running;
  job.started_ms = steady_ms();
  job.asleep_ms = asleep_ms();
  ++share_of(job).running;
  ++kind_of(job).running;
  ++kind_of(job).runs;
  deadlines_.emplace(job.started_ms + job.check.timeout_ms, &job);
}

// Takes what a run came to. What is told of it may be the end of `job`.
void CheckSchedule::finished(Job& job, Finding finding) {
  const std::int64_t now_ms = steady_ms();
  const bool began = job.state == JobState::running;
  const std::int64_t started_ms = began ? job.started_ms : now_ms;
  const bool excused = began && !finding.well && job.excused < kMaxExcused &&
                       stood_still(now_ms - started_ms, job.check.timeout_ms, asleep_ms() - job.asleep_ms);
  leave_state(job);
  job.excused = excused ? job.excused + 1 : 0;
  unknown_runs_ += finding.known ? 0 : 1;
  const std::int64_t tenth_ms = job.check.interval_ms / 10;
  const std::int64_t next_ms = started_ms + job.check.interval_ms - tenth_ms + random_below(2 * tenth_ms + 1);
  put_off(job, excused ? now_ms : std::max(now_ms, next_ms));
  const bool outdated = !finding.well && started_ms <= rechecked_ms_;
  if (finding.known && !excused && !outdated) {
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
