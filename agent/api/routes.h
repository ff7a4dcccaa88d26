// Method and target -> handler: what the API offers, in one table (routes.cc).
//
// The decisions about answers that the interface leaves open:
// - PUT answers the registration as it is shown. 202: accepted and durable. 200: nothing changed (without `wait`), or
//   with `wait` it is registered with this or a newer content. A `wait` that runs out is a 202 with the state at that
//   time. Where another call has removed it by then: 202 with `"state":"removed"`.
// - DELETE answers the registration as it is being removed (202), and `{"id","service","instance","seq","state":
//   "removed"}` once it is gone; 200 only with `wait`.
// - POST /v1/batch and /v1/leave take `wait` too: 200 when all of it is settled in ZooKeeper, or nothing changed.
// - POST /v1/reload is for root and the agent's own user. It answers when all that the files ask for is durable or
//   refused: {"applied":[keys],"needs_restart":[keys],"registrations_d":{"added","changed","removed","errors":[{"file",
//   "error"}]}}; a configuration that is wrong is 422 `invalid`, and changes nothing. Where more than half of what came
//   from files has gone from them, it stays and "held" counts it, unless the call says ?force=true.
// - `wait` is at most 24h; what does not parse, and any unknown query parameter, is 400 bad_request.
// - GET routes answer HEAD. Bodies of GET, HEAD and DELETE are read and ignored.
// - A body's Content-Type must be JSON's or absent (415 otherwise); application/x-www-form-urlencoded passes too, since
//   that is what `curl -d` says of any body.
// - A page of the listing ends early, with `next`, when it grows past 32 MiB.
// - POST …/heartbeat and PUT, DELETE …/maintenance answer the registration as it is shown, PUT and DELETE
//   /v1/maintenance {"maintenance":{"enabled","reason","since"}}; none of them waits for ZooKeeper.
// - GET /v1/history also takes `before_event`, and shows it as `next`: pages by seq alone could part what belongs to
// one
//   change. `before` means the history up to the moment at which that change was accepted.
// - GET /v1/events answers chunks of NDJSON. `since=0` is all that is kept; a `since` of which the next event is no
//   longer kept, or that never was, is 410 too_old. What is dropped before a slow reader has come to it ends the stream
//   with a line {"error":"too_old","detail"}. 64 streams at a time, 8 of them for root and the agent's own user,
//   and 32 at most for any other user (429 quota).
// - uid 65534 is told 403 not_allowed and cut; whoever has, or with whom all have, too many connections 503.
// - A page of the queue does not part two operations of one seq (an update that moves a path has two).
//
// One Routes serves all connections, on the core thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agent/api/event_stream.h"
#include "agent/api/http_message.h"
#include "agent/api/json.h"
#include "agent/api/service.h"
#include "agent/api/target.h"

namespace limpet::api {

// What there is to call, for what has to agree with it: "GET", and the path with a star for what is named by the
// caller.
struct KnownRoute {
  std::string_view method;
  std::string path;
};
std::vector<KnownRoute> known_routes();

class Routes {
 public:
  // `service` must outlive this and the answers that it still owes.
  // `limits` too; what changes in it goes for the requests that come after.
  Routes(Service& service, const BodyLimits& limits) : service_(service), limits_(limits) {}

  // Where `request`, which was refused for want of room, is a heartbeat: has it renew its registration all the same.
  void renew(const Request& request);

  // Answers `request` through `exchange`: within the call, or later where the service has to be waited for; then only
  // if the exchange still exists. `request` need not outlive the call.
  void handle(const Request& request, const std::shared_ptr<Exchange>& exchange);

 private:
  Service& service_;
  const BodyLimits& limits_;
  const std::shared_ptr<OpenStreams> streams_ = std::make_shared<OpenStreams>();
  Target target_;  // reused, so that a request allocates nothing
};

}  // namespace limpet::api
