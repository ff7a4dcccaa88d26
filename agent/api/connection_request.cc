// Connection: who asks, what the body of a request takes while it arrives, and what is counted of it.
#include <utility>

#include "agent/api/connection.h"
#include "agent/api/peer.h"

namespace limpet::api {

// What only a change needs to know of its caller, and what costs a look into the kernel each.
void Connection::complete_caller() {
  if (request_.method == Method::get || request_.method == Method::head) {
    return;
  }
  arrived_ = Clock::now();
  if (!std::exchange(identified_, true)) {
    read_program(request_.caller);
  }
  if (host_.wants_groups() && request_.caller.groups.empty()) {
    read_peer_groups(socket_.native_handle(), request_.caller);
  }
}

void Connection::count_answer() {
  if (response_.problem) {
    return host_.count_problem(request_, *response_.problem);
  }
  // All that a change's query may say is `wait`.
  const bool change = request_.method != Method::get && request_.method != Method::head;
  if (change && request_.target.find('?') == std::string::npos) {
    host_.counters.acknowledgements.observe(Clock::now() - arrived_);
  }
}

// Sees to it that the body is counted as far as it has come, until the request is answered: what is made of it while it
// waits takes as much. False: there is no room for it; nor is there while the user's unread answers to what is never
// refused keep old contents of registrations in memory.
bool Connection::count_body() {
  const std::size_t capacity = request_.body.capacity();
  const std::size_t bytes = capacity > kSmallBodyBytes ? capacity : 0;
  if (bytes > body_counted_) {
    if (host_.output.of(request_.caller) > 2 * host_.output.per_uid() ||
        host_.bodies.take(request_.caller, bytes - body_counted_) != Shares::Answer::taken) {
      return false;
    }
    body_counted_ = bytes;
  }
  return true;
}

void Connection::free_body() {
  request_.body.clear();
  if (request_.body.capacity() > kSmallBodyBytes) {
    request_.body.shrink_to_fit();
  }
}

void Connection::give_back_body() {
  host_.bodies.give_back(request_.caller, std::exchange(body_counted_, 0));
}

}  // namespace limpet::api
