// Errors that say that the agent is short of something, and nothing about what it tried to reach. Pure; any thread.
#pragma once

#include <cerrno>

namespace limpet::liveness {

inline bool is_want(int error) {
  return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

}  // namespace limpet::liveness
