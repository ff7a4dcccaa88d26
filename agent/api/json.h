// JSON bodies <-> typed requests and answers: the edge of the agent. Pure functions; any thread.
//
// Reading is strict: an unknown field, a wrong type, a number out of range is refused with the place where it stands,
// never coerced. Writing appends to a string.
//
// How a registration's `data` is shown: as a string where the bytes are valid UTF-8; otherwise `data` is null and
// `data_base64` holds them. Of a registration that is being removed neither format nor data is known: both are null.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agent/api/json_writer.h"
#include "agent/api/problem.h"
#include "agent/api/service.h"

namespace limpet::api {

inline constexpr std::size_t kMaxBatchOperations = 10'000;

struct BodyLimits {
  std::size_t max_data_bytes = 1'000'000;  // of one znode
};

// ---- Requests

// The body of a PUT. No bytes at all mean {}. Refusals: bad_json, invalid (with `errors`), too_large.
//
// The znode's bytes: with format "raw" (the default where data is given) those of `data` or `data_base64`, or none, and
// the fields address, port and metadata are refused. With any other ("json" is the default otherwise) they are made of
// these, as agent/api/formats.h says.
Parsed<core::RegisterRequest> parse_registration(const RegistrationId& id, std::string_view body,
                                                 const BodyLimits& limits = {});

// {"operations":[{"op":"register","service":…,"instance":…,…},{"op":"deregister",…}]}, up to kMaxBatchOperations. A
// refusal of one operation names its index, and its fields by their pointer into the whole body.
Parsed<std::vector<core::ChangeRequest>> parse_batch(std::string_view body, const BodyLimits& limits = {});

// {"reason":"…"}, or no bytes at all: the reason, at most kMaxReasonBytes; empty where none is given.
inline constexpr std::size_t kMaxReasonBytes = 1'000;
Parsed<std::string> parse_maintenance(std::string_view body);

// {"older_than":"7d","dry_run":false,"service":"web"}, or no bytes at all; without a token and a caller.
inline constexpr std::chrono::milliseconds kPruneAge = std::chrono::hours(7 * 24);
Parsed<core::Prune> parse_prune(std::string_view body);

// A body of which nothing is expected: no bytes, or {}.
std::optional<Problem> parse_empty(std::string_view body);

// ---- Answers; each appends one JSON object to `out`.

void render_registration(std::string& out, const core::RegistrationView& view);

// The same without the data, for data too large to be written in one go: what stands before its value and behind it,
// and how its value is to be written.
struct RegistrationFrame {
  std::string before;
  std::string behind;
  bool base64 = false;
};
// Precondition: it is not being removed.
RegistrationFrame frame_registration(const core::RegistrationView& view);

// In place of a registration that is gone: {"id","service","instance","seq","state":"removed"}.
void render_removed(std::string& out, const RegistrationId& id, Seq seq);

// One operation of the queue: {"seq","op","id","service","instance","path","state","reason","accepted_at"}.
void render_operation(std::string& out, const core::QueuedOperation& operation);

// {"maintenance":{"enabled","reason","since"}}: of the whole host.
void render_host_maintenance(std::string& out, const std::optional<Hold>& hold);

// One entry of the history: {"event","seq","time","id","service","instance","what","why","who","zxid"}.
void render_history_entry(std::string& out, const HistoryEntry& entry);

void render_status(std::string& out, const core::StatusView& status, const ProcessInfo& process);

// One result of a batch or of leave: {"id","service","instance","seq","changed","state"}. `state` is that of the
// registration now; absent where there is none, which is shown as "removed".
void render_result(std::string& out, const core::AcceptedChange& change, std::optional<core::State> state);

}  // namespace limpet::api
