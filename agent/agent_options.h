// What the configuration means to each part of the agent. Plain functions; core thread.
#pragma once

#include "agent/api/server.h"
#include "agent/config.h"
#include "agent/core/core.h"
#include "agent/registrations_dir.h"
#include "agent/zk/zk_client.h"

namespace limpet {

zk::Access zookeeper_access(const Config& config);
core::Limits core_limits(const Config& config);
liveness::CheckPolicy check_policy(const Config& config);
core::Options core_options(const Config& config);
// Logs what of the policy is hardly meant. (agent_reload.cc)
void log_policy_gaps(const Config& config);
core::Reconfigured reconfigured(const Config& config);
zk::ZkClient::Options zookeeper_options(const Config& config);
FilesSource files_source(const Config& config);
api::ServerOptions server_options(const Config& config);

}  // namespace limpet
