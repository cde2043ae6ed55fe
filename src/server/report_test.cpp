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

TEST(SampleRequests, AreWhatAShellReads) {
  const Signature two{.inputs = {{.name = "x"}, {.name = "it's (1)"}}, .outputs = {}};
  EXPECT_EQ(SampleRequests({"127.0.0.1:9000", ""}, "m", two, "/a b/switchyard"),
            "  '/a b/switchyard' infer --url 127.0.0.1:9000 --protocol kserve-grpc --model m --input x=random --input "
            "'it'\\''s (1)=random'\n"
            "  '/a b/switchyard' infer --url 127.0.0.1:9000 --protocol tfs-grpc --model m --input x=random --input "
            "'it'\\''s (1)=random'\n");
  EXPECT_EQ(SampleRequests({"", "unix:/tmp/s"}, "m;", Signature(), "switchyard"),
            "  switchyard infer --url unix:/tmp/s --protocol kserve-rest --model 'm;'\n"
            "  switchyard infer --url unix:/tmp/s --protocol tfs-rest --model 'm;'\n");
}

}  // namespace
}  // namespace switchyard
