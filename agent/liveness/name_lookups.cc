#include "agent/liveness/name_lookups.h"

#include <fcntl.h>
#include <netdb.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "agent/liveness/descriptor.h"
#include "agent/liveness/want.h"

namespace limpet::liveness {
namespace {

using boost::asio::ip::tcp;

constexpr std::size_t kMaxAddresses = 16;

Result<NameLookups::Addresses> resolve(const std::string& name) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int rc = ::getaddrinfo(name.c_str(), nullptr, &hints, &found); rc != 0) {
    const int error = errno;
    const Descriptor free(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!free && is_want(errno)) {  // which look-ups do not tell from a name server that does not answer
      return Status(Errc::full, std::generic_category().message(errno));
    }
    const std::string why = rc == EAI_SYSTEM ? std::generic_category().message(error) : ::gai_strerror(rc);
    return Status(Errc::io, "cannot resolve " + name + ": " + why);
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, &::freeaddrinfo);
  NameLookups::Addresses addresses;
  for (const addrinfo* entry = found; entry != nullptr && addresses.size() < kMaxAddresses; entry = entry->ai_next) {
    tcp::endpoint endpoint;
    if ((entry->ai_family == AF_INET || entry->ai_family == AF_INET6) && entry->ai_addrlen <= endpoint.capacity()) {
      endpoint.resize(entry->ai_addrlen);
      std::memcpy(endpoint.data(), entry->ai_addr, entry->ai_addrlen);
      addresses.push_back(endpoint.address());
    }
  }
  if (addresses.empty()) {
    return Status(Errc::io, "cannot resolve " + name + ": it has no address");
  }
  return addresses;
}

}  // namespace

std::uint64_t NameLookups::ask(std::uint32_t uid, const std::string& name, Begun begun, Done done) {
  const std::uint64_t question = ++last_question_;
  const Key key{uid, name};
  questions_.emplace(question, key);
  const auto [entry, added] = lookups_.try_emplace(key);
  Lookup& lookup = entry->second;
  lookup.waiters.emplace(question, Waiter{std::move(begun), std::move(done)});
  if (added) {
    lookup.number = question;
    start(key, lookup);
  } else if (lookup.begun) {
    boost::asio::post(io_, [this, alive = std::weak_ptr<char>(alive_), key, question] {
      const auto found = alive.expired() ? lookups_.end() : lookups_.find(key);
      if (!alive.expired() && found != lookups_.end() && found->second.waiters.contains(question)) {
        found->second.waiters.at(question).begun();
      }
    });
  }
  return question;
}

void NameLookups::start(const Key& key, Lookup& lookup) {
  const auto post = [this, alive = std::weak_ptr<char>(alive_)](auto call) {
    boost::asio::post(io_, [alive, call = std::move(call)] {
      if (!alive.expired()) {
        call();
      }
    });
  };
  const std::uint64_t number = lookup.number;
  lookup.ticket = pool_.run(key.first, [this, key, number, post, work = boost::asio::make_work_guard(io_)] {
    post([this, key, number] { began(key, number); });
    post([this, key, number, found = resolve(key.second)] { answered(key, number, found); });
  });
  if (lookup.ticket.number == 0) {
    post([this, key, number] { answered(key, number, Status(Errc::full, "the system has no thread to give")); });
  }
}

void NameLookups::withdraw(std::uint64_t question) {
  const auto asked = questions_.extract(question);
  if (asked.empty()) {
    return;
  }
  const auto found = lookups_.find(asked.mapped());
  if (found == lookups_.end()) {
    return;
  }
  found->second.waiters.erase(question);
  if (found->second.waiters.empty() && !found->second.begun) {
    pool_.cancel(found->second.ticket);
    lookups_.erase(found);
  }
}

void NameLookups::began(const Key& key, std::uint64_t number) {
  const auto found = lookups_.find(key);
  if (found == lookups_.end() || found->second.number != number) {
    return;
  }
  found->second.begun = true;
  std::vector<Begun> calls;  // what is called may ask and withdraw
  for (const auto& [question, waiter] : found->second.waiters) {
    calls.push_back(waiter.begun);
  }
  for (const Begun& call : calls) {
    call();
  }
}

void NameLookups::answered(const Key& key, std::uint64_t number, const Result<Addresses>& found) {
  const auto lookup = lookups_.find(key);
  if (lookup == lookups_.end() || lookup->second.number != number) {
    return;
  }
  const auto waiters = std::move(lookup->second.waiters);
  lookups_.erase(lookup);
  for (const auto& [question, waiter] : waiters) {
    questions_.erase(question);
  }
  for (const auto& [question, waiter] : waiters) {
    waiter.done(found);
  }
}

}  // namespace limpet::liveness
