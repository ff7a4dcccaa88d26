#include "agent/agent_options.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <random>

#include "agent/liveness/program.h"
#include "agent/log.h"
#include "storage/fnv1a.h"

namespace limpet {

namespace {

std::uint64_t host_seed() {
  return (static_cast<std::uint64_t>(std::random_device{}()) << 32) | std::random_device{}();
}

// What tells a directory from a copy of it: its number, and when it was made.
std::string birth_of(const std::string& directory) {
  struct statx facts {};
  if (::statx(AT_FDCWD, directory.c_str(), 0, STATX_INO | STATX_BTIME, &facts) != 0) {
    return "";
  }
  return fmt::format("{}:{}.{}", facts.stx_ino, facts.stx_btime.tv_sec, facts.stx_btime.tv_nsec);
}

// A stamp of this machine, and of the chroot that its paths lie in: a session that was made for others is not taken up
// again. It gives nothing away, as machine-id(5) asks. Containers have mostly no machine-id, and images that were not
// booted yet have none either: there the state directory stands for the machine.
std::string host_stamp(const Config& config) {
  std::ifstream stream("/etc/machine-id");
  std::string id;
  std::getline(stream, id);
  if (id.empty() || id == "uninitialized") {
    id = birth_of(config.data_dir);
  }
  return fmt::format("{:016x}", Fnv1a("limpet:" + id + zk::chroot_of(config.zookeeper)).value());
}

}  // namespace

zk::Access zookeeper_access(const Config& config) {
  return {config.zookeeper_auth, config.acl, config.parents_acl, config.container_parents};
}

core::Limits core_limits(const Config& config) {
  core::Limits limits;
  limits.max_registrations = config.max_registrations;
  limits.max_share_per_uid = config.max_share_per_uid;
  limits.max_registrations_per_uid = config.max_registrations_per_uid != 0
                                         ? config.max_registrations_per_uid
                                         : static_cast<std::uint32_t>(limits.user_share(config.max_registrations));
  limits.max_path_bytes = config.max_path_bytes;
  limits.max_data_bytes = config.max_data_bytes;
  limits.max_checks_per_uid = config.max_checks_per_uid;
  limits.max_operations = config.max_operations;
  limits.max_new_parents = config.max_new_parents;
  limits.policy = config.policy;
  return limits;
}

core::Reconfigured reconfigured(const Config& config) {
  return {core_limits(config), config.paths, config.replay_rate,
          static_cast<std::uint32_t>(zk::wire_bytes(config.acl))};
}

core::Options core_options(const Config& config) {
  core::Options options;
  options.root = config.root;
  options.chroot_bytes = static_cast<std::uint32_t>(zk::chroot_of(config.zookeeper).size());
  options.acl_bytes = static_cast<std::uint32_t>(zk::wire_bytes(config.acl));
  options.agent_uid = ::geteuid();
  options.paths = config.paths;
  options.host = host_stamp(config);
  options.replay_rate = config.replay_rate;
  options.limits = core_limits(config);
  options.connection_grace_ms = config.connection_grace_ms;
  options.session_timeout_ms = static_cast<std::int32_t>(config.session_timeout_ms);
  options.seed = host_seed();
  return options;
}

liveness::CheckPolicy check_policy(const Config& config) {
  return {config.tcp_checks, config.http_checks, config.command_checks, config.check_targets, config.socket};
}

zk::ZkClient::Options zookeeper_options(const Config& config) {
  zk::ZkClient::Options options;
  options.hosts = config.zookeeper;
  options.access = zookeeper_access(config);
  options.session_timeout_ms = static_cast<std::int32_t>(config.session_timeout_ms);
  options.seed = host_seed();
  options.log = [](std::string_view line) { log(LogLevel::debug, "zookeeper_library", "says=" + quoted_value(line)); };
  return options;
}

FilesSource files_source(const Config& config) {
  return {config.registrations_dir, config.registrations_dir != Config().registrations_dir};
}

api::ServerOptions server_options(const Config& config) {
  api::ServerOptions options;
  options.socket_path = config.socket;
  options.max_connections = config.max_connections;
  options.max_connections_per_uid = config.max_connections_per_uid;
  options.descriptors_below = liveness::first_own_descriptor();
  options.wants_groups = !config.policy.empty();
  options.limits.request.max_body_bytes = config.max_body_bytes;
  options.body.max_data_bytes = config.max_znode_data_bytes;
  options.limits.request_timeout = std::chrono::milliseconds(config.request_timeout_ms);
  return options;
}

}  // namespace limpet
