#include "agent/liveness/network_run.h"

#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <optional>
#include <utility>

#include "agent/liveness/check_target.h"
#include "agent/liveness/text.h"
#include "agent/liveness/want.h"

namespace limpet::liveness {
namespace {

namespace http = boost::beast::http;
using boost::asio::generic::stream_protocol;
using boost::asio::ip::tcp;
using boost::system::error_code;

constexpr std::uint32_t kMaxHead = 16 * 1024;
constexpr std::uint64_t kMaxBody = 4 * 1024;
constexpr std::size_t kMaxAnswerWords = 300;
constexpr int kMaxInterim = 8;  // answers such as "100 Continue" before the real one
constexpr unsigned kHttp11 = 11;

class NetworkRun : public CheckRun, public std::enable_shared_from_this<NetworkRun> {
 public:
  NetworkRun(boost::asio::io_context& io, OffThread& off_thread, const Check& check, std::uint32_t uid, Done done)
      : io_(io), off_thread_(off_thread), check_(check), uid_(uid), done_(std::move(done)), socket_(io) {}

  void start();
  void drop() override;
  std::string timed_out(const std::string& limit) const override { return lacks_ + " within " + limit; }

 private:
  void try_address(std::size_t index);
  void adopt(Result<Descriptor> socket);
  void connected();
  void read_head(int interim);
  void judge(unsigned status);
  void fail(const std::string& words) { finish({false, printable(words, kMaxAnswerWords)}); }
  void finish(Finding finding);

  boost::asio::io_context& io_;
  OffThread& off_thread_;
  const Check check_;
  const std::uint32_t uid_;
  Done done_;  // empty once it was called, or is not to be

  Target target_;
  OffThread::Addresses addresses_;
  std::string first_error_;  // of the first of several addresses
  std::string lacks_ = "no connection";
  stream_protocol::socket socket_;
  http::request<http::empty_body> request_;
  boost::beast::flat_buffer buffer_;
  std::optional<http::response_parser<http::string_body>> parser_;
};

void NetworkRun::start() {
  auto target = check_.type == CheckType::tcp ? parse_address(check_.target) : parse_url(check_.target);
  if (!target.ok()) {
    boost::asio::post(
        io_, [self = shared_from_this(), why = target.status().message()] { self->fail("the check's target " + why); });
    return;
  }
  target_ = std::move(*target);
  if (!target_.socket.empty()) {
    off_thread_.connect_unix(uid_, target_.socket, [self = shared_from_this()](Result<Descriptor> socket) {
      self->adopt(std::move(socket));
    });
    return;
  }
  error_code not_numeric;
  const auto address = boost::asio::ip::make_address(target_.host, not_numeric);
  if (!not_numeric) {
    addresses_ = {address};
  } else if (target_.host == "localhost") {  // never asked of a name server: RFC 6761, 6.3
    addresses_ = {boost::asio::ip::address_v4::loopback(), boost::asio::ip::address_v6::loopback()};
  } else {
    lacks_ = "no address for its host name";
    off_thread_.look_up(target_.host, [self = shared_from_this()](const Result<OffThread::Addresses>& found) {
      if (!found.ok()) {
        return found.status().code() == Errc::full ? self->finish(Finding::nothing())
                                                   : self->fail(found.status().message());
      }
      self->addresses_ = *found;
      self->lacks_ = "no connection";
      self->try_address(0);
    });
    return;
  }
  try_address(0);
}

// One address after the other, until one is connected to.
void NetworkRun::try_address(std::size_t index) {
  if (!done_) {
    return;
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
  parser_->body_limit(kMaxBody);
  http::async_read_header(
      socket_, buffer_, *parser_, [self = shared_from_this(), interim](error_code error, std::size_t) {
        if (!self->done_) {
          return;
        }
        // A body that is too long for us is known to be so from the head, which is read then.
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
  const auto reason = parser_->get().reason();
  const std::string words = "status " + std::to_string(status) + " " + std::string(reason);
  lacks_ = printable(words, kMaxAnswerWords) + ", and no end of that answer";
  // What it says is read as far as it comes, for the last words.
  http::async_read(socket_, buffer_, *parser_, [self = shared_from_this(), words](error_code, std::size_t) {
    const std::string& body = self->parser_->get().body();
    self->fail(body.empty() ? words : words + ": " + body);
  });
}

void NetworkRun::finish(Finding finding) {
  const Done done = std::exchange(done_, nullptr);
  drop();
  if (done) {
    done(std::move(finding));
  }
}

void NetworkRun::drop() {
  done_ = nullptr;
  error_code ignored;
  socket_.close(ignored);
}

}  // namespace

std::shared_ptr<CheckRun> start_network_run(boost::asio::io_context& io, OffThread& off_thread, const Check& check,
                                            std::uint32_t uid, CheckRun::Done done) {
  auto run = std::make_shared<NetworkRun>(io, off_thread, check, uid, std::move(done));
  run->start();
  return run;
}

}  // namespace limpet::liveness
