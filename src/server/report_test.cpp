#include "server/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace switchyard {
namespace {

TEST(ReadyFile, NullsWhatIsOff) {
  EXPECT_EQ(ReadyFileText({"127.0.0.1:9000", "127.0.0.1:8000"}, 7),
            R"({"grpc":"127.0.0.1:9000","rest":"127.0.0.1:8000","pid":7})");
  EXPECT_EQ(ReadyFileText({"", "unix:/tmp/s"}, 7), R"({"grpc":null,"rest":"unix:/tmp/s","pid":7})");
}

}  // namespace
}  // namespace switchyard
