// Writing of answers.
#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>

#include "agent/api/check_reader.h"
#include "agent/api/json.h"
#include "agent/api/json_writer.h"
#include "agent/api/names.h"

namespace limpet::api {
namespace {

// Members of an object, put together in one go where it is known that they are short.
template <std::size_t Size>
class ShortMembers {
 public:
  void append(std::string_view text) { end_ = std::copy(text.begin(), text.end(), end_); }
  void append(std::uint64_t number) { end_ = std::to_chars(end_, text_.data() + Size, number).ptr; }
  std::string_view text() const { return {text_.data(), end_}; }

 private:
  std::array<char, Size> text_;
  char* end_ = text_.data();
};

// Every answer has these.
void write_id(JsonWriter& json, const RegistrationId& id) {
  constexpr std::size_t kShort = 128;
  if (id.service.size() + id.instance.size() <= kShort) {
    constexpr std::string_view kBegin = R"("id":")";
    constexpr std::string_view kFrame = R"("id":"/","service":"","instance":"")";
    ShortMembers<kFrame.size() + 2 * kShort> members;
    members.append(kBegin);
    members.append(id.service);
    members.append("/");
    members.append(id.instance);
    if (is_plain(members.text().substr(kBegin.size()))) {
      members.append(R"(","service":")");
      members.append(id.service);
      members.append(R"(","instance":")");
      members.append(id.instance);
      members.append("\"");
      return json.members(members.text());
    }
  }
  json.key("id").string(id.str());
  json.key("service").string(id.service);
  json.key("instance").string(id.instance);
}

void write_reason(JsonWriter& json, const core::SharedReason& reason) {
  json.key("reason");
  if (!reason) {
    return json.null();
  }
  json.begin_object();
  json.key("code").plain(reason_name(reason->code));
  json.key("message").string(reason->message);
  json.key("since").time(reason->since);
  json.key("attempts").number(reason->attempts);
  json.end_object();
}

// Where the value of the data is left out, and how it is to be written there.
struct DataPlace {
  std::size_t at = 0;
  bool base64 = false;
};

void write_content(JsonWriter& json, const core::RegistrationView& view, DataPlace* left_out) {
  if (view.state == core::State::removing) {
    json.key("format").null();
    json.key("data").null();
    return;
  }
  const Registration& registration = *view.registration;
  json.key("format").plain(format_name(registration.format));
  if (left_out != nullptr) {
    left_out->base64 = !is_utf8(registration.data);
    json.key("data");
    if (left_out->base64) {
      json.null();
      json.key("data_base64");
    }
    left_out->at = json.size();
    return json.literal("");
  }
  if (is_plain(registration.data)) {
    json.key("data").plain(registration.data);
  } else if (is_utf8(registration.data)) {
    json.key("data").string(registration.data);
  } else {
    json.key("data").null();
    json.key("data_base64").base64(registration.data);
  }
}

void write_znode(JsonWriter& json, const std::optional<Outcome>& znode) {
  json.key("znode");
  if (!znode) {
    return json.null();
  }
  json.begin_object();
  json.key("session").hex(znode->session.value);
  json.key("czxid").hex(znode->czxid.value);
  json.key("mzxid").hex(znode->mzxid.value);
  json.key("version").number(znode->version);
  json.end_object();
}

void write_hold(JsonWriter& json, std::string_view key, const std::optional<Hold>& hold) {
  json.key(key);
  if (!hold) {
    return json.null();
  }
  json.begin_object();
  json.key("reason");
  json.text_or_null(hold->message);
  json.key("since").time(hold->since);
  json.end_object();
}

void write_duration(JsonWriter& json, std::string_view key, std::int64_t ms) {
  json.key(key);
  if (ms == 0) {
    json.null();
  } else {
    json.plain(duration_text(std::chrono::milliseconds(ms)));
  }
}

void write_time(JsonWriter& json, std::string_view key, std::optional<WallMs> at) {
  json.key(key);
  if (at) {
    json.time(*at);
  } else {
    json.null();
  }
}

void write_lifetime(JsonWriter& json, const core::RegistrationView& view) {
  const Lifetime& lifetime = view.registration->lifetime;
  if (lifetime == Lifetime() && !view.ttl_expires_at && !view.expires_at) {  // as most are
    return json.members(R"("bind":"none","ttl":null,"ttl_expires_at":null,"expires":null,"expires_at":null)");
  }
  json.key("bind").plain(bind_name(lifetime.bind));
  if (lifetime.process) {
    json.key("process").begin_object();
    json.key("pid").number(lifetime.process->pid);
    json.end_object();
  }
  write_duration(json, "ttl", lifetime.ttl_ms);
  write_time(json, "ttl_expires_at", view.ttl_expires_at);
  write_duration(json, "expires", lifetime.expires_ms);
  write_time(json, "expires_at", view.expires_at);
  if (!lifetime.checks.empty()) {
    json.key("checks").begin_array();
    for (const Check& check : lifetime.checks) {
      write_check(json, check);
    }
    json.end_array();
  }
}

void write_registration(JsonWriter& json, const core::RegistrationView& view, DataPlace* left_out = nullptr) {
  const Registration& registration = *view.registration;
  json.begin_object();
  write_id(json, registration.id);
  json.key("path").string(registration.path);
  write_content(json, view, left_out);
  json.key("state").plain(state_name(view.state));
  write_reason(json, view.reason);
  json.key("seq").number(registration.seq.value);
  json.key("accepted_at").time(registration.accepted_at);
  json.key("registered_at");
  if (view.znode && view.znode->seq == registration.seq) {
    json.time(view.znode->registered_at);
  } else {
    json.null();
  }
  json.key("owner").begin_object();
  json.key("uid").number(registration.owner.uid);
  json.key("pid").number(registration.owner.pid);
  if (registration.owner.contained) {
    json.key("contained").boolean(true);
  }
  json.end_object();
  write_lifetime(json, view);
  write_hold(json, "maintenance", view.maintenance);
  write_znode(json, view.znode);
  json.end_object();
}

}  // namespace

