#include "agent/zk/acl.h"

#include <algorithm>
#include <array>

namespace limpet::zk {
namespace {

// Letters as zkCli.sh has them, bits as org.apache.zookeeper.ZooDefs.Perms.
constexpr std::array<std::pair<char, std::int32_t>, 5> kPermissions = {
    {{'c', 4}, {'d', 8}, {'r', 1}, {'w', 2}, {'a', 16}}};
constexpr std::int32_t kAll = 31;
constexpr std::int32_t kRead = 1;
constexpr std::int32_t kCreate = 4;

Status wrong(std::string_view entry, const std::string& why) {
  return {Errc::invalid, "\"" + std::string(entry) + "\" " + why};
}

Result<AclEntry> parse_acl_entry(std::string_view text) {
  const std::size_t first = text.find(':');
  const std::size_t last = text.rfind(':');
  if (first == std::string_view::npos || first == last || first == 0) {
    return wrong(text, "is not an entry of the form scheme:id:permissions, such as world:anyone:r");
  }
  AclEntry entry{std::string(text.substr(0, first)), std::string(text.substr(first + 1, last - first - 1)), 0};
  for (const char letter : text.substr(last + 1)) {
    const auto* known = std::find_if(kPermissions.begin(), kPermissions.end(),
                                     [letter](const auto& permission) { return permission.first == letter; });
    if (known == kPermissions.end()) {
      return wrong(text, "has a permission that is none of c, d, r, w, a");
    }
    entry.permissions |= known->second;
  }
  if (entry.permissions == 0) {
    return wrong(text, "gives no permission; name some of c, d, r, w, a");
  }
  if (entry.scheme == "world" && entry.id != "anyone") {
    return wrong(text, "is not right: the only id of the scheme world is anyone");
  }
  if (entry.scheme == "digest" && (entry.id.find(':') == std::string::npos || !entry.id.ends_with('='))) {
    return wrong(text,
                 "is not right: the id of the scheme digest is user:hash, the hash in base64 as zkCli.sh shows it");
  }
  if (entry.id.empty() != (entry.scheme == "auth")) {
    return wrong(text, entry.id.empty() ? "has no id" : "is not right: the scheme auth takes no id (auth::cdrwa)");
  }
  return entry;
}

}  // namespace

Acl open_acl() {
  return {{"world", "anyone", kAll}};
}

Acl creator_acl() {
  return {{"auth", "", kAll}, {"world", "anyone", kRead}};
}

Acl shared_acl(Acl acl) {
  const auto world =
      std::find_if(acl.begin(), acl.end(), [](const AclEntry& entry) { return entry.scheme == "world"; });
  if (world != acl.end()) {
    world->permissions |= kCreate | kRead;
  } else {
    acl.push_back({"world", "anyone", kCreate | kRead});
  }
  return acl;
}

Result<Acl> parse_acl(std::string_view text) {
  if (text == "open") {
    return open_acl();
  }
  if (text == "creator") {
    return creator_acl();
  }
  Acl acl;
  for (std::size_t from = 0; from <= text.size();) {
    const std::size_t end = std::min(text.find(',', from), text.size());
    auto entry = parse_acl_entry(text.substr(from, end - from));
    if (!entry) {
      return Status(Errc::invalid, "open, creator or a list of entries is needed; " + entry.status().message());
    }
    acl.push_back(std::move(*entry));
    from = end + 1;
  }
  if (const std::size_t bytes = wire_bytes(acl); bytes > kMaxAclBytes) {
    return Status(Errc::invalid, "the list has " + std::to_string(bytes) + " bytes in a request, and at most " +
                                     std::to_string(kMaxAclBytes) + " are allowed");
  }
  return acl;
}

// The number of entries; of each its permissions, and two strings with their lengths before them.
std::size_t wire_bytes(const Acl& acl) {
  constexpr std::size_t kNumber = 4;
  std::size_t bytes = kNumber;
  for (const AclEntry& entry : acl) {
    bytes += 3 * kNumber + entry.scheme.size() + entry.id.size();
  }
  return bytes;
}

std::string to_string(const Acl& acl) {
  if (acl == open_acl()) {
    return "open";
  }
  if (acl == creator_acl()) {
    return "creator";
  }
  std::string text;
  for (const AclEntry& entry : acl) {
    text += (text.empty() ? "" : ",") + entry.scheme + ":" + entry.id + ":";
    for (const auto& [letter, bit] : kPermissions) {
      if ((entry.permissions & bit) != 0) {
        text += letter;
      }
    }
  }
  return text;
}

bool needs_credentials(const Acl& acl) {
  return std::any_of(acl.begin(), acl.end(), [](const AclEntry& entry) { return entry.scheme == "auth"; });
}

}  // namespace limpet::zk
