// GET /v1/devices and .../placement, with the fake runtime behind them.
#include "protocol/rest/ledger.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidjson/document.h>

#include <thread>

#include "device/fault.h"
#include "protocol/http/test_body.h"
#include "protocol/rest/rest_api.h"
#include "runtime/fake/fake_runtime.h"
#include "serving/test_calls.h"

namespace switchyard {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

LoadFacts Facts(const std::string& device, uint64_t memory) {
  return {.device = device,
          .execution_devices = {device},
          .precision = "f16",
          .num_streams = 2,
          .optimal_requests = 4,
          .compile_ms = 12.34,
          .layers = {{device, {{"Convolution", 3}, {"Relu", 2}}}},
          .memory_bytes = memory};
}

rapidjson::Document Parse(const std::string& json) {
  rapidjson::Document document;
  document.Parse(json.c_str());
  EXPECT_FALSE(document.HasParseError()) << json;
  return document;
}

std::vector<std::string> Texts(const rapidjson::Value& array) {
  std::vector<std::string> texts;
  for (const auto& one : array.GetArray()) texts.emplace_back(one.GetString());
  return texts;
}

TEST(EncodeDevices, TellsUtcTimesAndNullForWhatIsNotTold) {
  using std::chrono::seconds;
  const TimePoint now{seconds(5000)};
  const std::chrono::system_clock::time_point wall{seconds(1700000000)};  // 2023-11-14T22:13:20Z
  const std::vector<DeviceReport> devices = {
      {.info = {.name = "GPU.0", .full_name = "A \"GPU\"", .type = DeviceInfo::Type::kDiscreteGpu, .memory_total_bytes = 8000},
       .state = DeviceState::kLost,
       .since = now - seconds(20),
       .reason = "it hangs",
       .remedy = "",
       .models = {"a", "b"}},
      {.info = {.name = "GPU"},
       .state = DeviceState::kAbsent,
       .since = now,
       .reason = "no node",
       .remedy = "add it",
       .models = {}}};
  EXPECT_EQ(EncodeDevices(devices, now, wall),
            "{\"devices\":[{\"name\":\"GPU.0\",\"full_name\":\"A \\\"GPU\\\"\",\"type\":\"discrete GPU\",\"state\":\"lost\","
            "\"since\":\"2023-11-14T22:13:00Z\",\"reason\":\"it hangs\",\"remedy\":null,\"models\":[\"a\",\"b\"],"
            "\"memory_total_bytes\":8000,\"memory_used_bytes\":null},"
            "{\"name\":\"GPU\",\"full_name\":null,\"type\":\"GPU\",\"state\":\"absent\",\"since\":\"2023-11-14T22:13:20Z\","
            "\"reason\":\"no node\",\"remedy\":\"add it\",\"models\":[],\"memory_total_bytes\":null,"
            "\"memory_used_bytes\":null}]}");
  EXPECT_EQ(EncodeDevices({}, now, wall), "{\"devices\":[]}");
}

TEST(EncodePlacement, SumsUpWhatServesTogether) {
  PlacementReport report{.target_device = "MULTI:GPU.0,CPU", .execution_devices = {"GPU.0", "CPU"}};
  report.targets = {{.target = "GPU.0", .device = "GPU.0", .execution_devices = {"GPU.0"}, .state = "serving",
                     .facts = Facts("GPU.0", 1000), .num_requests = 4, .requests_served = 7},
                    {.target = "CPU", .device = "CPU", .execution_devices = {"CPU"}, .state = "serving",
                     .facts = Facts("CPU", 30), .num_requests = 2}};
  const rapidjson::Document json = Parse(EncodePlacement(report));
  EXPECT_STREQ(json["target_device"].GetString(), "MULTI:GPU.0,CPU");
  EXPECT_EQ(json["num_requests"].GetInt(), 6);
  EXPECT_EQ(json["memory_bytes"].GetInt(), 1030);
  EXPECT_STREQ(json["precision"].GetString(), "f16");
  EXPECT_EQ(json["num_streams"].GetInt(), 2);
  EXPECT_EQ(json["layers"]["GPU.0"].GetInt(), 5);
  EXPECT_EQ(json["layers"]["CPU"].GetInt(), 5);
  EXPECT_EQ(json["layers_by_type"]["CPU"]["Relu"].GetInt(), 2);
  EXPECT_EQ(json["compile_ms"].GetDouble(), 12.3);
  EXPECT_STREQ(json["cache"].GetString(), "off");
  EXPECT_EQ(json["by_device"]["GPU.0"]["requests_served"].GetInt(), 7);
  EXPECT_EQ(json["by_device"]["CPU"]["memory_bytes"].GetInt(), 30);
}

TEST(EncodePlacement, Batching) {
  PlacementReport report{.target_device = "CPU"};
  EXPECT_FALSE(Parse(EncodePlacement(report)).HasMember("dynamic_batching"));
  report.batching =
      BatchingReport{.max_batch_size = 8, .max_delay_us = 500, .batches = 3, .calls = 10, .cost_us = {{1, 250.4}, {8, 900.0}}};
  const rapidjson::Document json = Parse(EncodePlacement(report));
  const auto& batching = json["dynamic_batching"];
  EXPECT_EQ(batching["max_batch_size"].GetInt(), 8);
  EXPECT_EQ(batching["max_delay_us"].GetInt(), 500);
  EXPECT_EQ(batching["batches"].GetInt(), 3);
  EXPECT_EQ(batching["calls"].GetInt(), 10);
  EXPECT_EQ(batching["cost_us"]["1"].GetInt(), 250);
  EXPECT_EQ(batching["cost_us"]["8"].GetInt(), 900);
}

TEST(EncodePlacement, NothingServesIsNulls) {
  PlacementReport report{.target_device = "HETERO:GPU.0,CPU", .reasons = {"GPU.0 does not serve: it hangs"}};
  report.targets = {{.target = "HETERO:GPU.0,CPU", .device = "GPU.0", .state = "lost", .reason = "it hangs"},
                    {.target = "GPU.0", .device = "GPU.0", .state = "failed", .reason = "no"}};
  const rapidjson::Document json = Parse(EncodePlacement(report));
  EXPECT_THAT(Texts(json["execution_devices"]), IsEmpty());
  for (const char* key : {"layers", "layers_by_type", "precision", "num_streams", "num_requests", "batch_size", "cache",
                          "compile_ms", "memory_bytes"}) {
    EXPECT_TRUE(json[key].IsNull()) << key;
  }
  // Two targets that begin with one device are kept apart.
  ASSERT_EQ(json["by_device"].MemberCount(), 2u);
  EXPECT_STREQ(json["by_device"]["HETERO:GPU.0,CPU"]["reason"].GetString(), "it hangs");
  EXPECT_STREQ(json["by_device"]["GPU.0"]["reason"].GetString(), "no");
}

class LedgerTest : public ::testing::Test {
 protected:
  // The Manager asks for the devices as soon as it is made.
  struct TwoDevices {
    TwoDevices() { runtime.SetDeviceNames({"CPU", "GPU.0"}); }
    FakeRuntime runtime;
  };

