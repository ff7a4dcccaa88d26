// The core: everything that the agent decides, and nothing that it does.
//
// A pure state machine, the sum of Registry (what is wanted), SessionMachine (the ZooKeeper session) and Replay (what
// goes to ZooKeeper next). It has no clock, no thread, no I/O: step() takes one event and appends what is to be done.
// The driver owns it and calls it on one thread. Given the same seed and the same events at the same times it does the
// same things, which is what the simulator in tests/sim relies on.
#pragma once

#include <memory>

#include "agent/core/event.h"
#include "agent/core/figures.h"

namespace limpet::core {

struct Options {
  std::string root = "/services";
  std::uint32_t chroot_bytes = 0;  // of what the driver puts before each path; ZooKeeper counts them as well
  std::vector<std::string> paths;  // further places where a registration's own `path` may lie
  Limits limits;
  std::int64_t connection_grace_ms = 10'000;  // for what was bound to a connection to an earlier run of the agent
  std::uint32_t window = 4096;    // znodes with a read or write in flight; parents, syncs and 16 audits come on top
  std::uint32_t batch = 512;      // writes in one transaction; 1: each goes by itself
  std::uint32_t acl_bytes = 27;   // of the ACL that goes with each create; that of an open one
  std::uint32_t replay_rate = 0;  // writes to ZooKeeper a second; 0: as fast as they are answered
  std::int32_t session_timeout_ms = 10'000;  // as asked for; the server may grant another
  std::string host;                          // stamp of this machine and of the chroot
  std::uint32_t agent_uid = 0;               // the agent's own: privileged, as root is
  std::uint64_t seed = 0;                    // of the jitter
};

class Core {
 public:
  // `stored` is what Store::load() gave.
  Core(Options options, StoredState stored);
  ~Core();
  Core(const Core&) = delete;
  Core& operator=(const Core&) = delete;

  // Takes one event and appends to `actions` what is to be done about it, in order. Never re-entered.
  void step(Event event, Now now, Actions& actions);

  // ---- What the API shows. From memory, at once; durable changes only.
  std::optional<RegistrationView> find(const RegistrationId& id) const;
  // As find() shows it.
  std::optional<State> state(const RegistrationId& id) const;
  // By id, those after `after` (exclusive), at most `limit`; `more` tells whether there are others.
  std::vector<RegistrationView> list(const std::optional<std::string>& service, std::optional<State> state,
                                     const std::optional<RegistrationId>& after, std::size_t limit, bool& more) const;
  // What is not yet in ZooKeeper, by seq, those after `after` (exclusive), at most `limit`.
  std::vector<QueuedOperation> queue(Seq after, std::size_t limit, bool& more) const;
  StatusView status(Now now) const;
  // Goes through all live registrations.
  Figures figures(Now now) const;

  // True when everything accepted up to `seq` for this registration is settled in ZooKeeper: it is registered there
  // with that or a newer content, or it is gone.
  bool settled(const RegistrationId& id, Seq seq) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace limpet::core
