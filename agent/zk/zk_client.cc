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
// While there is no connection, names are looked up once in such a part of the session time-out, within bounds: servers
// that move must be found before it is over. At first after a random while, for the sake of the name servers.
constexpr std::int64_t kLookUpPart = 5;
constexpr std::int64_t kShortestLookUpMs = 1'000;
constexpr std::int64_t kLongestLookUpMs = 10'000;
constexpr std::int64_t kFirstLookUpPart = 10;
constexpr std::int64_t kLongestFirstLookUpMs = 1'000;
// At the start: how long the other names are waited for once an address is known.
constexpr std::int64_t kGatherMs = 200;
// Servers that seem to serve and give no session are left alone for such a part of the time that the search has taken.
constexpr std::int64_t kRestPart = 10;
constexpr std::int64_t kShortestRestMs = 500;
constexpr std::int64_t kLongestRestMs = 30'000;
constexpr std::uint64_t kFewestTries = 6;
// A host that finds more than a few others at a server that has just come up gives it so much time for each of them.
constexpr std::int64_t kFew = 4;
constexpr std::int64_t kEachMs = 20;

Prober::Pace pace_of(const ZkClient::Options& options) {
  Prober::Pace pace = options.probe;
  const std::int64_t most_ms = std::max<std::int64_t>(1, options.session_timeout_ms / kProbePart);
  pace.then_ms = std::min(pace.then_ms, most_ms);
  return pace;
}

std::string joined(const std::vector<std::string>& texts) {
  std::string all;
  for (const std::string& text : texts) {
    all += (all.empty() ? "" : "; ") + text;
  }
  return all;
}

std::string seconds_text(std::int64_t ms) {
  const std::int64_t tenths = std::max<std::int64_t>(1, (ms + 50) / 100);
  return std::to_string(tenths / 10) + (tenths % 10 != 0 ? "." + std::to_string(tenths % 10) : "") + " s";
}

using Endpoints = ZkHandle::Endpoints;

Endpoints endpoints_of(const std::vector<Server>& servers) {
  Endpoints endpoints;
  for (const Server& server : servers) {
    endpoints.push_back(server.endpoint);
  }
  return endpoints;
}

bool contains(const Endpoints& endpoints, const Endpoints::value_type& endpoint) {
  return std::find(endpoints.begin(), endpoints.end(), endpoint) != endpoints.end();
}

