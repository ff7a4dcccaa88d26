// The znode formats of other projects: which bytes their readers expect, and which name. Internal to agent/api; pure
// functions, any thread.
//
// Key order, nulls and names are those of each project's own writer, also where its readers would take others:
//   json       limpet's own: service, instance, and what is given of address, port, metadata
//   curator    Apache Curator's x-discovery, as ServiceDiscovery of JVM services writes and reads it
//   spring     Spring Cloud Zookeeper: Curator's, with a ZookeeperInstance as its payload
//   serverset  Twitter's and Finagle's
//   nerve      Airbnb's, for Synapse
// Where a format's own writers let ZooKeeper number the znodes, the name here has the same shape but is reckoned from
// the registration's id: a create whose answer was lost must find itself again.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "agent/api/json_document.h"
#include "storage/record.h"

namespace limpet::api {

// What the content is made of; a view, for the length of one call.
struct Endpoint {
  const RegistrationId& id;
  std::optional<std::string_view> address;
  std::optional<std::uint16_t> port;
  std::optional<JsonValue> metadata;  // an object of strings
};

// As core::RegisterRequest has them.
struct Content {
  std::string data;
  std::optional<std::size_t> time_at;
};

// True where a reader of this format can do nothing without address and port.
bool needs_endpoint(Format format);

// Precondition: not raw; address and port are there where the format needs them.
Content make_content(Format format, const Endpoint& endpoint);

// The last segment of the default path, or empty where that is the instance.
std::string default_leaf(Format format, const RegistrationId& id);

// Why readers of this format would not find `id` at `path`, in words that follow its mention ("must end in …"), or
// nullopt.
std::optional<std::string> leaf_error(Format format, const RegistrationId& id, std::string_view path);

}  // namespace limpet::api
