// The agent's log: one event per line on stderr, `level=… event=… key=value …`, with a time stamp; where stderr is the
// journal, with its level in front instead. Every value from outside is quoted_value() or a log_value(), so that none
// can forge a field, and the whole line is harmless(), so that none can forge a line; a lint looks for the rest. An
// event that repeats within a minute is counted instead of written, beyond a small number. Any thread.
#pragma once

#include <string>
#include <string_view>

#include "agent/core/harmless_text.h"

namespace limpet {

enum class LogLevel { debug, info, warn, error };

// Parses "debug", "info", "warn" or "error"; false where it is none of them.
bool parse_log_level(std::string_view text, LogLevel& level);
// The word for it, as parse_log_level takes it.
const char* log_level_name(LogLevel level);

void set_log_level(LogLevel level);

// `event` is a stable word; `detail` is ready-made key=value text, or empty. Never pass a secret.
void log(LogLevel level, std::string_view event, std::string_view detail = {});

// The last words of a program that cannot go on: one line on stderr, "<program>: <why>".
void complain(std::string_view program, std::string_view why);

}  // namespace limpet
