#include "agent/zk/zk_client.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <cassert>
#include <chrono>
#include <random>
#include <vector>

#include "agent/zk/mailbox.h"
#include "agent/zk/resolver.h"
#include "agent/zk/trouble.h"
#include "agent/zk/zk_handle.h"

namespace limpet::zk {
namespace {

using boost::system::error_code;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// In parts of the session time-out: how long the library may search by itself while a server serves. Servers are looked
// at often enough, and a herd is spread little enough, for the session to be taken up in a fraction of its time-out
// once a server serves.
constexpr std::int64_t kPatiencePart = 5;
constexpr std::int64_t kProbePart = 10;
constexpr std::int64_t kSpreadPart = 20;
// A host that finds more than a few others at a server that has just come up gives it so much time for each of them.
constexpr std::int64_t kFew = 4;
constexpr std::int64_t kEachMs = 20;

Prober::Pace pace_of(const ZkClient::Options& options) {
  Prober::Pace pace = options.probe;
  const std::int64_t most_ms = std::max<std::int64_t>(1, options.session_timeout_ms / kProbePart);
  pace.then_ms = std::min(pace.then_ms, most_ms);
  return pace;
}

bool cannot_serve(const Verdict& verdict) {
  return verdict.state == ServerState::refuses || verdict.state == ServerState::unreachable ||
         verdict.state == ServerState::hangs_up || verdict.state == ServerState::no_quorum;
}

std::string seconds_text(std::int64_t ms) {
  const std::int64_t tenths = std::max<std::int64_t>(1, (ms + 50) / 100);
  return std::to_string(tenths / 10) + (tenths % 10 != 0 ? "." + std::to_string(tenths % 10) : "") + " s";
}

bool same_endpoints(const std::vector<Server>& a, const std::vector<Server>& b) {
  const auto sorted = [](const std::vector<Server>& servers) {
    std::vector<boost::asio::ip::tcp::endpoint> endpoints;
    for (const auto& server : servers) {
      endpoints.push_back(server.endpoint);
    }
    std::sort(endpoints.begin(), endpoints.end());
    return endpoints;
  };
  return sorted(a) == sorted(b);
}

}  // namespace

class ZkClient::Impl {
 public:
  Impl(boost::asio::io_context& io, Options options, Hosts hosts, Sink sink)
      : io_(io),
        options_(std::move(options)),
        sink_(std::move(sink)),
        mailbox_(std::make_shared<Mailbox>(io, [this](std::vector<Mail>& mail) { open_mail(mail); })),
        hosts_(std::move(hosts)),
        access_(std::make_shared<Access>(options_.access)),
        random_(options_.seed),
        retry_timer_(io),
        look_up_timer_(io),
        trouble_(io,
                 [this](bool no_quorum, std::string text) {
                   sink_(core::ZkTrouble{epoch_, no_quorum, std::move(text)});
                 }),
        prober_(io, pace_of(options_), random_(), [this](const auto& verdicts) { probed(verdicts); }),
        life_(1) {}

  ~Impl() {
    alive_ = nullptr;
    mailbox_->shut();
    let_go();
    life_.join();
  }

  void start(const core::ZkStart& start) {
    if (handle_ != nullptr) {
      let_go();
    }
    epoch_ = start.epoch;
    session_ = start.session;
    next_retry_ms_ = options_.first_retry_ms;
    patience_ms_ = options_.session_timeout_ms / kPatiencePart;
    active_hosts_ = hosts_;
    active_access_ = access_;
    make_handle();
    open_handle();
  }

  void stop(const core::ZkStop& stop) {
    if (handle_ != nullptr && stop.epoch == epoch_) {
      let_go();
    }
  }

  void send(core::ZkSend send) {
    if (handle_ == nullptr || send.epoch != epoch_) {
      return;  // that handle has gone, and its epoch with it
    }
    core::ZkReply reply;
    // Once something was not taken, nothing that comes after it is, until the next ZkConnected: it would overtake.
    connected_ = connected_ && handle_->stands(losses_);
    if (connected_) {
      reply = handle_->submit(send.op, send.request);
      if (reply.code == core::ZkCode::ok) {
        return;
      }
      connected_ = reply.code != core::ZkCode::not_sent;
    } else {
      reply.code = core::ZkCode::not_sent;
      reply.message = "not connected";
    }
    mailbox_->push({handle_->id(), nullptr, false, 0, core::ZkReplied{epoch_, send.op, std::move(reply)}});
  }

