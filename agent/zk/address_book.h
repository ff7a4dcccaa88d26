// The addresses of ZooKeeper's servers, as last looked up by name.
//
// Each name is looked up on a thread of its own, one look-up of a name at a time: a name that takes half a minute to
// fail holds up no other. A name that does not resolve keeps the addresses that it had. Numeric addresses are known at
// once and never looked up.
//
// Core thread only; results are posted there. The io_context outlives the book. Destruction does not wait for the
// look-ups under way: their results are dropped.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/address.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "agent/zk/hosts.h"
#include "agent/zk/resolver.h"

namespace limpet::zk {

// One server of the configured list, for people.
struct NamedServer {
  std::string name;                    // as configured: "zk1:2181"
  std::vector<std::string> addresses;  // "10.0.0.1:2181"; empty: none is known yet
  std::string error;                   // why its last look-up failed; empty: it did not, or there was none
};

class AddressBook {
 public:
  // `answered` is called from the event loop after each look-up, also where nothing changed.
  AddressBook(boost::asio::io_context& io, std::function<void()> answered);
  ~AddressBook();
  AddressBook(const AddressBook&) = delete;
  AddressBook& operator=(const AddressBook&) = delete;

  // The list to look up from now on. Names that were in the list before keep their addresses.
  void use(const Hosts& hosts);

  // Looks up every name that is not being looked up already.
  void look_up();

  bool has_names() const;   // in the list: there is something to look up
  bool looking_up() const;  // a look-up of a name in the list is under way
  std::vector<Server> servers() const;
  std::vector<std::string> failures() const;  // "cannot resolve zk1: Name or service not known"
  std::vector<NamedServer> names() const;

 private:
  struct Entry {
    bool numeric = false;
    bool looking_up = false;
    std::vector<boost::asio::ip::address> addresses;
    std::string failure;
  };
  // Shared with the threads of look-ups, which may outlive the book.
  struct Post;

  void look_up(const std::string& name, Entry& entry);
  void looked_up(const std::string& name, LookedUp found);
  std::vector<std::string> hosts_in_order() const;

  const std::function<void()> answered_;
  const std::shared_ptr<Post> post_;
  Hosts hosts_;
  std::map<std::string, Entry> entries_;  // by host; those of hosts_, and those whose look-up is under way
};

}  // namespace limpet::zk