void render_registration(std::string& out, const core::RegistrationView& view) {
  JsonWriter json(out);
  write_registration(json, view);
}

RegistrationFrame frame_registration(const core::RegistrationView& view) {
  RegistrationFrame frame;
  DataPlace place;
  JsonWriter json(frame.before);
  write_registration(json, view, &place);
  frame.behind = frame.before.substr(place.at);
  frame.before.resize(place.at);
  frame.base64 = place.base64;
  return frame;
}

void render_removed(std::string& out, const RegistrationId& id, Seq seq) {
  JsonWriter json(out);
  json.begin_object();
  write_id(json, id);
  json.key("seq").number(seq.value);
  json.key("state").plain("removed");
  json.end_object();
}

void render_operation(std::string& out, const core::QueuedOperation& operation) {
  JsonWriter json(out);
  json.begin_object();
  json.key("seq").number(operation.seq.value);
  json.key("op").string(operation.deregister ? "deregister" : operation.withdraw ? "withdraw" : "register");
  write_id(json, operation.id);
  json.key("path").string(operation.path);
  json.key("state").plain(state_name(operation.state));
  write_reason(json, operation.reason);
  json.key("accepted_at").time(operation.accepted_at);
  json.end_object();
}

void render_host_maintenance(std::string& out, const std::optional<Hold>& hold) {
  JsonWriter json(out);
  json.begin_object();
  json.key("maintenance").begin_object();
  json.key("enabled").boolean(hold.has_value());
  json.key("reason");
  json.text_or_null(hold ? std::string_view(hold->message) : std::string_view());
  write_time(json, "since", hold ? std::optional(hold->since) : std::nullopt);
  json.end_object();
  json.end_object();
}

void render_history_entry(std::string& out, const HistoryEntry& entry) {
  JsonWriter json(out);
  json.begin_object();
  json.key("event").number(entry.event);
  json.key("seq");
  if (entry.seq.value != 0) {
    json.number(entry.seq.value);
  } else {
    json.null();
  }
  json.key("time").time(entry.time);
  if (entry.id) {
    write_id(json, *entry.id);
  } else {
    json.key("id").null();
    json.key("service").null();
    json.key("instance").null();
  }
  json.key("what").plain(happening_name(entry.what));
  json.key("why");
  json.text_or_null(entry.why);
  json.key("who");
  if (entry.who) {
    json.begin_object();
    json.key("uid").number(entry.who->owner.uid);
    json.key("pid").number(entry.who->owner.pid);
    json.key("program");
    json.text_or_null(entry.who->program);
    json.end_object();
  } else {
    json.null();
  }
  json.key("zxid");
  if (entry.zxid.value != 0) {
    json.hex(entry.zxid.value);
  } else {
    json.null();
  }
  json.end_object();
}

