// What a caller is told, beside the refusal, whose uid has a privilege that its namespaces take away. Pure.
#pragma once

#include "agent/core/types.h"

namespace limpet::core {

inline const char* words_if_contained(const Caller& caller) {
  return caller.owner.contained ? " The caller has that uid in another user or pid namespace than the agent "
                                  "(a container, or a service with a file system of its own), where it counts as any "
                                  "other user."
                                : "";
}

}  // namespace limpet::core
