// Events and actions in one line each, for the report of a violation.
#pragma once

#include <string>

#include "agent/core/event.h"

namespace limpet::test {

// "#7".
std::string seq_text(Seq seq);
std::string describe(const core::Event& event);
std::string describe(const core::Action& action);
std::string describe(const core::ZkRequest& request);
std::string describe(const core::ZkReply& reply);
std::string describe(const Change& change);
const char* name_of(core::ZkCode code);
const char* name_of(core::ProblemCode code);
const char* name_of(core::State state);
const char* name_of(HoldCause cause);
const char* name_of(Happening what);

}  // namespace limpet::test
