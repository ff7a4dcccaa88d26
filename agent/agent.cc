#include "agent/agent.h"

#include <unistd.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <chrono>
#include <utility>

#include "agent/agent_options.h"
#include "agent/log.h"
#include "storage/overloaded.h"

namespace limpet {

namespace {

WallMs wall_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::int64_t steady_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

LogLevel level_of(core::Note::Level level) {
  switch (level) {
    case core::Note::Level::debug:
      return LogLevel::debug;
    case core::Note::Level::info:
      return LogLevel::info;
    case core::Note::Level::warn:
      return LogLevel::warn;
    case core::Note::Level::error:
      return LogLevel::error;
  }
  return LogLevel::info;
}

}  // namespace

Agent::Agent(boost::asio::io_context& io, const Config& config, ConfigSource source, std::unique_ptr<RocksStore> store,
             StoredState stored)
    : io_(io),
      started_at_(wall_ms()),
      config_source_(std::move(source)),
      config_(config),
      store_(std::move(store)),
      mailbox_(io),
      core_(core_options(config), std::move(stored)),
      zookeeper_(io, zookeeper_options(config), [this](core::Event event) { feed(std::move(event)); }),
      check_policy_(limpet::check_policy(config)),
      liveness_(io, [this](core::Event event) { feed(std::move(event)); }),
      tick_(io),
      reopen_timer_(io),
      space_timer_(io),
      registrations_dir_(
          io, *this, [this](auto work, auto then) { in_background(std::move(work), std::move(then)); },
          config.data_dir + "/registrations.d.json"),
      files_status_(std::make_shared<const api::FilesStatus>(api::FilesStatus{config.registrations_dir, 0, 0, {}})),
      idle_trim_(io) {
  registrations_dir_.when_done(
      [this](const api::FilesReport& report, bool again) { note_registration_files(report, again); });
  liveness_.set_policy(check_policy_);
}

Agent::~Agent() = default;

Status Agent::start(int listen_fd) {
  api::ServerOptions options = server_options(config_);
  options.listen_fd = listen_fd;
  options.socket_lost = [this](const Status& status) {
    const std::string socket = "socket=" + log_value(config_.socket);
    if (status.ok()) {
      log(LogLevel::warn, "socket_bound_anew",
          socket + " meaning=\"its file had been removed or replaced, and nobody could connect\"");
    } else {
      log(LogLevel::error, "socket_lost",
          socket + " error=" + quoted_value(status.message()) +
              " meaning=\"its file has been removed or replaced: nobody can connect until it can be bound anew\"");
    }
  };
  server_ = std::make_unique<api::Server>(io_, *this, std::move(options));
  if (Status status = server_->start(); !status.ok()) {
    return status;
  }
  commit_ = std::make_unique<GroupCommit>(*store_, [this](std::uint64_t through, Status status) {
    mailbox_.leave([this, through, status = std::move(status)]() mutable {
      feed(core::Persisted{through, std::move(status)});
    });
  });
  history_reads_ = std::make_unique<HistoryReads>(io_, *store_, mailbox_);
  background_ = std::make_unique<Worker>("background");
  idle_trim_.worked(IdleTrim::kBurst);  // to load what is stored is one
  feed(core::Started{});
  free_bytes_ = free_bytes(config_.data_dir);
  bytes_on_disk_ = store_->bytes_on_disk();
  if (store_->low_on_space()) {
    feed(core::SpaceChanged{true});
    watch_space();
  }
  log_policy_gaps(config_);
  apply_registration_files(api::Removals::guarded, {});
  return Status();
}

void Agent::stop(std::function<void()> stopped) {
  accepting_ = false;
  while (!waiters_.empty()) {
    finish_waiter(waiters_.begin()->first, false);
  }
  server_->stop([this, stopped = std::move(stopped)] {
    liveness_.stop();
    idle_trim_.stop();
    feed(core::Stopping{});
    // Joins the commit thread: what was accepted meanwhile is on disk when this returns.
    commit();
    commit_.reset();
    stopped();
  });
}

// ---- The loop of events and actions

void Agent::feed(core::Event&& event) {
  if (commit_ == nullptr) {
    return;  // stopped: what still comes changes nothing
  }
  if (stepping_) {
    backlog_.push_back(std::move(event));
    return;
  }
  stepping_ = true;
  idle_trim_.worked(1);
  core_.step(std::move(event), now(), actions_);
  carry_out(actions_);
  while (!backlog_.empty()) {
    core::Event next = std::move(backlog_.front());
    backlog_.pop_front();
    core_.step(std::move(next), now(), actions_);
    carry_out(actions_);
  }
  if (constexpr std::size_t kKept = 1'024; actions_.capacity() > kKept) {
    actions_ = core::Actions();
  }
  stepping_ = false;
  if (std::exchange(something_changed_, false)) {
    if (!waiters_.empty()) {
      check_waiters();
    }
    if (changed_) {
      changed_();
    }
  }
}

void Agent::carry_out(core::Actions& actions) {
  for (core::Action& action : actions) {
    carry_out(action);
  }
  actions.clear();
}

void Agent::carry_out(core::Action& action) {
  std::visit(Overloaded{
                 [&](core::Persist& persist) { gather(std::move(persist)); },
                 [&](core::ReopenStore& reopen) { reopen_store(reopen.delay_ms); },
                 [&](core::Reply& answer) { reply(std::move(answer)); },
                 [&](core::Pruned& pruned) { reply(std::move(pruned)); },
                 [&](core::ZkStart& start) { zookeeper_.start(start); },
                 [&](core::ZkStop& stop) { zookeeper_.stop(stop); },
                 [&](core::ZkSend& send) {
                   ++counters_.zookeeper_requests;
                   zookeeper_.send(std::move(send));
                 },
                 [&](core::SetTimer& timer) { set_timer(timer.at_steady_ms); },
                 [&](core::Note& note) { log(level_of(note.level), note.what, note.detail); },
                 [&](core::Changed&) { something_changed_ = true; },
                 [&](core::Watch& watch) { liveness_.watch(watch); },
                 [&](core::Unwatch& unwatch) { liveness_.unwatch(unwatch); },
                 [&](core::VoidFailure& failure) { liveness_.void_failure(failure); },
                 [&](core::Recheck& recheck) { liveness_.recheck(recheck); },
                 [&](core::Recorded& recorded) { tell(recorded.entry); },
             },
             action);
}

// One append and one fsync for everybody who asks at the same time: what the sockets hold is read first, as long as
// each pass of the event loop brings more. But not for longer than a part of what an append takes, because disk and
// processor work side by side: measured, a quarter is best for many callers and large batches, and no worse for others.
// Where every caller waits already, nothing more can come.
void Agent::gather(core::Persist&& persist) {
  constexpr int kPartOfAnAppend = 4;
  const auto now = std::chrono::steady_clock::now();
  if (gathered_.empty()) {
    gathering_since_ = now;
  }
  idle_trim_.worked(persist.batch.changes.size());
  gathered_.emplace_back(persist.ticket, std::move(persist.batch), persist.sync);
  const bool enough = now - gathering_since_ >= commit_->append_time() / kPartOfAnAppend;
  if (enough || (persist.sync && server_->everybody_waits())) {
    return commit_->submit(gathered_);
  }
  if (gathered_.size() == 1) {
    boost::asio::post(io_, [this] { hand_over_when_quiet(0); });
  }
}

void Agent::hand_over_when_quiet(std::size_t before) {
  const std::size_t now = gathered_.size();
  if (commit_ == nullptr || now == 0) {
    return;
  }
  if (now == before) {
    return commit_->submit(gathered_);
  }
  boost::asio::post(io_, [this, now] { hand_over_when_quiet(now); });
}

// For everything else that is done in its turn: after what was gathered.
GroupCommit& Agent::commit() {
  if (!gathered_.empty()) {
    commit_->submit(gathered_);
  }
  return *commit_;
}

void Agent::reply(core::Reply&& reply) {
  const auto it = replies_.find(reply.token.value);
  ChangeDone done = std::move(it->second);
  replies_.erase(it);
  if (from_service_) {
    boost::asio::post(
        io_, [done = std::move(done), result = std::move(reply.result)]() mutable { done(std::move(result)); });
  } else {
    done(std::move(reply.result));
  }
}

void Agent::reply(core::Pruned&& pruned) {
  auto found = prunes_.extract(pruned.token.value);
  boost::asio::post(io_, [done = std::move(found.mapped()), result = std::move(pruned.result)]() mutable {
    done(std::move(result));
  });
}

void Agent::tell(const HistoryEntry& entry) {
  ++counters_.happened.at(static_cast<std::size_t>(entry.what));
  // One that is told may stop listening, itself or others.
  for (auto it = listeners_.begin(); it != listeners_.end();) {
    const std::uint64_t key = it->first;
    const HistoryListener listener = it->second;
    listener(entry);
    it = listeners_.upper_bound(key);
  }
}

void Agent::reopen_store(std::int64_t delay_ms) {
  reopen_timer_.expires_after(std::chrono::milliseconds(delay_ms));
  reopen_timer_.async_wait([this](boost::system::error_code error) {
    if (error || commit_ == nullptr) {
      return;
    }
    commit().reopen([this](Result<StoredState> loaded) {
      mailbox_.leave([this, loaded = std::make_shared<Result<StoredState>>(std::move(loaded))] {
        if (loaded->ok()) {
          const bool low = store_->low_on_space();
          feed(core::StoreReopened{Status(), std::move(**loaded), low});
          if (low) {
            watch_space();
          }
        } else {
          feed(core::StoreReopened{loaded->status(), {}});
        }
      });
    });
  });
}

// Looks from time to time whether the disk has room again.
void Agent::watch_space() {
  constexpr std::chrono::seconds kBetweenLooks(2);
  space_timer_.expires_after(kBetweenLooks);
  space_timer_.async_wait([this](boost::system::error_code error) {
    if (error || commit_ == nullptr) {
      return;
    }
    commit().check_space([this](bool low) {
      mailbox_.leave([this, low] {
        feed(core::SpaceChanged{low});
        if (low) {
          watch_space();
        }
      });
    });
  });
}

void Agent::set_timer(std::int64_t at_steady_ms) {
  tick_.expires_at(std::chrono::steady_clock::time_point(std::chrono::milliseconds(at_steady_ms)));
  tick_.async_wait([this](boost::system::error_code error) {
    if (!error) {
      feed(core::Tick{});
    }
  });
}

// ---- api::Service

core::Token Agent::expect_reply(ChangeDone done) {
  const core::Token token{next_token_++};
  replies_.emplace(token.value, std::move(done));
  return token;
}

// What a caller asks for: it is not answered from within its own call.
void Agent::ask(core::Event&& event) {
  const bool before = std::exchange(from_service_, true);
  feed(std::move(event));
  from_service_ = before;
}

void Agent::submit(core::Caller caller, std::vector<core::ChangeRequest> changes, ChangeDone done) {
  ask(core::Submit{expect_reply(std::move(done)), std::move(caller), std::move(changes)});
}

void Agent::leave(core::Caller caller, ChangeDone done) {
  ask(core::Leave{expect_reply(std::move(done)), std::move(caller)});
}

void Agent::heartbeat(core::Caller caller, RegistrationId id, ChangeDone done) {
  ++counters_.heartbeats;
  ask(core::Heartbeat{expect_reply(std::move(done)), std::move(caller), std::move(id)});
}

void Agent::set_maintenance(core::Caller caller, std::optional<RegistrationId> id, std::optional<std::string> reason,
                            ChangeDone done) {
  ask(core::SetMaintenance{expect_reply(std::move(done)), std::move(caller), std::move(id), std::move(reason)});
}

void Agent::prune(core::Prune prune, PruneDone done) {
  prune.token = core::Token{next_token_++};
  prunes_.emplace(prune.token.value, std::move(done));
  ask(std::move(prune));
}

std::variant<ProcessId, core::Problem> Agent::find_process(std::int32_t pid, const core::Caller& caller) {
  auto found = liveness::find_process(pid, caller.owner.uid, caller.privileged);
  if (found.ok()) {
    return *std::move(found);
  }
  return core::Problem{core::ProblemCode::invalid, found.status().message(), "/pid", 0};
}

void Agent::connection_closed(core::ConnectionId connection) {
  ask(core::ConnectionClosed{connection});
}

void Agent::history(HistoryQuery query, HistoryDone done) {
  if (commit_ == nullptr) {
    return;  // stopped: nobody is answered any more
  }
  history_reads_->read(std::move(query), std::move(done));
}

std::uint64_t Agent::listen(HistoryListener listener) {
  listeners_.emplace(next_listener_, std::move(listener));
  return next_listener_++;
}

void Agent::stop_listening(std::uint64_t listener) {
  listeners_.erase(listener);
}

core::Now Agent::now() const {
  return core::Now{steady_ms(), wall_ms(), liveness::asleep_ms()};
}

api::ProcessInfo Agent::process_info() {
  look_at_disk();
  api::ProcessInfo info{LIMPET_VERSION, ::getpid(), started_at_, bytes_on_disk_};
  for (zk::NamedServer& server : zookeeper_.servers()) {
    info.zookeeper_servers.push_back({std::move(server.name), std::move(server.addresses), std::move(server.error)});
  }
  info.files = files_status_;
  const liveness::CheckSchedule::Stats checks = liveness_.checks();
  info.checks = {checks.passing, checks.failing, checks.late};
  return info;
}

void Agent::wait_settled(std::vector<std::pair<RegistrationId, Seq>> what, std::chrono::milliseconds timeout,
                         WaitDone done) {
  const std::uint64_t id = next_waiter_++;
  auto waiter =
      std::make_unique<Waiter>(Waiter{std::move(what), std::move(done), boost::asio::steady_timer(io_, timeout)});
  waiter->timer.async_wait([this, id](boost::system::error_code error) {
    if (!error) {
      finish_waiter(id, false);
    }
  });
  waiters_.emplace(id, std::move(waiter));
  boost::asio::post(io_, [this] { check_waiters(); });
}

void Agent::check_waiters() {
  std::vector<std::uint64_t> settled;
  for (auto& [id, waiter] : waiters_) {
    auto& what = waiter->what;
    while (!what.empty() && core_.settled(what.back().first, what.back().second)) {
      what.pop_back();
    }
    if (what.empty()) {
      settled.push_back(id);
    }
  }
  for (const std::uint64_t id : settled) {
    finish_waiter(id, true);
  }
}

void Agent::finish_waiter(std::uint64_t id, bool settled) {
  const auto it = waiters_.find(id);
  if (it == waiters_.end()) {
    return;
  }
  const std::unique_ptr<Waiter> waiter = std::move(it->second);
  waiters_.erase(it);
  waiter->timer.cancel();
  waiter->done(settled);
}

}  // namespace limpet
