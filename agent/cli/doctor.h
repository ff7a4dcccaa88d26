// What `limpet doctor` looks at. Each examine_* function adds its findings; none changes anything, and none fails:
// what cannot be looked at is a finding too. One thread, but for the servers, which are asked side by side.
#pragma once

#include <string>
#include <vector>

#include "agent/cli/command.h"
#include "agent/config.h"

namespace limpet::cli {

enum class Level { ok, note, wrong };

struct Finding {
  Level level = Level::ok;
  std::string area;    // "Socket"
  std::string text;    // what was found
  std::string advice;  // what to do; empty where nothing needs doing
};
using Findings = std::vector<Finding>;

// What is examined.
struct Patient {
  Config config;
  Json status;                 // of the agent; null where it cannot be reached
  bool other_servers = false;  // the caller named servers, which need not be those of the agent
  bool agent_is_up() const { return status.is_object(); }
};

struct DoctorOptions {
  std::string config_file;  // empty: the default one, if it is there
  std::string zookeeper;    // empty: as configured
  std::string data_dir;     // empty: as configured
};

// Asks the agent how it is, and finds out what configuration it has, or would have: from the file, the environment, and
// the command line of the agent that runs.
Patient admit(const Context& context, const DoctorOptions& options, Findings& findings);

void examine_socket(const Context& context, const Patient& patient, Findings& findings);
void examine_state_directory(const Patient& patient, Findings& findings);
void examine_clock(const Context& context, const Patient& patient, Findings& findings);
void examine_zookeeper(const Patient& patient, Findings& findings);
void examine_session(const Patient& patient, Findings& findings);
void examine_registrations(const Context& context, const Patient& patient, Findings& findings);
// The znodes above registrations that the agent created, and how many of them are empty.
void examine_parents(const Context& context, const Patient& patient, Findings& findings);
// Znodes under the root that our session owns and that nobody wants, and those that belong to nobody at all.
void examine_orphans(const Context& context, const Patient& patient, Findings& findings);

}  // namespace limpet::cli
