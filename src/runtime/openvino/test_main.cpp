// The tests of this folder start themselves as the child that the server's program is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/openvino/child_main.h"

int main(int argc, char** argv) {
  if (argc == 2) {
    if (const auto exit_code = switchyard::RunAsChild(argv[1]); exit_code.has_value()) return *exit_code;
  }
  ::testing::InitGoogleMock(&argc, argv);
  return RUN_ALL_TESTS();
}
