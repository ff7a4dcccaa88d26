#include "agent/liveness/network_run.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/status.hpp>
#include <boost/beast/http/write.hpp>
#include <optional>
#include <utility>

#include "agent/liveness/check_target.h"
#include "agent/liveness/text.h"
#include "agent/liveness/unix_connect.h"
#include "agent/liveness/want.h"

namespace limpet::liveness {
namespace {

namespace http = boost::beast::http;
using boost::asio::generic::stream_protocol;
using boost::asio::ip::tcp;
using boost::system::error_code;

constexpr std::uint32_t kMaxHead = 16 * 1024;
constexpr std::size_t kMaxAnswerWords = 300;
constexpr int kMaxInterim = 8;  // answers such as "100 Continue" before the real one
constexpr unsigned kHttp11 = 11;

class NetworkRun : public CheckRun, public std::enable_shared_from_this<NetworkRun> {
 public:
  NetworkRun(NetworkRuns& shared, const Check& check, std::uint32_t uid, Begun begun, Done done)
      : shared_(shared),
        check_(check),
        uid_(uid),
        begun_(std::move(begun)),
        done_(std::move(done)),
        socket_(shared.io) {}

  void start();
  bool queued() const override { return queued_; }
  void drop() override;
  std::string timed_out(const std::string& limit) const override { return lacks_ + " within " + limit; }

 private:
  void look_up();
  void connect_unix();
  void begin();
  void try_address(std::size_t index);
  void adopt(Result<Descriptor> socket);
  void connected();
  void read_head(int interim);
  void judge(unsigned status);
  void fail(const std::string& words) { finish({false, printable(words, kMaxAnswerWords)}); }
  void fail_later(std::string words);
  void finish(Finding finding);

  NetworkRuns& shared_;
  const Check check_;
  const std::uint32_t uid_;
  Begun begun_;
  Done done_;  // empty once it was called, or is not to be