bool same(Endpoints a, Endpoints b) {
  std::sort(a.begin(), a.end());
  std::sort(b.begin(), b.end());
  return a == b;
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
        book_(io, [this] { looked_up(); }),
        retry_timer_(io),
        look_up_timer_(io),
        trouble_(io,
                 [this](bool no_quorum, std::string text) {
                   sink_(core::ZkTrouble{epoch_, no_quorum, std::move(text)});
                 }),
        prober_(io, pace_of(options_), random_(), [this](const auto& verdicts) { probed(verdicts); }),
        life_(1) {
    book_.use(hosts_);
  }

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
    book_.use(active_hosts_);
    make_handle();
    // Known addresses are used at once: a slow name server would cost the session.
    if (book_.servers().empty()) {
      stage_ = Stage::unresolved;
    } else {
      open_handle();
    }
    look_up_in(0);
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
  std::vector<NamedServer> servers() const { return book_.names(); }

 private:
  enum class Stage {
    idle,        // there is no handle
    unresolved,  // the handle is not open: no server's address is known
    gathering,   // nor is it here: some addresses are known, and the others are waited for a moment
    waiting,     // nor here: no server can serve
    resting,     // nor here: it is opened when retry_timer_ fires
    open,        // the library searches, or is connected
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

  std::int64_t jittered(std::int64_t mean_ms) {
    return std::uniform_int_distribution<std::int64_t>(mean_ms * 3 / 4, mean_ms * 5 / 4)(random_);
  }
  std::int64_t up_to(std::int64_t most_ms) { return std::uniform_int_distribution<std::int64_t>(0, most_ms)(random_); }

  // ---- The handle

  void make_handle() {
    handle_ =
        std::make_shared<ZkHandle>(++handles_, epoch_, active_hosts_.chroot, active_access_, mailbox_, options_.log);
  }

  // Servers that the prober found serving come first, servers with an absurd answer come last.
  void open_handle() {
    retry_timer_.cancel();
    stage_ = Stage::open;
    servers_ = book_.servers();
    opened_ = endpoints_of(servers_);
    tries_began_ = 0;
    searching_since_ = Clock::now();
    Endpoints endpoints = opened_;
    std::shuffle(endpoints.begin(), endpoints.end(), std::mt19937_64(random_()));
    std::stable_partition(endpoints.begin(), endpoints.end(), [&](const auto& one) { return contains(serving_, one); });
    std::stable_partition(endpoints.begin(), endpoints.end(), [&](const auto& one) { return !contains(absurd_, one); });
    boost::asio::post(life_, [self = this, &io = io_, alive = std::weak_ptr<char>(alive_), handle = handle_,
                              session = session_, timeout_ms = options_.session_timeout_ms, endpoints] {
      on_core(self, io, alive, handle->id(),
              [status = handle->open(endpoints, timeout_ms, session)](Impl& impl) { impl.opened(status); });
    });
  }

  void opened(const Status& status) {
    if (!status.ok()) {
      const std::int64_t in_ms = next_retry_in_ms();
      open_in(in_ms);
      trouble_.tell(false, status.message() + "; trying again in " + seconds_text(in_ms));
    } else if (!connected_) {
      begin_search();
    }
  }

  std::int64_t next_retry_in_ms() {
    const std::int64_t mean_ms = next_retry_ms_;
    next_retry_ms_ = std::min(next_retry_ms_ * 2, options_.last_retry_ms);
    return jittered(mean_ms);
  }

  // Unless the handle is let go of before. `meanwhile`: resting or gathering.
  void open_in(std::int64_t in_ms, Stage meanwhile = Stage::resting) {
    stage_ = meanwhile;
    retry_timer_.expires_after(milliseconds(in_ms));
    retry_timer_.async_wait([this, id = handle_->id(), alive = std::weak_ptr<char>(alive_)](error_code error) {
      if (!error && !alive.expired() && handle_ != nullptr && handle_->id() == id) {
        open_handle();
      }
    });
  }

  void let_go() {
    end_search();
    look_up_timer_.cancel();
    retry_timer_.cancel();
    connected_ = false;
    serving_.clear();
    stage_ = Stage::idle;
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

  // A new one, not open yet, for the same session.
  void replace_handle() {
    drop_handle();
    make_handle();
  }

  // ---- Addresses

  // Once after a while, and then again and again. Not bound to one handle: where these come and go, names are looked up
  // all the same.
  void look_up_in(std::int64_t in_ms) {
    if (!book_.has_names()) {
      return;
    }
    look_up_timer_.expires_after(milliseconds(in_ms));
    look_up_timer_.async_wait([this, alive = std::weak_ptr<char>(alive_)](error_code error) {
      if (!error && !alive.expired() && stage_ != Stage::idle) {
        book_.look_up();
        look_up_in(next_look_up_ms());
      }
    });
  }

  std::int64_t next_look_up_ms() {
    return jittered(connected_ ? options_.look_up_again_ms
                               : std::clamp<std::int64_t>(options_.session_timeout_ms / kLookUpPart, kShortestLookUpMs,
                                                          kLongestLookUpMs));
  }

  void looked_up() {
    switch (stage_) {
      case Stage::idle:
        return;
      case Stage::unresolved:
      case Stage::gathering:
        if (book_.servers().empty()) {
          unresolved();
        } else if (!book_.looking_up()) {
          open_handle();
        } else if (stage_ == Stage::unresolved) {
          open_in(kGatherMs, Stage::gathering);
        }
        return;
      case Stage::waiting:
      case Stage::resting:
      case Stage::open:
        if (search_began_) {
          follow_servers();
        }
        return;
    }
  }

  void unresolved() {
    std::string text = joined(book_.failures());
    if (!book_.looking_up()) {
      const std::int64_t in_ms = next_retry_in_ms();
      look_up_in(in_ms);
      text += "; trying again in " + seconds_text(in_ms);
    }
    trouble_.tell(false, text);
  }

  // The search goes on at other addresses; steer() opens another handle where they are worth it.
  void follow_servers() {
    std::vector<Server> servers = book_.servers();
    if (same(endpoints_of(servers), endpoints_of(servers_))) {
      return;
    }
    servers_ = std::move(servers);
    prober_.follow(servers_);
    if (stage_ == Stage::resting) {
      retry_timer_.cancel();
      stage_ = Stage::waiting;
    }
  }

  // ---- The search: there is no connection, and it is found out why, and where there could be one

  void begin_search() {
    if (!search_began_) {
      search_began_ = Clock::now();
      searching_since_ = *search_began_;
      servers_ = book_.servers();
      prober_.start(servers_);
    }
  }

  void end_search() {
    prober_.stop();
    trouble_.reset();
    search_began_.reset();
    complaint_.clear();
    absurd_.clear();
  }

  void probed(const std::vector<Verdict>& verdicts) {
    const auto count = [&](ServerState state) {
      return std::count_if(verdicts.begin(), verdicts.end(), [&](const auto& v) { return v.state == state; });
    };
    std::string text = describe(verdicts);
    for (const auto& failure : book_.failures()) {
      text += "; " + failure;
    }
    if (!complaint_.empty()) {
      text += "; " + complaint_;
    }
    steer(verdicts);
    trouble_.tell(count(ServerState::serving) == 0 && count(ServerState::no_quorum) != 0, text);
  }

  // The library tries all servers again and again without jitter, and stays with one that hangs for 2/3 of the
  // time-out. So, while no server can serve, there is no handle at all, and a new one as soon as one can; where one
  // serves and the library does not find it, or cannot because it has another address now, a new handle that begins
  // with that one. A new handle also has seen nothing yet, which matters where the ensemble was wiped or restored from
  // a backup: it turns away a client that has seen more, and does not say more than that.
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
    if (stage_ == Stage::waiting && !hopeless) {
      open_after_jitter(load);
    } else if (stage_ == Stage::open && hopeless) {
      replace_handle();
      stage_ = Stage::waiting;
    } else if (stage_ == Stage::open && only_elsewhere(verdicts)) {
      replace_handle();
      open_handle();
    } else if (stage_ == Stage::open && tried_enough()) {
      rest();
    } else if (stage_ == Stage::open && Clock::now() - searching_since_ >= milliseconds(patience_ms_) &&
               !serving_.empty()) {
      replace_handle();
      patience_ms_ *= 2;  // for a network so slow that a session takes longer than that to be had
      open_handle();
    }
  }

  // True where only servers whose addresses the library does not have may serve.
  bool only_elsewhere(const std::vector<Verdict>& verdicts) const {
    const auto may = [&](bool known) {
      return std::any_of(verdicts.begin(), verdicts.end(), [&](const Verdict& verdict) {
        return may_serve(verdict) && contains(opened_, verdict.endpoint) == known;
      });
    };
    return may(false) && !may(true);
  }

  // Two rounds of attempts have failed although a server seems to serve.
  bool tried_enough() const {
    return handle_->losses() - tries_began_ >= std::max<std::uint64_t>(kFewestTries, 2 * opened_.size());
  }

  void rest() {
    const auto searched = std::chrono::duration_cast<milliseconds>(Clock::now() - *search_began_);
    replace_handle();
    open_in(jittered(std::clamp<std::int64_t>(searched.count() / kRestPart, kShortestRestMs, kLongestRestMs)));
  }

  // Hosts find out at different times that a server serves, which spreads them; and more where many have come to it
  // already. Of one that does not say whether it serves, nothing is known.
  void open_after_jitter(std::int64_t load) {
    const std::int64_t most_ms = options_.session_timeout_ms / kSpreadPart;
    const std::int64_t in_ms =
        up_to(serving_.empty() ? most_ms : std::min(most_ms, std::max<std::int64_t>(0, load - kFew) * kEachMs));
    if (in_ms == 0) {
      open_handle();
    } else {
      open_in(in_ms);
    }
  }

  // ---- Events of the handle

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
    if (!item.complaint.empty()) {
      unusable(item);
      return;
    }
    if (const auto* connected = std::get_if<core::ZkConnected>(&item.event)) {
      connected_ = true;
      losses_ = item.losses;
      session_ = connected->session;
      patience_ms_ = options_.session_timeout_ms / kPatiencePart;
      end_search();
      look_up_in(next_look_up_ms());
      handle_->create_chroot();
    } else if (std::holds_alternative<core::ZkDisconnected>(item.event)) {
      disconnected();
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

  // The library goes on by itself, with the addresses that it has.
  void disconnected() {
    connected_ = false;
    tries_began_ = handle_->losses();
    begin_search();
    if (!same(endpoints_of(servers_), opened_)) {
      replace_handle();
      open_handle();
    }
    look_up_in(up_to(std::min(options_.session_timeout_ms / kFirstLookUpPart, kLongestFirstLookUpMs)));
  }

  // A server made a session that cannot be: as good as no answer, but the library would take it.
  void unusable(const Mail& item) {
    connected_ = false;
    if (complaint_ != item.complaint && options_.log) {
      options_.log(item.complaint);
    }
    begin_search();
    complaint_ = item.complaint;
    absurd_.push_back(item.server);
    rest();
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
  Stage stage_ = Stage::idle;
  std::shared_ptr<ZkHandle> handle_;  // null where idle
  std::uint64_t handles_ = 0;
  bool connected_ = false;    // and nothing sent since was turned away
  std::uint64_t losses_ = 0;  // as of the last ZkConnected
  std::int64_t next_retry_ms_ = 0;
  AddressBook book_;
  std::vector<Server> servers_;  // that the search looks at
  Endpoints opened_;             // that the handle has
  Endpoints serving_;            // as of the prober's last round
  Endpoints absurd_;             // gave a session that cannot be, in this search
  std::string complaint_;        // the last such, for people
  std::optional<Clock::time_point> search_began_;
  Clock::time_point searching_since_;  // with this handle
  std::uint64_t tries_began_ = 0;      // the handle's losses when the search began
  std::int64_t patience_ms_ = 0;       // how long the library may search by itself
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

std::vector<NamedServer> ZkClient::servers() const {
  return impl_->servers();
}

void ZkClient::set_access(Access access) {
  impl_->set_access(std::move(access));
}

}  // namespace limpet::zk
