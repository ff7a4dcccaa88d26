// The tests' own main: commands are started through the program itself, as limpetd does.
#include <gtest/gtest.h>

#include "agent/liveness/check_child.h"
#include "agent/liveness/program.h"

int main(int argc, char** argv) {
  if (limpet::liveness::is_check_child(argc, argv)) {
    return limpet::liveness::run_check_child(argc, argv);
  }
  limpet::liveness::prepare_program();
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
