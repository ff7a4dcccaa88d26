#include "tests/api/fake_service.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <tuple>

#include "storage/history_page.h"

namespace limpet::api {
namespace {

constexpr SessionId kSession{0x10000000abc};

}  // namespace

namespace {

// One write at a time; a transaction is only what has to be one.
core::Options one_by_one(core::Options options) {
  options.batch = 1;
  return options;
}

}  // namespace

FakeService::FakeService(boost::asio::io_context& io, core::Options options)
    : io_(io), core_(one_by_one(std::move(options)), {}) {
  checks_.command_checks = true;
  step(core::Started{});
}

void FakeService::serve() {
  serving_ = true;
  limpet::Session session;
  session.id = kSession;
  session.timeout_ms = 10'000;
  step(core::ZkConnected{epoch_, session, "127.0.0.1:2181"});
}

void FakeService::release_disk() {
  disk_held_ = false;
  for (const std::uint64_t ticket : std::exchange(held_tickets_, {})) {
    step(core::Persisted{ticket, disk_});
  }
}

void FakeService::submit(core::Caller caller, std::vector<core::ChangeRequest> changes, ChangeDone done) {
  step_later(core::Submit{add_caller(caller, std::move(done)), caller, std::move(changes)});
}

void FakeService::leave(core::Caller caller, ChangeDone done) {
  step_later(core::Leave{add_caller(caller, std::move(done)), caller});
}

core::Token FakeService::add_caller(const core::Caller& caller, ChangeDone done) {
  last_caller_ = caller;
  const core::Token token{++last_token_};
  callers_[token] = std::move(done);
  return token;
}

void FakeService::heartbeat(core::Caller caller, RegistrationId id, ChangeDone done) {
  step_later(core::Heartbeat{add_caller(caller, std::move(done)), caller, std::move(id)});
}

void FakeService::set_maintenance(core::Caller caller, std::optional<RegistrationId> id,
                                  std::optional<std::string> reason, ChangeDone done) {
  step_later(core::SetMaintenance{add_caller(caller, std::move(done)), caller, std::move(id), std::move(reason)});
}

void FakeService::prune(core::Prune prune, PruneDone done) {
  prune.token = core::Token{++last_prune_};
  prunes_.emplace(prune.token, std::move(done));
  step_later(std::move(prune));
}

std::variant<ProcessId, core::Problem> FakeService::find_process(std::int32_t pid, const core::Caller& /*caller*/) {
  ++lookups_;
  if (ended_.contains(pid)) {
    core::Problem problem;
    problem.detail = "names a process that has ended";
    return problem;
  }
  return ProcessId{pid, process_start_ticks_, "this-boot"};
}

void FakeService::connection_closed(core::ConnectionId connection) {
  closed_.push_back(connection);
  step_later(core::ConnectionClosed{connection});
}

void FakeService::record(HistoryEntry entry) {
  history_.push_back(entry);
  const auto listeners = listeners_;
  for (const auto& [number, listener] : listeners) {
    listener(entry);
  }
}

void FakeService::forget_history(std::uint64_t through) {
  while (!history_.empty() && history_.front().event <= through) {
    history_.pop_front();
  }
}

void FakeService::release_history() {
  history_held_ = false;
  for (auto& read : std::exchange(held_reads_, {})) {
    read();
  }
}

void FakeService::history(HistoryQuery query, HistoryDone done) {
  history_queries_.push_back(query);
  auto read = [this, query = std::move(query), done = std::move(done)] { done(read_history(query)); };
  if (history_held_) {
    held_reads_.emplace_back(std::move(read));
  } else {
    boost::asio::post(io_, std::move(read));
  }
}

Result<HistoryPage> FakeService::read_history(const HistoryQuery& query) const {
  if (!disk_.ok()) {
    return disk_;
  }
  HistoryPageBuilder builder(query);
  const auto offer = [&](const HistoryEntry& entry) {
    const bool before = query.before_event == 0 || entry.event < query.before_event;
    return (query.newest_first ? !before : entry.event <= query.after_event) || builder.offer(entry);
  };
  std::ignore = query.newest_first ? std::all_of(history_.rbegin(), history_.rend(), offer)
                                   : std::all_of(history_.begin(), history_.end(), offer);
  HistoryPage page = builder.finish();
  page.oldest_event = history_.empty() ? 0 : history_.front().event;
  return page;
}

std::uint64_t FakeService::listen(HistoryListener listener) {
  listeners_[++last_listener_] = std::move(listener);
  return last_listener_;
}

void FakeService::reload(Removals removals, ReloadDone done) {
  last_removals = removals;
  boost::asio::post(io_, [this, done = std::move(done)] { done(reload_result); });
}

void FakeService::wait_settled(std::vector<std::pair<RegistrationId, Seq>> what, std::chrono::milliseconds timeout,
                               WaitDone done) {
  const std::uint64_t number = ++last_wait_;
  const auto wait = waits_.try_emplace(number, std::move(what), boost::asio::steady_timer(io_), std::move(done)).first;
  wait->second.timer.expires_after(timeout);
  // By its number: a timer that has run out may be settled before its turn comes.
  wait->second.timer.async_wait([this, number](const boost::system::error_code& error) {
    if (auto node = waits_.extract(error ? 0 : number)) {
      node.mapped().done(false);
    }
  });
  boost::asio::post(io_, [this] { check_waits(); });
}

void FakeService::step_later(core::Event event) {
  boost::asio::post(io_, [this, event = std::move(event)]() mutable { step(std::move(event)); });
}

void FakeService::step(core::Event event) {
  core::Actions actions;
  core_.step(std::move(event), now(), actions);
  for (core::Action& action : actions) {
    carry_out(std::move(action));
  }
  check_waits();
}

void FakeService::carry_out(core::Action action) {
  if (const auto* persist = std::get_if<core::Persist>(&action)) {
    if (disk_held_) {
      held_tickets_.push_back(persist->ticket);
    } else {
      step_later(core::Persisted{persist->ticket, disk_});
    }
  } else if (auto* reply = std::get_if<core::Reply>(&action)) {
    const auto caller = callers_.extract(reply->token);
    caller.mapped()(std::move(reply->result));
  } else if (auto* pruned = std::get_if<core::Pruned>(&action)) {
    prunes_.extract(pruned->token).mapped()(std::move(pruned->result));
  } else if (auto* recorded = std::get_if<core::Recorded>(&action)) {
    record(std::move(recorded->entry));
  } else if (const auto* start = std::get_if<core::ZkStart>(&action)) {
    epoch_ = start->epoch;
  } else if (const auto* send = std::get_if<core::ZkSend>(&action)) {
    step_later(core::ZkReplied{send->epoch, send->op, reply_to(send->request)});
  }
}

core::ZkReply FakeService::reply_to(const core::ZkRequest& request) {
  const auto failed = [](core::ZkCode code) {
    core::ZkReply reply;
    reply.code = code;
    return reply;
  };
  if (request.verb == core::ZkVerb::transaction) {
    return reply_to_all(request.batch);
  }
  const auto found = znodes_.find(request.path);
  switch (request.verb) {
    case core::ZkVerb::sync:
      return {};
    case core::ZkVerb::create:
    case core::ZkVerb::create_parent: {
      if (found != znodes_.end()) {
        return failed(core::ZkCode::node_exists);
      }
      const Zxid zxid{++last_zxid_};
      const SessionId owner = request.verb == core::ZkVerb::create ? kSession : SessionId{};
      const Znode& made = znodes_[request.path] = {request.data, {zxid, zxid, 0, owner}};
      return {core::ZkCode::ok, made.stat, {}, {}};
    }
    default:
      break;
  }
  if (found == znodes_.end()) {
    return failed(core::ZkCode::no_node);
  }
  Znode& znode = found->second;
  core::ZkReply reply{core::ZkCode::ok, znode.stat, znode.data, {}};
  if (request.verb == core::ZkVerb::remove) {
    znodes_.erase(found);
  } else if (request.verb == core::ZkVerb::set) {
    znode.data = request.data;
    znode.stat.mzxid = Zxid{++last_zxid_};
    ++znode.stat.version;
    return {core::ZkCode::ok, znode.stat, {}, {}};
  }
  return reply;
}

// All of them, or nothing.
core::ZkReply FakeService::reply_to_all(const std::vector<core::ZkRequest>& requests) {
  const auto before = znodes_;
  core::ZkReply all;
  for (const core::ZkRequest& request : requests) {
    all.batch.push_back(reply_to(request));
    all.code = all.batch.back().code;
    if (all.code != core::ZkCode::ok) {
      const core::ZkReply refusal = all.batch.back();
      core::ZkReply not_executed;
      not_executed.code = core::ZkCode::throttled;
      all.batch.assign(requests.size(), not_executed);
      all.batch[static_cast<std::size_t>(&request - requests.data())] = refusal;
      znodes_ = before;
      break;
    }
  }
  return all;
}

bool FakeService::settled(const Wait& wait) const {
  return std::all_of(wait.what.begin(), wait.what.end(),
                     [this](const auto& one) { return core_.settled(one.first, one.second); });
}

void FakeService::check_waits() {
  for (auto wait = waits_.begin(); wait != waits_.end();) {
    if (!settled(wait->second)) {
      ++wait;
      continue;
    }
    boost::asio::post(io_, [done = std::move(wait->second.done)] { done(true); });
    wait = waits_.erase(wait);
  }
}

}  // namespace limpet::api
