#include "protocol/kserve/shared_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace switchyard::kserve {
namespace {

using testing::HasSubstr;

TEST(SharedMemoryTest, ReadsARegistration) {
  const auto info = ReadRegistration("r", R"({"key": "/x", "offset": 8, "byte_size": 18446744073709551615, "more": []})");
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->name, "r");
  EXPECT_EQ(info->key, "/x");
  EXPECT_EQ(info->offset, 8u);
  EXPECT_EQ(info->byte_size, ~uint64_t{0});
  EXPECT_EQ(ReadRegistration("r", R"({"key": "a\u0000b", "byte_size": 1})")->key, std::string("a\0b", 3));
  for (const std::string json : {"", "[]", "{", "7", "{}", R"({"key": 1, "byte_size": 1})", R"({"key": "x"})",
                                 R"({"key": "x", "byte_size": -1})", R"({"key": "x", "byte_size": 1.5})",
                                 R"({"key": "x", "byte_size": "1"})", R"({"key": "x", "byte_size": 18446744073709551616})",
                                 R"({"key": "x", "byte_size": 1, "offset": null})", "{\"key\": \"\xff\", \"byte_size\": 1}"}) {
    EXPECT_EQ(ReadRegistration("r", json).status().code(), StatusCode::kInvalidArgument) << json;
  }
  EXPECT_FALSE(ReadRegistration("r", std::string(kMaxRegisterBytes + 1, ' ')).ok());
}

TEST(SharedMemoryTest, WritesRegions) {
  EXPECT_EQ(EncodeRegions({}), "[]");
  EXPECT_EQ(EncodeRegions({{"a\"", "/k", 1, 2}, {"b", "l", 0, ~uint64_t{0}}}),
            "[{\"name\":\"a\\\"\",\"key\":\"/k\",\"offset\":1,\"byte_size\":2},"
            "{\"name\":\"b\",\"key\":\"l\",\"offset\":0,\"byte_size\":18446744073709551615}]");
}

TEST(SharedMemoryTest, APlaceHasARegionAndASize) {
  SharedParameters shared;
  EXPECT_FALSE(shared.any());
  shared.region = "r";
  EXPECT_THAT(std::string(shared.Take().status().message()), HasSubstr("shared_memory_byte_size is missing"));
  shared.bytes = 4;
  shared.offset = 8;
  EXPECT_EQ(shared.Take()->offset, 8u);
  shared.region.reset();
  EXPECT_THAT(std::string(shared.Take().status().message()), HasSubstr("shared_memory_region is missing"));
}

}  // namespace
}  // namespace switchyard::kserve
