#include "agent/cli/register_options.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <set>

#include "agent/cli/text.h"

namespace limpet::cli {

namespace {

// ZooKeeper takes 1 MB; far above it a file is a mistake, and /dev/zero would never end.
constexpr std::size_t kMaxDataBytes = 16u << 20;

// A checker for the parser: what goes into JSON as it is must be UTF-8.
std::string check_utf8(const std::string& value) {
  return is_utf8(value) ? std::string{} : std::string("is not valid UTF-8");
}

std::string check_port(const std::string& value) {
  const bool digits = !value.empty() && value.size() <= 5 &&
                      std::all_of(value.begin(), value.end(), [](char c) { return c >= '0' && c <= '9'; });
  const int port = digits ? std::atoi(value.c_str()) : 0;
  return port >= 1 && port <= 65535 ? std::string{} : fmt::format("'{}' is no port; write 1 to 65535", value);
}

std::string check_metadata(const std::string& value) {
  const std::size_t equals = value.find('=');
  if (equals == std::string::npos || equals == 0) {
    return fmt::format("'{}' is not KEY=VALUE", value);
  }
  return check_utf8(value);
}

std::string check_pid(const std::string& value) {
  const bool digits = !value.empty() && value.size() <= 9 &&
                      std::all_of(value.begin(), value.end(), [](char c) { return c >= '0' && c <= '9'; });
  return digits && std::atoi(value.c_str()) > 0 ? std::string{} : fmt::format("'{}' is no process id", value);
}

// Of two values for one key, neither may be dropped in silence.
void refuse_repeated_keys(const std::vector<std::string>& metadata) {
  std::set<std::string> keys;
  for (const std::string& pair : metadata) {
    const std::string key = pair.substr(0, pair.find('='));
    if (!keys.insert(key).second) {
      throw CLI::ValidationError("--metadata", fmt::format("names '{}' twice", key));
    }
  }
}

// All of the file ("-": standard input) into `data`; otherwise what went wrong.
std::string read_file(const std::string& name, std::string& data) {
  const bool standard_input = name == "-";
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(standard_input ? stdin : std::fopen(name.c_str(), "rb"),
                                                             &std::fclose);
  const std::string shown = standard_input ? "standard input" : name;
  if (file == nullptr) {
    return fmt::format("cannot read {}: {}", shown, std::strerror(errno));
  }
  std::vector<char> chunk(64 * 1024);
  std::size_t count = 0;
  while ((count = std::fread(chunk.data(), 1, chunk.size(), file.get())) > 0) {
    data.append(chunk.data(), count);
    if (data.size() > kMaxDataBytes) {
      return fmt::format("{} holds more than {}; a znode holds 1 MB at most", shown, format_bytes(kMaxDataBytes));
    }
  }
  return std::ferror(file.get()) != 0 ? fmt::format("cannot read {}: {}", shown, std::strerror(errno)) : std::string{};
}

// JSON strings hold text only, and some text (zeros, many quotes) grows in them: then the bytes travel as base64, so
// that what a znode can hold does not fail on the size of a body.
bool fits_a_string(const std::string& data) {
  constexpr std::size_t kLarge = 256 * 1024;
  return is_utf8(data) && (data.size() < kLarge || Json(data).dump().size() < data.size() / 3 * 4);
}

void add_binding(const RegisterOptions& options, Json& body) {
  if (options.bind_to_sender) {
    body["bind"] = "process";  // without a pid: the agent takes the one that the kernel tells
    return;
  }
  if (!options.bind && !options.pid) {
    return;
  }
  // `limpet register` ends at once, so a binding to it would be of no use: it stands for who called it.
  body["bind"] = options.bind.value_or("process");
  if (body["bind"] == "process") {
    body["pid"] = options.pid ? std::atoi(options.pid->c_str()) : static_cast<int>(::getppid());
  }
}

// The request's body, or in `problem` why there is none.
std::string registration_body(const RegisterOptions& options, std::string& problem) {
  Json body = Json::object();
  std::optional<std::string> data = options.data;
  if (options.data_file) {
    data.emplace();
    problem = read_file(*options.data_file, *data);
    if (!problem.empty()) {
      return {};
    }
  }
  if (data) {
    const bool as_text = fits_a_string(*data);
    body[as_text ? "data" : "data_base64"] = as_text ? *data : base64(*data);
  }
  if (options.address) {
    body["address"] = *options.address;
  }
  if (options.port) {
    body["port"] = std::atoi(options.port->c_str());
  }
  for (const std::string& pair : options.metadata) {
    const std::size_t equals = pair.find('=');
    body["metadata"][pair.substr(0, equals)] = pair.substr(equals + 1);
  }
  if (options.format) {
    body["format"] = *options.format;
  }
  if (options.path) {
    body["path"] = *options.path;
  }
  if (options.ttl) {
    body["ttl"] = *options.ttl;
  }
  if (options.expires) {
    body["expires"] = *options.expires;
  }
  add_binding(options, body);
  return body.dump();
}

// What became of it, for people.
std::string accepted_text(const std::string& id, const Json& body, unsigned status, std::int64_t now_ms) {
  const std::string state = text(body, "state");
  if (status == 200 && (state.empty() || state == "registered")) {
    const std::string path = text(body, "path");
    return fmt::format("{} is registered in ZooKeeper{} ({})", id, path.empty() ? "" : " as " + path,
                       change_number(body));
  }
  if (status == 200) {
    return fmt::format("{} stands as it was ({}; {})", id, change_number(body), state_with_reason(body, now_ms));
  }
  const std::string reason = reason_of(body);
  return fmt::format("{} is accepted: {} is on disk and goes to ZooKeeper by itself{}", id, change_number(body),
                     reason.empty() ? std::string{} : fmt::format(" ({}, {})", state, reason));
}

}  // namespace

void add_register_options(CLI::App& verb, RegisterOptions& options) {
  add_name(verb, options.name);
  CLI::Option* data = verb.add_option("--data", options.data, "the znode's bytes, as they are")->option_text("S");
  verb.add_option("--data-file", options.data_file, "the same from a file; - is standard input")
      ->option_text("F")
      ->excludes(data);
  verb.add_option("--address", options.address, "where the instance listens")->option_text("A")->check(check_utf8);
  verb.add_option("--port", options.port, "and on which port")->option_text("P")->check(check_port);
  verb.add_option("--metadata", options.metadata, "anything else about it; may be repeated")
      ->option_text("K=V")
      ->allow_extra_args(false)
      ->check(check_metadata);
  verb.add_option("--format", options.format,
                  "how the znode's bytes are made of these: raw (where data is given), json (otherwise), curator, "
                  "spring, serverset, nerve")
      ->option_text("F")
      ->check(check_utf8);
  verb.add_option("--path", options.path, "this znode path instead of <root>/SERVICE/INSTANCE")
      ->option_text("PATH")
      ->check(check_utf8);
  verb.add_option("--ttl", options.ttl, "deregistered unless a heartbeat comes at least so often (limpet heartbeat)")
      ->option_text("D")
      ->check(check_duration);
  verb.add_option("--expires", options.expires, "dropped if it is still not in ZooKeeper after so long")
      ->option_text("D")
      ->check(check_duration);
  add_wait(verb, "--wait", options.wait, "wait until it is in ZooKeeper, so long at most; else exit 4");
}

void add_binding_options(CLI::App& verb, RegisterOptions& options) {
  verb.add_option("--bind", options.bind,
                  "process: deregistered when the process ends that --pid names, or else the one that calls limpet; "
                  "none (default): stays until it is deregistered")
      ->option_text("B")
      ->check(CLI::IsMember({"none", "process"}));
  verb.add_option("--pid", options.pid, "deregistered when this process ends (as --bind process)")
      ->option_text("N")
      ->check(check_pid);
}

void check_register_options(const RegisterOptions& options) {
  refuse_repeated_keys(options.metadata);
  if (options.pid && options.bind == "none") {
    throw CLI::ValidationError("--pid", "goes with --bind process only");
  }
}

std::optional<Request> register_request(const RegisterOptions& options, std::string& problem) {
  Request request{Method::put, options.name.target() + options.wait.query(), registration_body(options, problem),
                  options.wait.duration()};
  return problem.empty() ? std::optional<Request>(std::move(request)) : std::nullopt;
}

Exit register_now(Context& context, const RegisterOptions& options, bool quiet, Json& registered) {
  std::string problem;
  const std::optional<Request> request = register_request(options, problem);
  if (!request) {
    return failed(context, Exit::failed, "cannot_read", problem);
  }
  const std::optional<Answer> answer = ask(context, *request);
  if (!answer) {
    return Exit::unreachable;
  }
  const std::string id = options.name.str();
  if (!answer->ok()) {
    return refused(context, "register " + id, *answer);
  }
  std::optional<Json> body = body_of(context, *answer);
  if (!body) {
    return Exit::failed;
  }
  registered = std::move(*body);
  if (context.json && !quiet) {
    print_json(context, answer->body);
  }
  const std::string state = text(registered, "state");
  const bool is_registered = answer->status == 200 && (state.empty() || state == "registered");
  if (options.wait.asked() && !is_registered) {
    const Json item = state.empty() ? parse(look_up(context, options.name).body) : registered;
    return wait_ran_out(context, options.name, "in ZooKeeper", options.wait, item);
  }
  if (!context.json && !quiet) {
    context.console.out(printable(accepted_text(id, registered, answer->status, context.now_ms)) + "\n");
  }
  return Exit::done;
}

}  // namespace limpet::cli
