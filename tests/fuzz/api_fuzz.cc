// A stream of requests through the whole API: reader, routes and handlers, on a real core with a disk and a ZooKeeper
// that do what they are asked. Every answer must be one of the contract's, and JSON where it says so.
#include <boost/asio/io_context.hpp>
#include <memory>
#include <set>
#include <string>

#include "agent/api/json_document.h"
#include "agent/api/request_reader.h"
#include "agent/api/routes.h"
#include "tests/api/fake_service.h"
#include "tests/fuzz/fuzz.h"

namespace limpet::api {
namespace {

using fuzz::require;

const std::set<int> kStatuses = {200, 202, 400, 403, 404, 405, 408, 409, 410,
                                 413, 415, 422, 429, 431, 501, 503, 505, 507};

void check(const Response& response) {
  require(kStatuses.contains(response.status), "a status of the contract");
  if (response.content_type == "application/json" || response.content_type == "application/problem+json") {
    std::string error;
    require(JsonDocument::parse(response.body, error).has_value(), "an answer is JSON");
  }
}

class Answer final : public Exchange {
 public:
  PeerPlace place_of_caller() override { return {true, true, true, 4321, 4321}; }
  Response& response() override { return response_; }
  void finish() override {
    require(!finished_, "one answer for one request");
    finished_ = true;
    check(response_);
  }
  // What has happened so far is all that is looked at.
  void begin_stream(std::shared_ptr<Stream> stream) override {
    require(!finished_ && response_.status == 200, "one answer for one request");
    finished_ = true;
    stream_ = std::move(stream);
    std::string lines;
    stream_->take(lines);
    require(lines.empty() || lines.back() == '\n', "a stream of whole lines");
  }
  void finish_in_pieces(std::shared_ptr<Stream> stream) override {
    pages_ = std::move(stream);
    resume_stream();
  }
  void resume_stream() override {
    while (pages_) {
      const std::size_t before = response_.body.size();
      const Stream::Next next = pages_->take(response_.body);
      if (next == Stream::Next::more && response_.body.size() == before) {
        return;  // until it is called again
      }
      if (next != Stream::Next::more) {
        require(next == Stream::Next::end, "the store does not fail");
        pages_.reset();
        finish();
      }
    }
  }
  bool has_room() const override { return true; }
  bool finished() const { return finished_; }

 private:
  std::shared_ptr<Stream> stream_;
  std::shared_ptr<Stream> pages_;
  Response response_;
  bool finished_ = false;
};

}  // namespace
}  // namespace limpet::api

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace limpet::api;
  using limpet::fuzz::require;
  const RequestLimits limits;
  boost::asio::io_context io(1);
  FakeService service(io);
  service.serve();
  const BodyLimits body_limits;
  Routes routes(service, body_limits);
  Request request;
  RequestReader reader(request, limits);
  std::string_view stream = limpet::fuzz::text_of(data, size);
  while (!stream.empty()) {
    std::size_t used = 0;
    const auto result = reader.read(stream, used);
    stream.remove_prefix(used);
    if (result != RequestReader::Result::complete) {
      break;
    }
    request.caller.owner = {1000, 1};
    const auto answer = std::make_shared<Answer>();
    routes.handle(request, answer);
    io.poll();
    io.restart();
    // A wait that does not come to its end is given up with the answer.
    require(answer->finished() || request.target.find("wait=") != std::string::npos, "every request is answered");
  }
  return 0;
}