  void Serve(const std::string& target) {
    ModelSettings settings = repository_.Add("dummy", {1, 2});
    settings.target_device = target;
    FakeRuntime::Script broken;
    broken.load_error = InvalidArgument("the file is broken");
    runtime_.Set("broken", broken);
    manager_.SetWanted({settings, repository_.Add("broken", {1})}, {});
    manager_.WaitForLoads();
  }
  HttpReply Ask(const std::string& target) {
    auto responder = std::make_shared<TestResponder>();
    api_.Handle({"GET", target, "", "", std::nullopt, MakeBody("")}, responder);
    EXPECT_EQ(responder->replies.size(), 1U) << target;
    return responder->replies.empty() ? HttpReply() : std::move(responder->replies[0]);
  }
  rapidjson::Document Json(const std::string& target) {
    const HttpReply reply = Ask(target);
    EXPECT_EQ(reply.code, 200) << target;
    return Parse(reply.body.Flatten());
  }
  // The first answer that `holds` is true of; the last one after ten seconds.
  template <typename Holds>
  rapidjson::Document Await(const std::string& target, Holds holds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    for (;;) {
      rapidjson::Document json = Json(target);
      if (holds(json) || std::chrono::steady_clock::now() > end) return json;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

  TempRepository repository_;
  TwoDevices devices_;
  FakeRuntime& runtime_ = devices_.runtime;
  ThreadTimer timer_;
  Manager manager_{runtime_, timer_,
                   {.explain_absent = [](const DeviceList&) {
                     return std::vector<AbsentDevice>{{"NPU", "no /dev/accel", "load the driver"}};
                   }}};
  RestApi api_{manager_, timer_, {}};
};

TEST_F(LedgerTest, TellsPlacementsByModelAndVersion) {
  FakeRuntime::Script gpu;
  gpu.facts = Facts("GPU.0", 4096);
  runtime_.Set("dummy@GPU.0", gpu);
  Serve("GPU");
  const rapidjson::Document json = Json("/v1/models/dummy/placement");
  EXPECT_STREQ(json["target_device"].GetString(), "GPU");
  EXPECT_THAT(Texts(json["execution_devices"]), ElementsAre("GPU.0"));
  EXPECT_FALSE(json["helping"].GetBool());
  EXPECT_EQ(json["num_requests"].GetInt(), 4);
  EXPECT_EQ(json["by_device"]["GPU.0"]["num_requests"].GetInt(), 4);
  EXPECT_STREQ(json["by_device"]["GPU.0"]["state"].GetString(), "serving");
  EXPECT_EQ(Ask("/v1/models/dummy/versions/2/placement").code, 200);
  EXPECT_EQ(Ask("/v1/models/dummy/versions/9/placement").code, 404);
  EXPECT_EQ(Ask("/v1/models/unknown/placement").code, 404);
  const HttpReply broken = Ask("/v1/models/broken/placement");
  EXPECT_EQ(broken.code, 503);
  EXPECT_THAT(broken.body.Flatten(), HasSubstr("the file is broken"));
}

TEST_F(LedgerTest, TellsDevicesThatAreThereAndThatAreNot) {
  Serve("CPU");
  const rapidjson::Document json = Json("/v1/devices");
  ASSERT_EQ(json["devices"].Size(), 3u);
  const auto find = [&](const char* name) -> const rapidjson::Value& {
    for (const auto& device : json["devices"].GetArray()) {
      if (std::string_view(device["name"].GetString()) == name) return device;
    }
    return json["devices"][0];
  };
  EXPECT_STREQ(find("CPU")["state"].GetString(), "well");
  EXPECT_THAT(Texts(find("CPU")["models"]), ElementsAre("dummy"));
  EXPECT_STREQ(find("GPU.0")["type"].GetString(), "discrete GPU");
  EXPECT_THAT(Texts(find("GPU.0")["models"]), IsEmpty());
  EXPECT_STREQ(find("NPU")["state"].GetString(), "absent");
  EXPECT_STREQ(find("NPU")["reason"].GetString(), "no /dev/accel");
  EXPECT_STREQ(find("NPU")["remedy"].GetString(), "load the driver");
}

TEST_F(LedgerTest, ALostDeviceIsToldWith200) {
  runtime_.Set("dummy@GPU.0", {.facts = Facts("GPU.0", 4096)});
  Serve("GPU.0");
  runtime_.SetRenewError(absl::UnavailableError("still gone"));
  const Status lost = MarkFault(absl::UnavailableError("CL_OUT_OF_RESOURCES"), Fault::kDevice);
  TestCall call(1);
  Infer(*manager_.Acquire("dummy", std::nullopt), call.call);
  ASSERT_TRUE(runtime_.WaitForHeld(1));
  ASSERT_TRUE(runtime_.CompleteNext(lost));
  const rapidjson::Document json =
      Await("/v1/models/dummy/placement", [](const auto& now) { return now["execution_devices"].Empty(); });
  EXPECT_TRUE(json["execution_devices"].Empty());
  EXPECT_TRUE(json["num_streams"].IsNull());
  EXPECT_STREQ(json["by_device"]["GPU.0"]["state"].GetString(), "lost");
  ASSERT_FALSE(json["reasons"].Empty());
  EXPECT_THAT(json["reasons"][0].GetString(), HasSubstr("CL_OUT_OF_RESOURCES"));
  EXPECT_THAT(Ask("/v1/devices").body.Flatten(), HasSubstr("CL_OUT_OF_RESOURCES"));
}

}  // namespace
}  // namespace switchyard
