// Reading the agent's JSON answers: tolerant of fields that are missing, null, unknown or of another type, so that this
// program and an agent of another version can talk. Nothing here throws. Pure; any thread.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace limpet::cli {

using Json = nlohmann::ordered_json;

// What `body` says; is_discarded() where it is not JSON.
Json parse(std::string_view body);

// The member `key` of `value`, or null.
const Json& at(const Json& value, const char* key);
// The same as a string, an integer, a bool; empty, 0, false where it is not one.
std::string text(const Json& value, const char* key);
std::int64_t number(const Json& value, const char* key);
bool flag(const Json& value, const char* key);

// Of a registration or a queued operation, as the API shows them:
std::string id_of(const Json& item);  // "service/instance"
// "no_quorum: 2 of 3 servers refuse connections", or empty where there is no reason.
std::string reason_of(const Json& item);
// The state with its reason, how long it has lasted and how often it was tried: for sentences.
std::string state_with_reason(const Json& item, std::int64_t now_ms);
// How long ago the RFC 3339 time in `key` was ("3m ago"), or empty.
std::string age_of(const Json& item, const char* key, std::int64_t now_ms);

// What a person can do about a registration in `state`, with a reason of `code`; empty where nothing needs doing.
// `path` is the znode's.
std::string advice_for(std::string_view state, std::string_view code, const std::string& path);

}  // namespace limpet::cli
