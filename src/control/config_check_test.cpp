#include "control/config_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/setting_mark.h"
#include "runtime/fake/fake_runtime.h"
#include "serving/test_calls.h"

namespace switchyard {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ConfigCheckTest : public testing::Test {
 protected:
  std::vector<ConfigFault> Faults(ModelSettings settings, bool read_models = false) {
    std::vector<ConfigFault> faults;
    CheckedModel model{std::move(settings), "/model_config_list/0/config", faulty_keys_};
    CheckModel(model,
               {.runtime = runtime_,
                .inventory = runtime_.Devices(kListLimit).found,
                .device_plugins = {},
                .read_models = read_models,
                .read_recorded = read_recorded_},
               &faults);
    return faults;
  }
  ConfigFault Only(ModelSettings settings, bool read_models = false) {
    const auto faults = Faults(std::move(settings), read_models);
    EXPECT_EQ(faults.size(), 1u) << ToText(faults);
    return faults.empty() ? ConfigFault{} : faults[0];
  }

  FakeRuntime runtime_;
  TempRepository repository_;
  std::set<std::string> faulty_keys_;
  ReadRecorded read_recorded_;
};

const std::string kEntry = "/model_config_list/0/config";

TEST_F(ConfigCheckTest, AModelThatIsThereHasNoFaults) {
  ModelSettings settings = repository_.Add("dummy", {1, 2});
  settings.version_policy.kind = VersionPolicy::Kind::kAll;
  settings.labels = {{"stable", 1}};
  EXPECT_THAT(Faults(settings, true), IsEmpty());
}

TEST_F(ConfigCheckTest, AVersionThatIsMarkedIncompleteIsNotThereYet) {
  ModelSettings settings = repository_.Add("dummy", {1, 2});
  std::ofstream(repository_.path() / "dummy/2/.incomplete");
  settings.labels = {{"stable", 1}};
  EXPECT_THAT(Faults(settings), IsEmpty());
  settings.labels = {{"stable", 2}};
  EXPECT_EQ(Only(settings).pointer, kEntry + "/labels/stable");
  settings.labels = {};
  EXPECT_THAT(Only(settings, true).got, HasSubstr("dummy/2\", which is marked .incomplete")) << "check tells of it";
  std::filesystem::remove_all(repository_.path() / "dummy/1");
  EXPECT_THAT(Only(settings).got, HasSubstr("dummy/2\", which is marked .incomplete"));
}

TEST_F(ConfigCheckTest, TheFileOfTheWarmUpIsThere) {
  ModelSettings settings = repository_.Add("dummy", {1});
  settings.warm_up.file = settings.base_path + "/nowhere.json";
  ConfigFault fault = Only(settings);
  EXPECT_EQ(fault.pointer, kEntry + "/warmup/file");
  EXPECT_THAT(fault.got, HasSubstr("nowhere.json"));
  settings.warm_up.file = settings.base_path;
  EXPECT_THAT(Only(settings).got, HasSubstr("which is no file"));
}

TEST_F(ConfigCheckTest, WhatALoadWouldRefuseOfItsDevice) {
  ModelSettings settings = repository_.Add("dummy", {1});
  runtime_.SetDeviceNames({"CPU", "GPU.0"});
  runtime_.Update("dummy", [](FakeRuntime::Script& script) {
    script.load_refusal = MarkSetting(Error(StatusCode::kResourceExhausted, "too little memory"), "target_device");
  });
  settings.target_device = "GPU.0";
  const ConfigFault fault = Only(settings, true);
  EXPECT_EQ(fault.pointer, kEntry + "/target_device");
  EXPECT_EQ(fault.got, "too little memory");
  EXPECT_THAT(Faults(settings), IsEmpty()) << "a reload does not read models";
  settings.fallback_devices = {"CPU"};
  EXPECT_THAT(Faults(settings, true), IsEmpty()) << "a start would serve it there";
}

TEST_F(ConfigCheckTest, PathsAndVersions) {
  ModelSettings settings = repository_.Add("dummy", {1, 2});
  settings.labels = {{"stable", 1}};
  ConfigFault fault = Only(settings);
  EXPECT_EQ(fault.pointer, kEntry + "/labels/stable") << "the latest version is 2";
  EXPECT_THAT(fault.expected, HasSubstr(": 2"));
  EXPECT_EQ(fault.got, "1");

  settings.labels.clear();
  settings.version_policy = {.kind = VersionPolicy::Kind::kSpecific, .versions = {7}};
  EXPECT_EQ(Only(settings).pointer, kEntry + "/model_version_policy");

  settings.base_path += "/nowhere";
  fault = Only(settings);
  EXPECT_EQ(fault.pointer, kEntry + "/base_path");
  EXPECT_THAT(fault.got, HasSubstr("nowhere"));
  faulty_keys_ = {"base_path"};
  EXPECT_THAT(Faults(settings), IsEmpty()) << "it is in the list already";
}

TEST_F(ConfigCheckTest, AVersionThatIsNotWholeYet) {
  ModelSettings settings = repository_.Add("dummy", {1});
  std::filesystem::create_directories(settings.base_path + "/2");
  EXPECT_THAT(Faults(settings), IsEmpty()) << "a server goes on with version 1";
  settings.labels = {{"stable", 1}};
  EXPECT_THAT(Faults(settings), IsEmpty());
  EXPECT_THAT(Only(settings, true).expected, HasSubstr("version 2")) << "but check tells of it";
  settings.labels.clear();
  std::filesystem::remove_all(settings.base_path + "/1");
  EXPECT_EQ(Only(settings).pointer, kEntry + "/base_path");
}

TEST_F(ConfigCheckTest, Devices) {
  ModelSettings settings = repository_.Add("dummy", {1});
  settings.target_device = "GPU";
  EXPECT_EQ(Only(settings).pointer, kEntry + "/target_device");
  settings.target_device = "CPU";
  settings.fallback_devices = {"AUTO"};
  EXPECT_EQ(Only(settings).pointer, kEntry + "/fallback_devices");
  settings.fallback_devices.clear();
  settings.plugin_config = {{"MODEL_PRIORITY", {"SOME"}}};
  settings.target_device = "AUTO:CPU";
  EXPECT_EQ(Only(settings).pointer, kEntry + "/plugin_config/MODEL_PRIORITY");
}

TEST_F(ConfigCheckTest, ADeviceThatIsNotThereHidesNoFaultOfAValue) {
  ModelSettings settings = repository_.Add("dummy", {1});
  settings.target_device = "TPU";
  settings.plugin_config = {{"NUM_STREAMS", {int64_t{-7}}}, {"PERFORMANCE_HINT", {"LATENCY"}}};
  std::vector<std::string> pointers;
  for (const ConfigFault& fault : Faults(settings)) pointers.push_back(fault.pointer);
  EXPECT_THAT(pointers, testing::UnorderedElementsAre(kEntry + "/target_device", kEntry + "/plugin_config/NUM_STREAMS"));
  settings.plugin_config.clear();
  faulty_keys_ = {"plugin_config"};
  EXPECT_EQ(Only(settings).pointer, kEntry + "/target_device");
}

TEST_F(ConfigCheckTest, WhatAModelDoesNotTakeIsAtItsKey) {
  const ModelSettings settings = repository_.Add("dummy", {1});
  const auto at = [&](const Status& error) {
    runtime_.Update("dummy", [&](FakeRuntime::Script& script) { script.load_error = error; });
    return Only(settings, true).pointer;
  };
  const Status error = InvalidArgument("the model refuses it");
  EXPECT_EQ(at(error), kEntry + "/base_path");
  EXPECT_EQ(at(MarkSetting(error, "shape")), kEntry + "/shape");
  EXPECT_EQ(at(Annotate(MarkSetting(MarkSetting(error, "mean"), "layout"), "of that input")), kEntry + "/mean");
}

TEST_F(ConfigCheckTest, StateOfAModelWithoutVariables) {
  ModelSettings settings = repository_.Add("dummy", {1});
  settings.stateful = true;
  const ConfigFault fault = Only(settings, true);
  EXPECT_EQ(fault.pointer, kEntry + "/stateful");
  EXPECT_THAT(fault.got, HasSubstr("no variables"));
}

TEST_F(ConfigCheckTest, TheWarmUpsRequestsAreRead) {
  ModelSettings settings = repository_.Add("dummy", {1});
  settings.warm_up.file = settings.base_path + "/requests.json";
  std::ofstream(settings.warm_up.file) << "garbage";
  read_recorded_ = [](const std::string&, const Signature&) -> StatusOr<std::vector<DecodedRequest>> {
    return InvalidArgument("the list of requests is empty; expected at least one");
  };
  EXPECT_THAT(Faults(settings), IsEmpty()) << "not without the models";
  EXPECT_EQ(Only(settings, true).pointer, kEntry + "/warmup/file");
}

TEST_F(ConfigCheckTest, TheWarmUpsRequestsAreOfThisModel) {
  ModelSettings settings = repository_.Add("dummy", {1, 2});
  settings.warm_up.file = settings.base_path + "/requests.json";
  std::ofstream(settings.warm_up.file) << "whatever is read";
  std::string name = "b";
  int64_t width = 10;
  std::vector<float> values(20);
  read_recorded_ = [&](const std::string&, const Signature& signature) -> StatusOr<std::vector<DecodedRequest>> {
    std::vector<DecodedRequest> requests(signature.inputs.empty() ? 0 : 1);
    for (DecodedRequest& one : requests) {
      one.inputs.push_back({name, TensorView{ElementType::kFp32,
                                             {1, width},
                                             reinterpret_cast<std::byte*>(values.data()),
                                             static_cast<size_t>(width) * sizeof(float)}});
    }
    return requests;
  };
  EXPECT_THAT(Faults(settings, true), IsEmpty());
  width = 11;
  EXPECT_THAT(Only(settings, true).got, AllOf(HasSubstr("request 1"), HasSubstr("(1,11)")));
  width = 10;
  name = "no_such_input";
  const ConfigFault fault = Only(settings, true);
  EXPECT_EQ(fault.pointer, kEntry + "/warmup/file");
  EXPECT_THAT(fault.got, HasSubstr("Required input: b"));
}

TEST_F(ConfigCheckTest, ReadsTheModelWhenItIsToldTo) {
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.load_error = InvalidArgument("the file is broken"); });
  const ModelSettings settings = repository_.Add("dummy", {1});
  EXPECT_THAT(Faults(settings), IsEmpty());
  EXPECT_THAT(Only(settings, true).got, HasSubstr("the file is broken"));
  EXPECT_EQ(runtime_.loads(), 0u) << "nothing is compiled";
}

}  // namespace
}  // namespace switchyard