namespace {

// The first few problems by name: one directory may hold thousands.
void write_files(JsonWriter& json, const FilesStatus& files) {
  constexpr std::size_t kMostNamed = 16;
  json.key("registrations_d").begin_object();
  json.key("directory").string(files.directory);
  json.key("registrations").number(files.registrations);
  json.key("held").number(files.held);
  json.key("problems").number(files.errors.size());
  json.key("errors").begin_array();
  for (std::size_t i = 0; i < std::min(files.errors.size(), kMostNamed); ++i) {
    json.begin_object();
    json.key("file").string(files.errors[i].file);
    json.key("error").string(files.errors[i].error);
    json.end_object();
  }
  json.end_array();
  json.end_object();
}

void write_usage(JsonWriter& json, std::string_view what, const core::Usage& usage) {
  json.key(what).begin_object();
  json.key("used").number(usage.used);
  json.key("limit").number(usage.limit);
  json.key("user_limit").number(usage.user_limit);
  json.end_object();
}

void write_session(JsonWriter& json, const core::StatusView& status, const ProcessInfo& process) {
  json.key("zookeeper").begin_object();
  json.key("state").plain(session_state_name(status.session_state));
  json.key("session");
  if (status.session) {
    json.hex(status.session->value);
  } else {
    json.null();
  }
  json.key("server");
  json.text_or_null(status.server);
  json.key("session_timeout_ms").number(status.session_timeout_ms);
  json.key("since").time(status.session_since);
  json.key("reattached").boolean(status.reattached);
  json.key("sessions").number(status.sessions);
  json.key("message");
  json.text_or_null(status.session_message);
  json.key("servers").begin_array();
  for (const ServerInfo& server : process.zookeeper_servers) {
    json.begin_object();
    json.key("name").string(server.name);
    json.key("addresses").begin_array();
    for (const std::string& address : server.addresses) {
      json.string(address);
    }
    json.end_array();
    json.key("error");
    json.text_or_null(server.error);
    json.end_object();
  }
  json.end_array();
  json.end_object();
}

void write_queue(JsonWriter& json, const core::StatusView& status) {
  json.key("queue").begin_object();
  json.key("depth").number(status.queue_depth);
  json.key("bytes").number(status.queue_bytes);
  json.key("oldest_age_ms").number(status.oldest_age_ms);
  json.key("last_seq").number(status.last_seq.value);
  json.key("applied_seq").number(status.applied_seq.value);
  json.key("max_operations").number(status.max_operations);
  json.end_object();
}

void write_counts(JsonWriter& json, const core::StatusView& status) {
  json.key("registrations").begin_object();
  json.key("total").number(status.total);
  // The order in which the interface shows them.
  using core::State;
  for (const State state : {State::registered, State::pending, State::suspended, State::conflict, State::blocked,
                            State::unhealthy, State::maintenance, State::removing}) {
    json.key(state_name(state)).number(status.by_state[static_cast<std::size_t>(state)]);
  }
  json.end_object();
}

void write_usages(JsonWriter& json, const core::StatusView& status) {
  json.key("usage").begin_object();
  write_usage(json, "registrations", status.registrations);
  write_usage(json, "path_bytes", status.path_bytes);
  write_usage(json, "data_bytes", status.data_bytes);
  write_usage(json, "operations", status.operations);
  json.key("session_path_bytes").number(status.session_path_bytes);
  json.key("watch_path_bytes").number(status.watch_path_bytes);
  json.key("held_back").number(status.held_back);
  json.end_object();
}

void write_checks_found(JsonWriter& json, const ProcessInfo& process) {
  json.key("checks").begin_object();
  json.key("passing").number(process.checks.passing);
  json.key("failing").number(process.checks.failing);
  json.key("late").number(process.checks.late);
  json.end_object();
}

void write_storage(JsonWriter& json, const core::StatusView& status, const ProcessInfo& process) {
  json.key("storage").begin_object();
  json.key("healthy").boolean(status.storage_healthy());
  json.key("state").plain(storage_state_name(status.storage));
  json.key("since");
  if (status.storage_healthy()) {
    json.null();
  } else {
    json.time(status.storage_since);
  }
  json.key("error");
  json.text_or_null(status.storage_error);
  json.key("bytes").number(process.storage_bytes);
  json.end_object();
}

}  // namespace

void render_status(std::string& out, const core::StatusView& status, const ProcessInfo& process) {
  JsonWriter json(out);
  json.begin_object();
  json.key("version").string(process.version);
  json.key("pid").number(process.pid);
  json.key("started_at").time(process.started_at);
  write_session(json, status, process);
  write_queue(json, status);
  write_counts(json, status);
  write_usages(json, status);
  write_checks_found(json, process);
  write_hold(json, "maintenance", status.maintenance);
  write_storage(json, status, process);
  write_files(json, process.files ? *process.files : FilesStatus());
  json.end_object();
}

void render_result(std::string& out, const core::AcceptedChange& change, std::optional<core::State> state) {
  JsonWriter json(out);
  json.begin_object();
  write_id(json, change.id);
  constexpr std::size_t kEnough = 128;  // for all digits and every state
  ShortMembers<kEnough> members;
  members.append(R"("seq":)");
  members.append(change.seq.value);
  members.append(R"(,"changed":)");
  members.append(change.changed ? std::string_view("true") : std::string_view("false"));
  members.append(R"(,"state":")");
  members.append(state ? state_name(*state) : "removed");
  members.append("\"");
  json.members(members.text());
  json.end_object();
}

}  // namespace limpet::api
