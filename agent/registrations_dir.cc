// How the registrations are brought in line with the files. How the files are read is in registration_files.cc.
#include "agent/registrations_dir.h"

#include <unistd.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <chrono>

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
    case core::ProblemCode::not_connected:
      return false;
  }
  return false;
}

std::string absence(std::size_t registrations) {
  std::string text = "it is not there; make it, mount it, or correct registrations_dir";
  if (registrations > 0) {
    text += ". What came from it before stays registered (" + std::to_string(registrations) + ")";
  }
  return text;
}

}  // namespace

// One call of apply(), from its beginning to its answer.
struct RegistrationsDir::Run {
  FilesSource source;
  api::Removals removals = api::Removals::guarded;
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
                                   std::string memory_file, std::chrono::milliseconds settle)
    : service_(service),
      background_(std::move(background)),
      memory_file_(std::move(memory_file)),
      settle_(settle),
      settle_timer_(io),
      retry_timer_(io) {}

void RegistrationsDir::apply(FilesSource source, api::Removals removals, Done done) {
  enqueue({std::move(source), removals, false, std::move(done)});
}

void RegistrationsDir::enqueue(Call call) {
  waiting_.push_back(std::move(call));
  if (!std::exchange(busy_, true)) {
    begin();
  }
}

void RegistrationsDir::begin() {
  retry_timer_.cancel();
  auto run = std::make_shared<Run>();
  run->source = waiting_.front().source;
  run->removals = waiting_.front().removals;
  look(run, [this, run] {
    if (!std::exchange(loaded_, true)) {
      if (run->loaded.ok()) {
        memory_ = written_ = std::move(*run->loaded);
      } else {
        run->report.errors.push_back({memory_file_, run->loaded.status().message()});
      }
    }
    if (run->removals == api::Removals::guarded && file_has_gone(*run)) {
      look_again(run);
    } else {
      compare(run);
    }
  });
}

void RegistrationsDir::look(const std::shared_ptr<Run>& run, std::function<void()> then) {
  background_(
      [this, run, first = !loaded_] {
        run->found = read_registrations(run->source.directory, ::geteuid());
        if (first) {
          run->loaded = load_registrations_memory(memory_file_);
        }
      },
      std::move(then));
}

void RegistrationsDir::look_again(const std::shared_ptr<Run>& run) {
  settle_timer_.expires_after(settle_);
  settle_timer_.async_wait([this, run](boost::system::error_code error) {
    if (!error) {
      look(run, [this, run] { compare(run); });
    }
  });
}

// What came from files, and does not stand there any more as far as that is known.
std::vector<RegistrationId> RegistrationsDir::gone_from(const FileRegistrations& found) const {
  std::vector<RegistrationId> gone;
  if (found.directory != FileRegistrations::Directory::readable) {
    return gone;
  }
  std::set<RegistrationId> wanted = found.unusable_ids;
  for (const auto& entry : found.entries) {
    wanted.insert(entry.request.id);
  }
  for (const auto& [id, file] : memory_) {
    if (!wanted.contains(id) && !found.unusable.contains(file)) {
      gone.push_back(id);
    }
  }
  return gone;
}

// Somebody who takes an entry out of a file means it; a file that is not there may be on its way.
bool RegistrationsDir::file_has_gone(const Run& run) const {
  const auto gone = gone_from(run.found);
  return std::any_of(gone.begin(), gone.end(),
                     [&](const RegistrationId& id) { return !run.found.files.contains(memory_.at(id)); });
}

void RegistrationsDir::compare(const std::shared_ptr<Run>& run) {
  using Directory = FileRegistrations::Directory;
  FileRegistrations& found = run->found;
  auto& errors = run->report.errors;
  errors.insert(errors.end(), found.problems.begin(), found.problems.end());
  if (found.directory == Directory::absent && (run->source.named || !memory_.empty())) {
    errors.push_back({run->source.directory, absence(memory_.size())});
  }
  run->again = found.directory == Directory::unreadable || found.directory == Directory::absent;
  run->before = memory_;
  run->gone = gone_from(found);
  if (run->removals == api::Removals::guarded) {
    hold_mass_removal(*run);
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

void RegistrationsDir::hold_mass_removal(Run& run) const {
  constexpr std::size_t kNamed = 3;
  if (run.gone.size() < 2 || run.gone.size() * 2 <= memory_.size()) {
    return;
  }
  std::string names;
  for (std::size_t i = 0; i < std::min(run.gone.size(), kNamed); ++i) {
    names += (i == 0 ? "" : ", ") + run.gone[i].str();
  }
  names += run.gone.size() > kNamed ? ", …" : "";
  run.report.held = run.gone.size();
  run.report.errors.push_back(
      {run.source.directory.empty() ? "registrations_dir" : run.source.directory,
       std::to_string(run.gone.size()) + " of the " + std::to_string(memory_.size()) +
           " registrations that came from files are not there any more (" + names +
           "): more than half at once looks like a mistake, and they stay registered. Put the files back, or, if it is "
           "meant: limpet reload --force"});
  run.gone.clear();
  run.again = true;
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
  const Call call = std::move(waiting_.front());
  waiting_.pop_front();
  busy_ = !waiting_.empty();
  if (busy_) {
    begin();
  } else if (run->again) {
    retry_later(run->source);
  }
  if (observer_) {
    observer_(run->report, call.again);
  }
  if (call.done) {
    call.done(std::move(run->report));
  }
}

void RegistrationsDir::retry_later(const FilesSource& source) {
  retry_timer_.expires_after(kRetry);
  retry_timer_.async_wait([this, source](boost::system::error_code error) {
    if (!error && !busy_) {
      enqueue({source, api::Removals::guarded, true, {}});
    }
  });
}

std::vector<api::FileProblem> examine_registrations(const FilesSource& source, std::uint32_t agent_uid) {
  FileRegistrations found = read_registrations(source.directory, agent_uid);
  if (found.directory == FileRegistrations::Directory::absent && source.named) {
    found.problems.push_back({source.directory, absence(0)});
  }
  return std::move(found.problems);
}

}  // namespace limpet
