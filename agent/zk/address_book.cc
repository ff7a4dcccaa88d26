#include "agent/zk/address_book.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

namespace limpet::zk {

struct AddressBook::Post {
  std::mutex mutex;
  boost::asio::io_context* io = nullptr;  // null: the book is gone
  AddressBook* book = nullptr;            // for the core thread
};

AddressBook::AddressBook(boost::asio::io_context& io, std::function<void()> answered)
    : answered_(std::move(answered)), post_(std::make_shared<Post>()) {
  post_->io = &io;
  post_->book = this;
}

AddressBook::~AddressBook() {
  const std::lock_guard lock(post_->mutex);
  post_->io = nullptr;
  post_->book = nullptr;
}

void AddressBook::use(const Hosts& hosts) {
  hosts_ = hosts;
  const std::vector<std::string> names = hosts_in_order();
  std::erase_if(entries_, [&](const auto& entry) {
    return !entry.second.looking_up && std::find(names.begin(), names.end(), entry.first) == names.end();
  });
  for (const std::string& name : names) {
    const auto [entry, added] = entries_.try_emplace(name);
    boost::system::error_code error;
    const auto address = boost::asio::ip::make_address(name, error);
    if (added && !error) {
      entry->second.numeric = true;
      entry->second.addresses = {address};
    }
  }
}

void AddressBook::look_up() {
  for (const std::string& name : hosts_in_order()) {
    Entry& entry = entries_.at(name);
    if (!entry.numeric && !entry.looking_up) {
      look_up(name, entry);
    }
  }
}

void AddressBook::look_up(const std::string& name, Entry& entry) {
  const auto deliver = [post = post_, name](LookedUp found) {
    const std::lock_guard lock(post->mutex);
    if (post->io != nullptr) {
      boost::asio::post(*post->io, [post, name, found = std::move(found)]() mutable {
        if (post->book != nullptr) {  // set and cleared on this thread only
          post->book->looked_up(name, std::move(found));
        }
      });
    }
  };
  entry.looking_up = true;
  try {
    std::thread([deliver, name] { deliver(zk::look_up(name)); }).detach();
  } catch (const std::system_error& error) {
    deliver({{}, "cannot resolve " + name + ": no thread for it: " + error.code().message()});
  }
}

void AddressBook::looked_up(const std::string& name, LookedUp found) {
  Entry& entry = entries_.at(name);
  entry.looking_up = false;
  entry.failure = std::move(found.failure);
  if (!found.addresses.empty()) {
    entry.addresses = std::move(found.addresses);
  }
  answered_();
}

std::vector<std::string> AddressBook::hosts_in_order() const {
  std::vector<std::string> names;
  for (const HostPort& host : hosts_.servers) {
    if (std::find(names.begin(), names.end(), host.host) == names.end()) {
      names.push_back(host.host);
    }
  }
  return names;
}

bool AddressBook::has_names() const {
  return std::any_of(hosts_.servers.begin(), hosts_.servers.end(),
                     [&](const HostPort& host) { return !entries_.at(host.host).numeric; });
}

bool AddressBook::looking_up() const {
  return std::any_of(hosts_.servers.begin(), hosts_.servers.end(),
                     [&](const HostPort& host) { return entries_.at(host.host).looking_up; });
}

std::vector<Server> AddressBook::servers() const {
  return servers_of(hosts_, [&](const std::string& host) { return entries_.at(host).addresses; });
}

std::vector<std::string> AddressBook::failures() const {
  std::vector<std::string> failures;
  for (const std::string& name : hosts_in_order()) {
    if (const std::string& failure = entries_.at(name).failure; !failure.empty()) {
      failures.push_back(failure);
    }
  }
  return failures;
}

std::vector<NamedServer> AddressBook::names() const {
  std::vector<NamedServer> names;
  for (const HostPort& host : hosts_.servers) {
    const Entry& entry = entries_.at(host.host);
    NamedServer& named = names.emplace_back(NamedServer{to_string(host), {}, entry.failure});
    for (const auto& address : entry.addresses) {
      named.addresses.push_back(to_string(boost::asio::ip::tcp::endpoint(address, host.port)));
    }
  }
  return names;
}

}  // namespace limpet::zk
