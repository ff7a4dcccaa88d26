// How the registrations are brought in line with the files. How the files are read is in registration_files.cc.
#include "agent/registrations_dir.h"

#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <chrono>

#include "agent/log.h"
#include "agent/registrations_memory.h"

namespace limpet {

namespace {

constexpr std::chrono::seconds kRetry(30);

// What may be accepted later without anybody changing a file.
bool passes(core::ProblemCode code) {
  switch (code) {
    case core::ProblemCode::quota:
    case core::ProblemCode::queue_full:
    case core::ProblemCode::storage_failed:
    case core::ProblemCode::storage_full:
      return true;
    case core::ProblemCode::invalid:
    case core::ProblemCode::not_found:
    case core::ProblemCode::not_owner:
    case core::ProblemCode::not_allowed:
    case core::ProblemCode::path_taken:
    case core::ProblemCode::shutting_down:
      return false;
  }
  return false;
}

}  // namespace

// One call of apply(), from its beginning to its answer.
struct RegistrationsDir::Run {
  std::string directory;
  FileRegistrations found;
  Result<Memory> loaded = Memory();  // where this is the first
  Memory before;                     // what came from files before this run
  std::vector<RegistrationId> gone;
  std::size_t outstanding = 0;
  bool again = false;
  Status written;
  api::FilesReport report;
};

RegistrationsDir::RegistrationsDir(boost::asio::io_context& io, api::Service& service, Background background,
                                   std::string memory_file)
    : service_(service), background_(std::move(background)), memory_file_(std::move(memory_file)), retry_timer_(io) {}

void RegistrationsDir::apply(std::string directory, Done done) {
  waiting_.emplace_back(std::move(directory), std::move(done));
  if (!std::exchange(busy_, true)) {
    begin();
  }
}

void RegistrationsDir::begin() {
  retry_timer_.cancel();
  auto run = std::make_shared<Run>();
  run->directory = waiting_.front().first;
  background_(
      [this, run, first = !loaded_] {
        run->found = read_registrations(run->directory, ::geteuid());
        if (first) {
          run->loaded = load_registrations_memory(memory_file_);
        }
      },
      [this, run] {
        if (!std::exchange(loaded_, true)) {
          if (run->loaded.ok()) {
            memory_ = written_ = std::move(*run->loaded);
          } else {
            run->report.errors.push_back({memory_file_, run->loaded.status().message()});
          }
        }
        compare(run);
      });
}

void RegistrationsDir::compare(const std::shared_ptr<Run>& run) {
  FileRegistrations& found = run->found;
  auto& errors = run->report.errors;
  errors.insert(errors.end(), found.problems.begin(), found.problems.end());
  run->before = memory_;
  if (found.readable) {
    std::set<RegistrationId> wanted;
    for (const auto& entry : found.entries) {
      wanted.insert(entry.request.id);
    }
    for (const auto& [id, file] : memory_) {
      if (!wanted.contains(id) && !found.unusable.contains(file)) {
        run->gone.push_back(id);
      }
    }
  }
  for (const auto& entry : found.entries) {
    memory_[entry.request.id] = entry.file;
  }
  remember(run, [this, run] {
    if (run->written.ok()) {
      return submit(run);
    }
    // What cannot be remembered would never be deregistered.
    run->report.errors.push_back({memory_file_, run->written.message() + "; nothing of the files was applied"});
    run->again = true;
    memory_ = run->before;
    finish(run);
  });
}

void RegistrationsDir::remember(const std::shared_ptr<Run>& run, std::function<void()> then) {
  if (memory_ == written_) {
    return then();
  }
  background_([this, run, memory = memory_] { run->written = save_registrations_memory(memory_file_, memory); },
              [this, run, memory = memory_, then = std::move(then)] {
                if (run->written.ok()) {
                  written_ = memory;
                }
                then();
              });
}

// Each by itself: one that is refused holds up no other.
void RegistrationsDir::submit(const std::shared_ptr<Run>& run) {
  core::Caller caller;
  caller.owner = {::geteuid(), ::getpid()};
  caller.program = "limpetd";
  run->outstanding = run->gone.size() + run->found.entries.size();
  if (run->outstanding == 0) {
    return finish(run);
  }
  const auto one_less = [this, run] {
    if (--run->outstanding == 0) {
      remember(run, [this, run] {
        if (!run->written.ok()) {
          run->report.errors.push_back({memory_file_, run->written.message()});
        }
        finish(run);
      });
    }
  };
  for (const RegistrationId& id : run->gone) {
    service_.submit(caller, {core::DeregisterRequest{id}}, [this, run, id, one_less](const auto& result) {
      deregistered(*run, id, result);
      one_less();
    });
  }
  for (std::size_t i = 0; i < run->found.entries.size(); ++i) {
    service_.submit(caller, {run->found.entries[i].request}, [this, run, i, one_less](const auto& result) {
      registered(*run, run->found.entries[i], result);
      one_less();
    });
  }
}

void RegistrationsDir::deregistered(Run& run, const RegistrationId& id, const api::Service::ChangeResult& result) {
  const auto* problem = std::get_if<core::Problem>(&result);
  if (problem == nullptr) {
    ++run.report.removed;
  } else if (problem->code != core::ProblemCode::not_found && problem->code != core::ProblemCode::not_owner) {
    run.report.errors.push_back({memory_.at(id), id.str() + " has gone from here: " + problem->detail});
    run.again = run.again || passes(problem->code);
    return;
  }
  // Gone; or another user's by now, and none of the files' business any more.
  memory_.erase(id);
}

void RegistrationsDir::registered(Run& run, const FileRegistrations::Entry& entry,
                                  const api::Service::ChangeResult& result) {
  const bool known = run.before.contains(entry.request.id);
  if (const auto* problem = std::get_if<core::Problem>(&result)) {
    run.report.errors.push_back({entry.file, entry.request.id.str() + ": " + problem->detail});
    if (passes(problem->code)) {
      run.again = true;
    } else if (!known) {
      memory_.erase(entry.request.id);
    }
  } else if (std::get<std::vector<core::AcceptedChange>>(result).front().changed) {
    ++(known ? run.report.changed : run.report.added);
  }
}

void RegistrationsDir::finish(const std::shared_ptr<Run>& run) {
  const Done done = std::move(waiting_.front().second);
  waiting_.pop_front();
  busy_ = !waiting_.empty();
  if (busy_) {
    begin();
  } else if (run->again) {
    retry_later(run->directory);
  }
  done(std::move(run->report));
}

void RegistrationsDir::retry_later(const std::string& directory) {
  retry_timer_.expires_after(kRetry);
  retry_timer_.async_wait([this, directory](boost::system::error_code error) {
    if (!error && !busy_) {
      apply(directory, [](const api::FilesReport&) {});
    }
  });
}

}  // namespace limpet