  void set_hosts(Hosts hosts) { hosts_ = std::move(hosts); }
  void set_access(Access access) { access_ = std::make_shared<Access>(std::move(access)); }

 private:
  // What the zk-life thread found out.
  struct Opened {
    Resolved resolved;
    Status status;
  };

  // Runs `then` on the core thread, unless the handle was let go of meanwhile. Called on the zk-life thread.
  template <typename Then>
  static void on_core(Impl* self, boost::asio::io_context& io, std::weak_ptr<char> alive, std::uint64_t handle,
                      Then then) {
    boost::asio::post(io, [self, alive = std::move(alive), handle, then = std::move(then)]() mutable {
      if (!alive.expired() && self->handle_ != nullptr && self->handle_->id() == handle) {
        then(*self);
      }
    });
  }

  void make_handle() {
    handle_ =
        std::make_shared<ZkHandle>(++handles_, epoch_, active_hosts_.chroot, active_access_, mailbox_, options_.log);
  }

  // Those that the prober found serving come first. Names are not looked up where the addresses are known: a slow
  // resolver would cost the session.
  void open_handle() {
    boost::asio::post(life_, [self = this, &io = io_, alive = std::weak_ptr<char>(alive_), handle = handle_,
                              hosts = active_hosts_, session = session_, timeout_ms = options_.session_timeout_ms,
                              seed = random_(), serving = serving_, known = Resolved{servers_, failures_}] {
      Opened opened{known.servers.empty() ? resolve(hosts) : known, {}};
      if (!opened.resolved.servers.empty()) {
        ZkHandle::Endpoints endpoints;
        for (const auto& server : opened.resolved.servers) {
          endpoints.push_back(server.endpoint);
        }
        std::shuffle(endpoints.begin(), endpoints.end(), std::mt19937_64(seed));
        std::stable_partition(endpoints.begin(), endpoints.end(), [&](const auto& endpoint) {
          return std::find(serving.begin(), serving.end(), endpoint) != serving.end();
        });
        opened.status = handle->open(endpoints, timeout_ms, session);
      }
      on_core(self, io, alive, handle->id(),
              [opened = std::move(opened)](Impl& impl) mutable { impl.opened(std::move(opened)); });
    });
  }

  void opened(Opened opened) {
    failures_ = std::move(opened.resolved.failures);
    if (opened.resolved.servers.empty() || !opened.status.ok()) {
      retry_later(opened);
      return;
    }
    servers_ = std::move(opened.resolved.servers);
    if (!connected_) {
      begin_search();
    }
  }

  void retry_later(const Opened& opened) {
    std::uniform_int_distribution<std::int64_t> jitter(next_retry_ms_ * 3 / 4, next_retry_ms_ * 5 / 4);
    const std::int64_t in_ms = jitter(random_);
    next_retry_ms_ = std::min(next_retry_ms_ * 2, options_.last_retry_ms);
    std::string text = opened.status.message();
    for (const auto& failure : failures_) {
      text += (text.empty() ? "" : "; ") + failure;
    }
    open_in(in_ms);
    trouble_.tell(false, text + "; trying again in " + seconds_text(in_ms));
  }

  void open_in(std::int64_t in_ms) {
    retry_timer_.expires_after(milliseconds(in_ms));
    retry_timer_.async_wait([this, id = handle_->id(), alive = std::weak_ptr<char>(alive_)](error_code error) {
      if (!error && !alive.expired() && handle_ != nullptr && handle_->id() == id) {
        open_handle();
      }
    });
  }

  // There is no connection: finds out why, and whether the servers have moved.
  void begin_search() {
    searching_since_ = Clock::now();
    prober_.start(servers_);
    look_up_later();
  }