  bool queued_ = false;
  std::uint64_t question_ = 0;    // to the name server
  BlockingPool::Ticket connect_;  // of a unix socket
  Target target_;
  NameLookups::Addresses addresses_;
  std::string first_error_;  // of the first of several addresses
  std::string lacks_ = "no connection";
  stream_protocol::socket socket_;
  http::request<http::empty_body> request_;
  boost::beast::flat_buffer buffer_;
  std::optional<http::response_parser<http::empty_body>> parser_;
};

void NetworkRun::fail_later(std::string words) {
  boost::asio::post(shared_.io, [self = shared_from_this(), words = std::move(words)] { self->fail(words); });
}

void NetworkRun::start() {
  auto target = check_.type == CheckType::tcp ? parse_address(check_.target) : parse_url(check_.target);
  if (!target.ok()) {
    return fail_later("the check's target " + target.status().message());
  }
  target_ = std::move(*target);
  if (!target_.socket.empty()) {
    return connect_unix();
  }
  error_code not_numeric;
  const auto address = boost::asio::ip::make_address(target_.host, not_numeric);
  if (!not_numeric) {
    addresses_ = {address};
  } else if (target_.host == "localhost") {  // never asked of a name server: RFC 6761, 6.3
    addresses_ = {boost::asio::ip::address_v4::loopback(), boost::asio::ip::address_v6::loopback()};
  } else {
    return look_up();
  }
  try_address(0);
}

void NetworkRun::look_up() {
  queued_ = true;
  lacks_ = "no address for its host name";
  question_ = shared_.names.ask(
      uid_, target_.host, [self = shared_from_this()] { self->begin(); },
      [self = shared_from_this()](const Result<NameLookups::Addresses>& found) {
        if (!found.ok()) {
          return found.status().code() == Errc::full ? self->finish(Finding::nothing())
                                                     : self->fail(found.status().message());
        }
        self->addresses_ = *found;
        self->lacks_ = "no connection";
        self->try_address(0);
      });
}

void NetworkRun::connect_unix() {
  queued_ = true;
  // The run belongs to the core thread: what the pool's thread holds of it is moved there and back, and let go of here.
  auto keep = std::make_shared<std::shared_ptr<NetworkRun>>(shared_from_this());
  const auto work = boost::asio::make_work_guard(shared_.io);
  connect_ = shared_.connects.run(
      uid_, [io = &shared_.io, uid = uid_, path = target_.socket, own = shared_.policy.own_socket, keep, work] {
        boost::asio::post(*io, [keep] { (*keep)->begin(); });
        auto socket = std::make_shared<Result<Descriptor>>(connect_unix_as(uid, path, own));
        boost::asio::post(*io, [keep, socket] {
          const auto self = std::exchange(*keep, nullptr);
          self->adopt(std::move(*socket));
        });
      });
  if (connect_.number == 0) {
    boost::asio::post(shared_.io, [self = shared_from_this()] { self->finish(Finding::nothing()); });
  }
}

void NetworkRun::begin() {
  if (done_ && std::exchange(queued_, false)) {
    begun_();
  }
}

// One address after the other, until one is connected to.
void NetworkRun::try_address(std::size_t index) {
  if (!done_) {
    return;
  }
  if (const Status allowed = permits_address(shared_.policy, addresses_[index]); !allowed.ok()) {
    return fail_later(target_.host == addresses_[index].to_string() ? allowed.message()
                                                                    : target_.host + ": " + allowed.message());
  }
  const tcp::endpoint endpoint(addresses_[index], target_.port);
  error_code ignored;
  socket_.close(ignored);
  socket_.async_connect(endpoint, [self = shared_from_this(), index](error_code error) {
    if (!error) {
      return self->connected();
    }
    if (index == 0) {
      self->first_error_ = error.message() + " (" + self->addresses_[0].to_string() + ")";
    }
    if (index + 1 < self->addresses_.size()) {
      return self->try_address(index + 1);
    }
    if (is_want(error.value())) {
      return self->finish(Finding::nothing());
    }
    self->fail(self->addresses_.size() == 1 ? error.message() : self->first_error_);
  });
}

void NetworkRun::adopt(Result<Descriptor> socket) {
  if (!done_) {
    return;
  }
  if (!socket.ok()) {
    return socket.status().code() == Errc::full ? finish(Finding::nothing()) : fail(socket.status().message());
  }
  error_code error;
  socket_.assign(stream_protocol(AF_UNIX, 0), socket->get(), error);
  if (error) {
    return fail(error.message());
  }
  socket->release();
  connected();
}

void NetworkRun::connected() {
  if (!done_) {
    return;
  }
  // Where nobody listens on a port from which connections are made, one may connect to itself.
  error_code ignored;
  if (target_.socket.empty() && socket_.local_endpoint(ignored) == socket_.remote_endpoint(ignored)) {
    return fail(error_code(boost::asio::error::connection_refused).message());
  }
  if (check_.type == CheckType::tcp) {
    return finish({true, {}});
  }
  lacks_ = "no answer";
  request_ = {http::verb::get, target_.resource, kHttp11};
  request_.set(http::field::host, target_.authority);
  request_.set(http::field::user_agent, "limpet");
  request_.set(http::field::accept, "*/*");
  request_.set(http::field::connection, "close");
  http::async_write(socket_, request_, [self = shared_from_this()](error_code error, std::size_t) {
    // Who refuses early may have answered before it hung up.
    if (error && error != boost::asio::error::broken_pipe && error != boost::asio::error::connection_reset) {
      return self->fail(error.message());
    }
    self->read_head(0);
  });
}

void NetworkRun::read_head(int interim) {
  if (!done_) {
    return;
  }
  parser_.emplace();
  parser_->header_limit(kMaxHead);
  http::async_read_header(
      socket_, buffer_, *parser_, [self = shared_from_this(), interim](error_code error, std::size_t) {
        if (!self->done_) {
          return;
        }
        // A body that is too long for the parser is known to be so from the head, which is read then.
        if (error && !(error == http::error::body_limit && self->parser_->is_header_done())) {
          const bool silent = error == http::error::end_of_stream;
          return self->fail(silent ? "the connection was closed without an answer"
                                   : (error.category() == http::make_error_code(http::error::bad_version).category()
                                          ? "the answer is not HTTP: "
                                          : "") +
                                         error.message());
        }
        const unsigned status = self->parser_->get().result_int();
        if (status / 100 == 1 && status != 101) {
          return interim < kMaxInterim ? self->read_head(interim + 1) : self->fail("no answer but interim ones");
        }
        self->judge(status);
      });
}

void NetworkRun::judge(unsigned status) {
  const std::string_view wanted = check_.status.empty() ? std::string_view("2xx") : check_.status;
  if (status_matches(wanted, status)) {
    return finish({true, {}});
  }
  // The standard's words for it, not the service's.
  const auto reason = http::obsolete_reason(http::int_to_status(status));
  fail("status " + std::to_string(status) + (reason.starts_with('<') ? "" : " " + std::string(reason)));
}

void NetworkRun::finish(Finding finding) {
  if (const Done done = std::exchange(done_, nullptr); done) {
    drop();
    done(std::move(finding));
  }
}

void NetworkRun::drop() {
  done_ = nullptr;
  begun_ = nullptr;
  shared_.names.withdraw(std::exchange(question_, 0));
  shared_.connects.cancel(std::exchange(connect_, {}));
  error_code ignored;
  socket_.close(ignored);
}

}  // namespace

std::shared_ptr<CheckRun> start_network_run(NetworkRuns& shared, const Check& check, std::uint32_t uid,
                                            CheckRun::Begun begun, CheckRun::Done done) {
  auto run = std::make_shared<NetworkRun>(shared, check, uid, std::move(begun), std::move(done));
  run->start();
  return run;
}

}  // namespace limpet::liveness
