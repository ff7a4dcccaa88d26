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

// Servers that serve for this long, and still no session: then the handle is at fault. Three times the time-out lets
// the library try a server that hangs, and two more.
constexpr std::int64_t kFruitlessTimeouts = 3;
constexpr std::int64_t kFruitlessAtLeastMs = 5000;

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
        random_(options_.seed),
        retry_timer_(io),
        look_up_timer_(io),
        trouble_(io,
                 [this](bool no_quorum, std::string text) {
                   sink_(core::ZkTrouble{epoch_, no_quorum, std::move(text)});
                 }),
        prober_(io, options_.probe, random_(), [this](const auto& verdicts) { probed(verdicts); }),
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
    handle_ = std::make_shared<ZkHandle>(++handles_, epoch_, hosts_.chroot, mailbox_, options_.log);
    active_hosts_ = hosts_;
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

  void open_handle() {
    boost::asio::post(
        life_, [self = this, &io = io_, alive = std::weak_ptr<char>(alive_), handle = handle_, hosts = active_hosts_,
                session = session_, timeout_ms = options_.session_timeout_ms, seed = random_()] {
          Opened opened{resolve(hosts), {}};
          if (!opened.resolved.servers.empty()) {
            ZkHandle::Endpoints endpoints;
            for (const auto& server : opened.resolved.servers) {
              endpoints.push_back(server.endpoint);
            }
            std::shuffle(endpoints.begin(), endpoints.end(), std::mt19937_64(seed));
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
    retry_timer_.expires_after(milliseconds(in_ms));
    retry_timer_.async_wait([this, id = handle_->id(), alive = std::weak_ptr<char>(alive_)](error_code error) {
      if (!error && !alive.expired() && handle_ != nullptr && handle_->id() == id) {
        open_handle();
      }
    });
    trouble_.tell(false, text + "; trying again in " + seconds_text(in_ms));
  }

  // There is no connection: finds out why, and whether the servers have moved.
  void begin_search() {
    serving_since_ = std::nullopt;
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
    const bool serving = count(ServerState::serving) != 0;
    const bool fruitless = serving && serves_in_vain();
    if (!serving) {
      serving_since_ = std::nullopt;
    }
    trouble_.tell(!serving && count(ServerState::no_quorum) != 0, text);
    if (fruitless) {
      sink_(core::ServersChanged{});
    }
  }

  // True when servers have served for long without a session for us; once in that time.
  bool serves_in_vain() {
    const auto now = Clock::now();
    const std::int64_t limit_ms =
        std::max(kFruitlessTimeouts * std::int64_t{options_.session_timeout_ms}, kFruitlessAtLeastMs);
    if (serving_since_ && now - *serving_since_ < milliseconds(limit_ms)) {
      return false;
    }
    return std::exchange(serving_since_, now).has_value();
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
    failures_.clear();
    if (handle_ == nullptr) {
      return;
    }
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
  Hosts active_hosts_;
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
  std::optional<Clock::time_point> serving_since_;
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

}  // namespace limpet::zk
