#include "server/recorded_requests.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace switchyard {
namespace {

using testing::HasSubstr;

class RecordedRequestsTest : public testing::Test {
 protected:
  RecordedRequestsTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "sy_recorded_XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    signature_.inputs = {{.name = "b", .type = ElementType::kFp32, .shape = {{Dimension::Fixed(1), Dimension::Fixed(2)}}}};
  }
  ~RecordedRequestsTest() override { std::filesystem::remove_all(folder_); }

  StatusOr<std::vector<DecodedRequest>> Read(const std::string& text, const std::string& name = "requests.json") {
    std::ofstream(folder_ / name, std::ios::binary) << text;
    return ReadRecordedRequests((folder_ / name).string(), signature_);
  }
  static float Second(const DecodedRequest& request) {
    float value = 0;
    std::memcpy(&value, static_cast<const std::byte*>(request.inputs[0].tensor.data) + 4, 4);
    return value;
  }

  std::filesystem::path folder_;
  Signature signature_;
};

constexpr char kRequest[] = R"({"inputs": [{"name": "b", "datatype": "FP32", "shape": [1, 2], "data": [1.5, 2.5]}]})";

TEST_F(RecordedRequestsTest, WhatIsNoFileIsNotRead) {
  for (const char* path : {"/dev/zero", "/nowhere", "/"}) {
    EXPECT_THAT(ReadRecordedRequests(path, signature_).status().ToString(), HasSubstr("expected a file of recorded requests"))
        << path;
  }
}

TEST_F(RecordedRequestsTest, OneRequestOrAListOfThem) {
  auto one = Read(kRequest);
  ASSERT_TRUE(one.ok()) << one.status();
  ASSERT_EQ(one->size(), 1u);
  EXPECT_EQ(Second(one->front()), 2.5f);
  auto list = Read(std::string("[") + kRequest + ", " + kRequest + "]");
  ASSERT_TRUE(list.ok()) << list.status();
  ASSERT_EQ(list->size(), 2u);
  EXPECT_EQ(Second(list->back()), 2.5f);
}

TEST_F(RecordedRequestsTest, AnArrayOfNumpyIsTheOnlyInput) {
  std::string npy("\x93NUMPY\x01\x00", 8);
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }";
  header.resize(118, ' ');
  header.back() = '\n';
  npy += static_cast<char>(header.size());
  npy += '\0';
  npy += header;
  const float values[] = {1.5f, 2.5f};
  npy.append(reinterpret_cast<const char*>(values), sizeof(values));
  auto request = Read(npy, "b.npy");
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(Second(request->front()), 2.5f);
  signature_.inputs.push_back(signature_.inputs.front());
  EXPECT_THAT(std::string(Message(Read(npy, "b.npy").status())), HasSubstr("the model has 2 inputs"));
}

TEST_F(RecordedRequestsTest, FaultsSayWhatIsWrong) {
  EXPECT_THAT(std::string(Message(Read("[1, ").status())), HasSubstr("byte"));
  EXPECT_THAT(std::string(Message(Read("[]").status())), HasSubstr("is empty"));
  EXPECT_THAT(std::string(Message(Read(std::string("[") + kRequest + ", {}]").status())), HasSubstr("request 2"));
  EXPECT_FALSE(Read(std::string(100'000, '[')).ok());
  const auto shared = Read(R"({"inputs": [{"name": "b", "shape": [1, 2], "datatype": "FP32", "parameters": {
      "shared_memory_region": "r", "shared_memory_byte_size": 8}}]})");
  EXPECT_THAT(std::string(Message(shared.status())), HasSubstr("shared memory cannot be recorded"));
  EXPECT_FALSE(ReadRecordedRequests((folder_ / "none").string(), signature_).ok());
}

}  // namespace
}  // namespace switchyard
