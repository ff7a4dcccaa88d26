// The ZooKeeper client of the agent: an Ensemble on the C library.
//
// It looks up names itself, again and again, and follows those that resolve (AddressBook); gives the library numeric
// addresses in an order of its own, puts the chroot in front of every path, and, while there is no connection, finds
// out in plain words why. It is easy on servers that come back: where none can serve, it only looks at them, the longer
// that lasts the less often (Prober), and opens a handle when one serves, a random while later where many others have
// come to that. All calls and all events are on the core thread. What blocks is on other threads: opening and closing
// handles on "zk-life", each look-up of a name on its own; the library's two threads only copy and post.
//
// What the session is owed: neither stop() nor the destructor ends it, nor does the end of the process. There is no way
// to end it on purpose here.
#pragma once

#include <boost/asio/io_context.hpp>
#include <cstdint>
#include <memory>
#include <string>

#include "agent/zk/acl.h"
#include "agent/zk/address_book.h"
#include "agent/zk/ensemble.h"
#include "agent/zk/hosts.h"
#include "agent/zk/library_log.h"
#include "agent/zk/probe.h"

namespace limpet::zk {

class ZkClient final : public Ensemble {
 public:
  struct Options {
    std::string hosts;  // as for parse_hosts; must be valid
    Access access;
    std::int32_t session_timeout_ms = 10'000;
    std::uint64_t seed = 0;  // of the order of the servers and of all jitter

    // The library's warnings and errors, bounded; on any thread. May be empty.
    LogSink log;

    // While no address is known: the wait before the next look-up, doubled from the first to the last, with jitter.
    std::int64_t first_retry_ms = 200;
    std::int64_t last_retry_ms = 10'000;
    // While connected: how often names are looked up again. Without a connection it is in parts of the time-out.
    std::int64_t look_up_again_ms = 60'000;
    Prober::Pace probe;  // or faster: each server at least ten times in a session time-out
  };

  // `io` is the core thread's; it outlives the client. `sink` is called from its event loop only. Nothing happens
  // before start(). Precondition: parse_hosts(options.hosts) succeeds.
  //
  // Handles that the client replaces by itself, with the same session, are not told of.
  ZkClient(boost::asio::io_context& io, Options options, Sink sink);

  // Lets go of the handle as stop() does, and waits for that: some milliseconds. A process that ends calls _exit()
  // instead.
  ~ZkClient() override;

  ZkClient(const ZkClient&) = delete;
  ZkClient& operator=(const ZkClient&) = delete;

  void start(const core::ZkStart& start) override;
  void stop(const core::ZkStop& stop) override;
  void send(core::ZkSend request) override;

  // The servers of the list in use, each with the addresses that the next connection is made to.
  std::vector<NamedServer> servers() const;

  // Takes another list, to be used from the next start() on. Errc::invalid: the list does not parse, and nothing
  // changes.
  Status set_servers(const std::string& hosts);

  // Takes other credentials and another ACL, to be used from the next start() on. Znodes that exist keep theirs.
  void set_access(Access access);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace limpet::zk