  void end_search() {
    prober_.stop();
    look_up_timer_.cancel();
    trouble_.reset();
  }

  void probed(const std::vector<Verdict>& verdicts) {
    const auto count = [&](ServerState state) {
      return std::count_if(verdicts.begin(), verdicts.end(), [&](const auto& v) { return v.state == state; });
    };
    std::string text = describe(verdicts);
    for (const auto& failure : failures_) {
      text += "; " + failure;
    }
    steer(verdicts);
    trouble_.tell(count(ServerState::serving) == 0 && count(ServerState::no_quorum) != 0, text);
  }

  // The library tries all servers again and again without jitter, and stays with one that hangs for 2/3 of the
  // time-out. So, while no server can serve, there is no handle at all, and a new one as soon as one can; where one
  // serves and the library does not find it, a new handle that begins with that one. A new handle also has seen nothing
  // yet, which matters where the ensemble was wiped or restored from a backup: it turns away a client that has seen
  // more, and does not say more than that.
  void steer(const std::vector<Verdict>& verdicts) {
    serving_.clear();
    std::int64_t load = 0;
    for (const Verdict& verdict : verdicts) {
      if (verdict.state == ServerState::serving) {
        serving_.push_back(verdict.endpoint);
        load = std::max(load, verdict.load);
      }
    }
    const bool hopeless = std::all_of(verdicts.begin(), verdicts.end(), cannot_serve);
    if (waiting_for_servers_) {
      if (!hopeless) {
        open_after_jitter(load);
      }
    } else if (hopeless) {
      drop_handle();
      make_handle();
      waiting_for_servers_ = true;
      look_up_later();
    } else if (Clock::now() - searching_since_ >= milliseconds(patience_ms_) && !serving_.empty()) {
      drop_handle();
      make_handle();
      patience_ms_ *= 2;  // for a network so slow that a session takes longer than that to be had
      searching_since_ = Clock::now();
      open_handle();
    }
  }

  // Hosts find out at different times that a server serves, which spreads them; and more where many have come to it
  // already. Of one that does not say whether it serves, nothing is known.
  void open_after_jitter(std::int64_t load) {
    waiting_for_servers_ = false;
    searching_since_ = Clock::now();
    const std::int64_t most_ms = options_.session_timeout_ms / kSpreadPart;
    std::uniform_int_distribution<std::int64_t> spread(
        0, serving_.empty() ? most_ms : std::min(most_ms, std::max<std::int64_t>(0, load - kFew) * kEachMs));
    const std::int64_t in_ms = spread(random_);
    if (in_ms == 0) {
      open_handle();
    } else {
      open_in(in_ms);
    }
  }

  void look_up_later() {
    const std::int64_t mean_ms = options_.look_up_again_ms;
    std::uniform_int_distribution<std::int64_t> jitter(mean_ms * 3 / 4, mean_ms * 5 / 4);
    look_up_timer_.expires_after(milliseconds(jitter(random_)));
    look_up_timer_.async_wait([this, id = handle_->id(), alive = std::weak_ptr<char>(alive_)](error_code error) {
      if (error || alive.expired() || handle_ == nullptr || handle_->id() != id || connected_) {
        return;
      }
      boost::asio::post(life_, [this, &io = io_, alive, id, hosts = active_hosts_] {
        on_core(this, io, alive, id,
                [resolved = resolve(hosts)](Impl& impl) mutable { impl.looked_up(std::move(resolved)); });
      });
    });
  }

  void looked_up(Resolved resolved) {
    if (connected_) {
      return;
    }
    failures_ = std::move(resolved.failures);
    look_up_later();
    // A resolver that fails is no reason to forget where the servers were.
    if (failures_.empty() && !same_endpoints(resolved.servers, servers_)) {
      servers_ = std::move(resolved.servers);
      sink_(core::ServersChanged{});
    }
  }

  void open_mail(std::vector<Mail>& mail) {
    for (auto& item : mail) {
      // The sink may stop and start, and with that change the handle, at each event.
      if (handle_ != nullptr && handle_->id() == item.handle) {
        open_one(item);
      }
    }
  }

