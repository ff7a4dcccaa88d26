#include "agent/api/formats.h"

#include <array>
#include <cassert>
#include <cstdio>

#include "agent/api/json_writer.h"
#include "storage/fnv1a.h"

namespace limpet::api {
namespace {

constexpr std::string_view kMemberPrefix = "member_";

// What Curator itself writes for a payload that is a map.
constexpr std::string_view kMapClass = "java.util.LinkedHashMap";
constexpr std::string_view kSpringClass = "org.springframework.cloud.zookeeper.discovery.ZookeeperInstance";
constexpr std::string_view kClassKey = "@class";
constexpr std::string_view kStatusKey = "instance_status";

std::optional<std::string_view> find_text(const std::optional<JsonValue>& object, std::string_view key) {
  if (object) {
    for (auto member = object->first(); member; member.next()) {
      if (member.key() == key) {
        return member.value().text();
      }
    }
  }
  return std::nullopt;
}

void write_members_but(JsonWriter& json, const std::optional<JsonValue>& object, std::string_view left_out) {
  if (object) {
    for (auto member = object->first(); member; member.next()) {
      if (member.key() != left_out) {
        json.escaped_key(member.key()).string(member.value().text());
      }
    }
  }
}

void write_json(JsonWriter& json, const Endpoint& endpoint) {
  json.begin_object();
  json.key("service").string(endpoint.id.service);
  json.key("instance").string(endpoint.id.instance);
  if (endpoint.address) {
    json.key("address").string(*endpoint.address);
  }
  if (endpoint.port) {
    json.key("port").number(*endpoint.port);
  }
  if (endpoint.metadata) {
    json.key("metadata");
    endpoint.metadata->write(json);
  }
  json.end_object();
}

// Null is what readers of any payload type take; a map is for those whose payload is one, or the class it names.
void write_curator_payload(JsonWriter& json, const Endpoint& endpoint) {
  if (!endpoint.metadata) {
    return json.null();
  }
  json.begin_object();
  json.key(kClassKey).string(find_text(endpoint.metadata, kClassKey).value_or(kMapClass));
  write_members_but(json, endpoint.metadata, kClassKey);
  json.end_object();
}

void write_spring_payload(JsonWriter& json, const Endpoint& endpoint) {
  json.begin_object();
  json.key(kClassKey).string(kSpringClass);
  json.key("id").string(endpoint.id.instance);
  json.key("name").string(endpoint.id.service);
  json.key("metadata").begin_object();
  json.key(kStatusKey).string(find_text(endpoint.metadata, kStatusKey).value_or("UP"));
  write_members_but(json, endpoint.metadata, kStatusKey);
  json.end_object();
  json.end_object();
}

// {scheme}://{address}:{port}
void write_spring_uri(JsonWriter& json) {
  struct Part {
    std::string_view value;
    bool variable;
  };
  constexpr std::array<Part, 5> kParts = {
      {{"scheme", true}, {"://", false}, {"address", true}, {":", false}, {"port", true}}};
  json.begin_object();
  json.key("parts").begin_array();
  for (const Part& part : kParts) {
    json.begin_object();
    json.key("value").string(part.value);
    json.key("variable").boolean(part.variable);
    json.end_object();
  }
  json.end_array();
  json.end_object();
}

// No key more: readers from before CURATOR-275 refuse those that they do not know, `enabled` among them.
void write_curator(JsonWriter& json, const Endpoint& endpoint, bool spring, Content& content) {
  json.begin_object();
  json.key("name").string(endpoint.id.service);
  json.key("id").string(endpoint.id.instance);
  json.key("address").string(*endpoint.address);
  json.key("port").number(*endpoint.port);
  json.key("sslPort").null();
  json.key("payload");
  if (spring) {
    write_spring_payload(json, endpoint);
  } else {
    write_curator_payload(json, endpoint);
  }
  json.key("registrationTimeUTC").literal("");
  content.time_at = json.size();
  json.key("serviceType").string("DYNAMIC");
  json.key("uriSpec");
  if (spring) {
    write_spring_uri(json);
  } else {
    json.null();
  }
  json.end_object();
}

void write_serverset(JsonWriter& json, const Endpoint& endpoint) {
  json.begin_object();
  json.key("serviceEndpoint").begin_object();
  json.key("host").string(*endpoint.address);
  json.key("port").number(*endpoint.port);
  json.end_object();
  // Readers in Java do without neither this nor the status.
  json.key("additionalEndpoints").begin_object();
  json.end_object();
  json.key("status").string("ALIVE");
  if (endpoint.metadata) {
    json.key("metadata");
    endpoint.metadata->write(json);
  }
  json.end_object();
}

void write_nerve(JsonWriter& json, const Endpoint& endpoint) {
  json.begin_object();
  json.key("host").string(*endpoint.address);
  json.key("port").number(*endpoint.port);
  json.key("name").string(endpoint.id.instance);
  if (endpoint.metadata) {
    json.key("labels");
    endpoint.metadata->write(json);
  }
  json.end_object();
}

// In the shape of ZooKeeper's own numbers: ten digits within 31 bits, which is what readers have room for. FNV-1a of
// the id, folded. It must never change: the znode of a registration would move.
std::string ten_digits(const RegistrationId& id) {
  const std::uint64_t hash = Fnv1a(id.str()).value();
  std::array<char, 11> digits{};
  std::snprintf(digits.data(), digits.size(), "%010u", static_cast<unsigned>((hash ^ (hash >> 32)) & 0x7FFF'FFFF));
  return digits.data();
}

}  // namespace

bool needs_endpoint(Format format) {
  return format != Format::raw && format != Format::json;
}

Content make_content(Format format, const Endpoint& endpoint) {
  assert(!needs_endpoint(format) || (endpoint.address && endpoint.port));
  Content content;
  JsonWriter json(content.data);
  switch (format) {
    case Format::raw:
      assert(false);
      break;
    case Format::json:
      write_json(json, endpoint);
      break;
    case Format::curator:
    case Format::spring:
      write_curator(json, endpoint, format == Format::spring, content);
      break;
    case Format::serverset:
      write_serverset(json, endpoint);
      break;
    case Format::nerve:
      write_nerve(json, endpoint);
      break;
  }
  return content;
}

std::string default_leaf(Format format, const RegistrationId& id) {
  switch (format) {
    case Format::raw:
    case Format::json:
    case Format::curator:
    case Format::spring:
      break;
    case Format::serverset:
      return std::string(kMemberPrefix) + ten_digits(id);
    case Format::nerve:
      return id.instance + "_" + ten_digits(id);
  }
  return {};
}

std::optional<std::string> leaf_error(Format format, const RegistrationId& id, std::string_view path) {
  const std::string_view leaf = path.substr(path.rfind('/') + 1);
  if ((format == Format::curator || format == Format::spring) && leaf != id.instance) {
    return "must end in /" + id.instance + ": Curator's readers look for an instance under its own id";
  }
  if (format == Format::serverset && !leaf.starts_with(kMemberPrefix)) {
    return "must end in /member_…: readers of serversets look at no other znodes";
  }
  return std::nullopt;
}

}  // namespace limpet::api
