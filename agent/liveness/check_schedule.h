// When which check runs. The first run comes within a second, the next ones an interval apart, give or take a tenth.
//
// Runs of each kind (network, commands) share slots, by user: who has fewer runs than are guaranteed to each user
// starts another one even where all slots are taken, one user leaves a part of the slots to others, and of several
// users with due checks the next in rotation starts one. So hanging checks delay their own user's. What is due beyond
// that waits, in the order in which it fell due, and is counted as late after an interval.
//
// A run's time begins when it begins to look: not while it queues for a thread. A run that takes longer than its
// time-out is dropped, and has failed. A check runs once at a time: where its former process cannot be killed, that is
// a failure.
//
// Core thread only. Owned by Liveness; the io_context outlives it. Health makes of the results what is told.
#pragma once

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "agent/liveness/check_run.h"
#include "agent/liveness/command_run.h"
#include "agent/liveness/health.h"
#include "agent/liveness/network_run.h"
#include "storage/record.h"

namespace limpet::liveness {

class CheckSchedule {
 public:
  // Called from the event loop, never from within a call.
  using Tell = std::function<void(const RegistrationId&, Health::Report)>;

  // Of one kind of runs.
  struct Slots {
    std::size_t total = 0;
    std::size_t of_user = 0;     // while slots are free
    std::size_t guaranteed = 0;  // to each user, also beyond the total
    std::size_t at_most = 0;     // with what is guaranteed
  };
  struct Bounds {
    Slots network{64, 48, 4, 256};
    Slots commands{16, 12, 2, 64};
    std::int64_t first_run_ms = 1000;  // at the latest
  };

  CheckSchedule(boost::asio::io_context& io, Bounds bounds, Tell tell);
  ~CheckSchedule();
  CheckSchedule(const CheckSchedule&) = delete;
  CheckSchedule& operator=(const CheckSchedule&) = delete;

  // Runs these from now on, for a registration of `uid`, in place of those before; what is asked for in the same words
  // goes on where it is. `failing`: how the health is taken to be.
  void watch(const RegistrationId& id, std::uint32_t uid, const std::vector<Check>& checks, bool failing,
             bool unproven = false);
  void unwatch(const RegistrationId& id);

  // See Health. A run that is under way at a recheck of all does not count as failed.
  void void_failures(const RegistrationId& id);
  void recheck(bool all);

  // What checks may reach and run from now on; runs under way end as they began.
  void set_policy(CheckPolicy policy) { network_.policy = std::move(policy); }

  // Commands run in cgroups below this one from now on.
  void set_command_cgroup(std::string path) { commands_->cgroup = std::move(path); }
  // The agent's own children among all its children.
  const std::set<std::int32_t>& command_pids() const { return commands_->running; }

  // Nothing is told after this, and the commands that run are killed.
  void stop();

  std::size_t running() const { return deadlines_.size(); }
  struct Stats {
    std::size_t passing = 0;
    std::size_t failing = 0;
    std::size_t late = 0;            // due, or queued for a thread, for longer than their interval
    std::size_t running[2] = {};     // network, commands
    std::uint64_t runs[2] = {};      // begun since the start
    std::uint64_t unknown_runs = 0;  // ended without a finding, as the agent could not look
  };
  // Goes through all that is watched.
  Stats stats() const;

 private:
  struct Watched;
  // due: waits for its time, or for a slot. queued: its run waits for a thread; no slot, no deadline. running: has a
  // slot and a deadline.
  enum class JobState { due, queued, running };
  struct Job {
    Watched* of = nullptr;
    std::size_t index = 0;  // in its registration
    Check check;
    JobState state = JobState::due;
    std::int64_t due_ms = 0;        // due, queued: since when, or when
    std::int64_t started_ms = 0;    // running
    std::int64_t asleep_ms = 0;     // when it began
    int excused = 0;                // runs in a row that were not counted, as the agent stood still
    std::shared_ptr<CheckRun> run;  // the present one; or the one before, which may linger
  };
  struct Watched {
    RegistrationId id;
    std::uint32_t uid = 0;
    Health health;
    std::vector<std::unique_ptr<Job>> jobs;
    std::uint64_t turn = 0;  // which watch() it was
  };
  using Queue = std::set<std::pair<std::int64_t, Job*>>;  // by time
  // One user's runs of one kind.
  struct Share {
    Queue due;
    std::size_t running = 0;
  };
  struct Kind {
    Slots slots;
    std::map<std::uint32_t, Share> shares;  // by uid; those with a job
    std::uint32_t last_uid = 0;             // whose turn it was last
    std::size_t running = 0;
    std::uint64_t runs = 0;

    bool has_room(const Share& share) const;
    Job* next(std::int64_t now_ms);  // the due job whose turn it is; null where there is none with room
  };
  Kind& kind_of(const Job& job) { return kinds_[job.check.type == CheckType::command ? 1 : 0]; }
  Share& share_of(const Job& job) { return kind_of(job).shares[job.of->uid]; }

  std::unique_ptr<Job> make_job(Watched& watched, const Check& check);
  void forget(Job& job);
  void drop_empty_share(Kind& kind, std::uint32_t uid);
  void put_off(Job& job, std::int64_t due_ms);
  void pump();
  void start(Job& job);
  void begin(Job& job);
  void leave_state(Job& job);
  void finished(Job& job, Finding finding);
  void tell_later(const Watched& watched, Health::Report report);
  void set_timer();
  std::int64_t random_below(std::int64_t limit);

  // Constant after construction.
  boost::asio::io_context& io_;
  const Bounds bounds_;
  const Tell tell_;

  std::mt19937_64 random_;
  std::unordered_map<RegistrationId, std::unique_ptr<Watched>> watched_;
  std::array<Kind, 2> kinds_;  // network, commands
  Queue deadlines_;            // of those that run
  boost::asio::steady_timer timer_;
  std::uint64_t turns_ = 0;
  std::int64_t rechecked_ms_ = 0;                           // failures of runs that began before this do not count
  std::shared_ptr<char> alive_ = std::make_shared<char>();  // of the handlers: one that is late finds it gone
  std::uint64_t unknown_runs_ = 0;
  NetworkRuns network_;
  std::shared_ptr<CommandRuns> commands_;
};

}  // namespace limpet::liveness