  void open_one(Mail& item) {
    if (item.request != nullptr) {
      handle_->release(item.request);
    }
    if (item.internal) {
      return;
    }
    if (const auto* connected = std::get_if<core::ZkConnected>(&item.event)) {
      connected_ = true;
      losses_ = item.losses;
      session_ = connected->session;
      patience_ms_ = options_.session_timeout_ms / kPatiencePart;
      end_search();
      handle_->create_chroot();
    } else if (std::holds_alternative<core::ZkDisconnected>(item.event)) {
      connected_ = false;
      begin_search();
    } else if (std::holds_alternative<core::ZkExpired>(item.event) ||
               std::holds_alternative<core::ZkAuthFailed>(item.event)) {
      connected_ = false;
      end_search();
    } else if (const auto* replied = std::get_if<core::ZkReplied>(&item.event)) {
      // Somebody has deleted the chroot: it is there again before the next try.
      if (replied->reply.code == core::ZkCode::no_node && connected_ && !active_hosts_.chroot.empty()) {
        handle_->create_chroot();
      }
    }
    sink_(std::move(item.event));
  }

  void let_go() {
    end_search();
    retry_timer_.cancel();
    connected_ = false;
    servers_.clear();
    serving_.clear();
    failures_.clear();
    waiting_for_servers_ = false;
    if (handle_ != nullptr) {
      drop_handle();
    }
  }

  void drop_handle() {
    boost::asio::post(life_, [handle = std::move(handle_)] {
      if (!handle->detach()) {
        new std::shared_ptr<ZkHandle>(handle);
      }
    });
    handle_ = nullptr;
  }

  // Constant.
  boost::asio::io_context& io_;
  const Options options_;
  const Sink sink_;
  const std::shared_ptr<Mailbox> mailbox_;

  // Core thread only.
  std::shared_ptr<char> alive_ = std::make_shared<char>();  // for those who come late
  Hosts hosts_;                                             // for the next start
  std::shared_ptr<const Access> access_;                    // for the next start
  Hosts active_hosts_;
  std::shared_ptr<const Access> active_access_;
  std::mt19937_64 random_;
  core::Epoch epoch_;
  std::optional<Session> session_;
  std::shared_ptr<ZkHandle> handle_;
  std::uint64_t handles_ = 0;
  bool connected_ = false;    // and nothing sent since was turned away
  std::uint64_t losses_ = 0;  // as of the last ZkConnected
  std::int64_t next_retry_ms_ = 0;
  std::vector<Server> servers_;
  std::vector<std::string> failures_;
  std::vector<boost::asio::ip::tcp::endpoint> serving_;  // as of the prober's last round
  Clock::time_point searching_since_;
  std::int64_t patience_ms_ = 0;      // how long the library may search by itself
  bool waiting_for_servers_ = false;  // the handle is not opened before one of them can serve
  boost::asio::steady_timer retry_timer_;
  boost::asio::steady_timer look_up_timer_;
  Trouble trouble_;
  Prober prober_;

  boost::asio::thread_pool life_;  // last: its tasks use what stands above
};

ZkClient::ZkClient(boost::asio::io_context& io, Options options, Sink sink) {
  auto hosts = parse_hosts(options.hosts);
  assert(hosts.ok());
  impl_ = std::make_unique<Impl>(io, std::move(options), std::move(hosts.value()), std::move(sink));
}

ZkClient::~ZkClient() = default;

void ZkClient::start(const core::ZkStart& start) {
  impl_->start(start);
}

void ZkClient::stop(const core::ZkStop& stop) {
  impl_->stop(stop);
}

void ZkClient::send(core::ZkSend request) {
  impl_->send(std::move(request));
}

Status ZkClient::set_servers(const std::string& hosts) {
  auto parsed = parse_hosts(hosts);
  if (!parsed) {
    return parsed.status();
  }
  impl_->set_hosts(std::move(parsed.value()));
  return {};
}

void ZkClient::set_access(Access access) {
  impl_->set_access(std::move(access));
}

}  // namespace limpet::zk
