// What a registration is made of on the command line: shared by `register` and `run`.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "agent/cli/command.h"

namespace limpet::cli {

struct RegisterOptions {
  Name name;
  std::optional<std::string> data;
  std::optional<std::string> data_file;
  std::optional<std::string> address;
  std::optional<std::string> port;
  std::vector<std::string> metadata;
  std::optional<std::string> format;
  std::optional<std::string> path;
  std::optional<std::string> ttl;
  std::optional<std::string> expires;
  std::optional<std::string> bind;
  std::optional<std::string> pid;
  bool bind_to_sender = false;  // bound to the process that sends the request
  WaitTime wait;
};

// Adds SERVICE, INSTANCE and every option but --bind and --pid; `options` must outlive the parsing.
void add_register_options(CLI::App& verb, RegisterOptions& options);

// Adds --bind and --pid.
void add_binding_options(CLI::App& verb, RegisterOptions& options);

// What the parser cannot check option by option; throws its errors.
void check_register_options(const RegisterOptions& options);

// The request that registers, or nothing where a file cannot be read: `problem` then says why. May block for the file.
std::optional<Request> register_request(const RegisterOptions& options, std::string& problem);

// Registers and says so, unless `quiet`. `registered` is given the answer's body where it was accepted.
Exit register_now(Context& context, const RegisterOptions& options, bool quiet, Json& registered);

}  // namespace limpet::cli
