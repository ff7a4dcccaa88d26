// When which check runs. The first run comes within a second, the next ones an interval apart, give or take a tenth. At
// most so many run at the same time; those that are due beyond that wait, in the order in which they fell due. A run
// that takes longer than its time-out is dropped, and has failed. A check runs once at a time: where its former process
// cannot be killed, that is a failure.
//
// Core thread only. Owned by Liveness; the io_context outlives it. Health makes of the results what is told.
#pragma once

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <random>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "agent/liveness/check_run.h"
#include "agent/liveness/health.h"
#include "agent/liveness/off_thread.h"
#include "storage/record.h"

namespace limpet::liveness {

class CheckSchedule {
 public:
  // Called from the event loop, never from within a call.
  using Tell = std::function<void(const RegistrationId&, Health::Report)>;

  struct Bounds {
    std::size_t network_runs = 64;
    std::size_t command_runs = 16;
    std::int64_t first_run_ms = 1000;  // at the latest
  };

  CheckSchedule(boost::asio::io_context& io, Bounds bounds, Tell tell);
  ~CheckSchedule();
  CheckSchedule(const CheckSchedule&) = delete;
  CheckSchedule& operator=(const CheckSchedule&) = delete;

  // Runs these from now on, for a registration of `uid`, in place of those before; what is asked for in the same words
  // goes on where it is. `failing`: how the health is taken to be.
  void watch(const RegistrationId& id, std::uint32_t uid, const std::vector<Check>& checks, bool failing);
  void unwatch(const RegistrationId& id);

  // Nothing is told after this, and the commands that run are killed.
  void stop();

  std::size_t running() const { return deadlines_.size(); }
  struct Tally {
    std::size_t passing = 0;
    std::size_t failing = 0;
  };
  // Goes through all that is watched.
  Tally tally() const;

 private:
  struct Watched;
  struct Job {
    Watched* of = nullptr;
    std::size_t index = 0;  // in its registration
    Check check;
    std::int64_t due_ms = 0;
    std::int64_t started_ms = 0;
    std::int64_t asleep_ms = 0;  // when it started
    bool running = false;
    int excused = 0;                // so many runs in a row were not counted, as the agent stood still
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
  static std::size_t kind_of(const Job& job) { return job.check.type == CheckType::command ? 1 : 0; }
  bool has_room(std::size_t kind) const {
    return running_[kind] < (kind == 0 ? bounds_.network_runs : bounds_.command_runs);
  }

  std::unique_ptr<Job> make_job(const Check& check);
  void forget(Job& job);
  void put_off(Job& job, std::int64_t due_ms);
  void pump();
  void start(Job& job);
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
  std::array<Queue, 2> due_;  // network, commands: those that do not run
  std::array<std::size_t, 2> running_ = {};
  Queue deadlines_;  // of those that run
  boost::asio::steady_timer timer_;
  std::uint64_t turns_ = 0;
  std::shared_ptr<char> alive_ = std::make_shared<char>();  // of the handlers: one that is late finds it gone
  std::unique_ptr<OffThread> off_thread_;
};

}  // namespace limpet::liveness
