// The three real servers that the tests of this program share: started at the first call, on the main thread.
#pragma once

#include "tests/support/real_ensemble.h"

namespace limpet::test {

inline RealEnsemble& servers() {
  static RealEnsemble instance;
  static RealEnsemble& running = RealEnsemble::started(instance);
  return running;
}

}  // namespace limpet::test
