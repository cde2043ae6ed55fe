#include <fstream>

#include "runtime/openvino/test_models.h"

namespace switchyard {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

PropertyValue Text(const std::string& text) { return {text}; }
PropertyMap For(const std::string& device, PropertyMap properties) {
  return {{"DEVICE_PROPERTIES", {PropertyMap{{device, {std::move(properties)}}}}}};
}

class PropertyCheckTest : public OpenVinoTest {
 protected:
  static std::string Fault(const PropertyMap& config, const std::string& target = "CPU",
                           const std::vector<std::string>& devices = {"CPU"}) {
    const auto notes = runtime_->CheckProperties(target, devices, config);
    EXPECT_EQ(notes.status().code(), StatusCode::kInvalidArgument) << notes.status();
    return std::string(Message(notes.status()));
  }
  static std::vector<std::string> Notes(const PropertyMap& config, const std::string& target = "CPU",
                                        const std::vector<std::string>& devices = {"CPU"}) {
    const auto notes = runtime_->CheckProperties(target, devices, config);
    EXPECT_TRUE(notes.ok()) << notes.status();
    return notes.ok() ? *notes : std::vector<std::string>{};
  }
  // A program that does `script` in place of a child's work.
  std::string Program(const std::string& script) {
    const std::string path = folder_ / "program";
    std::ofstream(path) << "#!/bin/sh\n" << script << "\n";
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    return path;
  }
};

TEST_F(PropertyCheckTest, GoodPropertiesHaveNoNotes) {
  EXPECT_THAT(Notes({}), IsEmpty());
  EXPECT_THAT(Notes({{"NUM_STREAMS", {int64_t{2}}},
                     {"INFERENCE_PRECISION_HINT", Text("f32")},
                     {"ENABLE_CPU_PINNING", {true}},
                     {"CACHE_DIR", Text("/tmp/c")},
                     {"ENABLE_MMAP", {true}}}),
              IsEmpty());
  EXPECT_THAT(Notes({{"ENABLE_STARTUP_FALLBACK", {false}}, {"SCHEDULE_POLICY", Text("ROUND_ROBIN")}}, "AUTO:CPU"), IsEmpty());
  EXPECT_THAT(Notes(For("CPU", {{"NUM_STREAMS", {int64_t{2}}}}), "AUTO:CPU"), IsEmpty());
}

TEST_F(PropertyCheckTest, KeysAreNamedWithTheNearest) {
  EXPECT_THAT(Fault({{"NUM_STREAM", {int64_t{1}}}}),
              AllOf(HasSubstr("\"NUM_STREAM\""), HasSubstr("CPU"), HasSubstr("did you mean NUM_STREAMS?")));
  EXPECT_THAT(Fault({{"num_streams", {int64_t{1}}}}), HasSubstr("NUM_STREAMS"));
  EXPECT_THAT(Fault({{"NUM_STREAM", {int64_t{1}}}}, "AUTO:CPU"), HasSubstr("NUM_STREAMS")) << "AUTO takes it in silence";
  EXPECT_THAT(Fault({{"NUM_STREAM", {int64_t{1}}}}, "HETERO:CPU"), HasSubstr("NUM_STREAMS")) << "and HETERO";
  EXPECT_THAT(Fault({{"SCHEDULE_POLICY", Text("ROUND_ROBIN")}}), HasSubstr("SCHEDULE_POLICY")) << "is AUTO's";
  EXPECT_THAT(Fault({{"XYZ", {true}}}), AllOf(HasSubstr("XYZ"), HasSubstr("take it out"), Not(HasSubstr("mean"))));
  EXPECT_THAT(Fault(For("CPU", {{"FOO_BAR", {true}}}), "AUTO:CPU"),
              AllOf(HasSubstr("DEVICE_PROPERTIES/CPU"), HasSubstr("FOO_BAR")));
}

TEST_F(PropertyCheckTest, ValuesAndReadOnlyKeys) {
  EXPECT_THAT(Fault({{"NUM_STREAMS", {int64_t{-7}}}}, "AUTO:CPU"), AllOf(HasSubstr("NUM_STREAMS"), HasSubstr("-7")));
  EXPECT_THAT(Fault({{"NUM_STREAMS", {int64_t{100000}}}}), AllOf(HasSubstr("256"), HasSubstr("100000")));
  EXPECT_THAT(Fault(For("CPU", {{"NUM_STREAMS", {int64_t{-7}}}})), AllOf(HasSubstr("DEVICE_PROPERTIES/CPU"), HasSubstr("-7")));
  EXPECT_THAT(Fault({{"PERFORMANCE_HINT", Text("FAST")}}), AllOf(HasSubstr("LATENCY"), HasSubstr("FAST")));
  EXPECT_THAT(Fault({{"FULL_DEVICE_NAME", Text("x")}}), AllOf(HasSubstr("FULL_DEVICE_NAME"), HasSubstr("only be read")));
  EXPECT_THAT(Fault({{"LOADED_FROM_CACHE", {true}}}), HasSubstr("only be read"));
  EXPECT_THAT(Fault({{"NUM_STREAMS", {PropertyMap{}}}}), HasSubstr("DEVICE_PROPERTIES"));
  EXPECT_THAT(Fault({{"DEVICE_PROPERTIES", {PropertyMap{{"CPU", {int64_t{1}}}}}}}), HasSubstr("DEVICE_PROPERTIES/CPU"));
}

TEST_F(PropertyCheckTest, AnAbsentDevicesKeysAreNotJudged) {
  const std::string target = "AUTO:NPU,CPU";
  // Left out by the inventory, or gone since.
  for (const auto& devices : {std::vector<std::string>{"CPU"}, std::vector<std::string>{"NPU", "CPU"}}) {
    EXPECT_THAT(Notes({{"NPU_TURBO", Text("YES")}}, target, devices),
                ::testing::ElementsAre(AllOf(HasSubstr("NPU_TURBO"), HasSubstr("NPU is not there"))));
    EXPECT_THAT(Notes(For("NPU", {{"NPU_TURBO", Text("YES")}}), target, devices), ::testing::SizeIs(1));
    EXPECT_THAT(Fault({{"NUM_STREAM", {int64_t{1}}}}, target, devices), HasSubstr("NUM_STREAMS"));
  }
  EXPECT_THAT(Fault(For("GPU", {{"NUM_STREAMS", {int64_t{1}}}}), target),
              AllOf(HasSubstr("DEVICE_PROPERTIES/GPU"), HasSubstr("NPU, CPU")));
}

TEST_F(PropertyCheckTest, AGpuThatAutoWouldTakeIsAbsentAsWell) {
  const auto none = runtime_->Devices(kListLimit).found;
  if (std::ranges::any_of(none, [](const DeviceInfo& device) { return device.name.starts_with("GPU"); }))
    GTEST_SKIP() << "a GPU";
  for (const std::string target : {"AUTO", "MULTI"}) {
    EXPECT_THAT(Notes(For("GPU", {{"NUM_STREAMS", {int64_t{2}}}}), target), IsEmpty());
    EXPECT_THAT(Notes(For("GPU", {{"GPU_QUEUE_THROTTLE", Text("LOW")}}), target), ::testing::SizeIs(1));
    EXPECT_THAT(Notes({{"GPU_QUEUE_THROTTLE", Text("LOW")}}, target),
                ::testing::ElementsAre(AllOf(HasSubstr("GPU_QUEUE_THROTTLE is not judged"), HasSubstr("GPU is not there"))));
    EXPECT_THAT(Fault({{"XYZ", {true}}}, target), HasSubstr("take it out"));
    EXPECT_THAT(Fault({{"NUM_STREAM", {int64_t{1}}}}, target), HasSubstr("did you mean NUM_STREAMS?"));
    EXPECT_THAT(Fault(For("NPU", {{"NPU_TURBO", Text("YES")}}), target), HasSubstr("does not run on \"NPU\""));
  }
  EXPECT_THAT(Fault(For("GPU", {{"NUM_STREAMS", {int64_t{2}}}}), "AUTO:-GPU"), HasSubstr("does not run on \"GPU\""));
  EXPECT_THAT(Fault({{"GPU_QUEUE_THROTTLE", Text("LOW")}}, "AUTO:-GPU"), HasSubstr("take it out"));
}

TEST_F(PropertyCheckTest, HeterosOwnPropertiesAreItsToJudge) {
  const std::string target = "HETERO:GPU,CPU";
  EXPECT_THAT(Notes({{"MODEL_DISTRIBUTION_POLICY", Text("PIPELINE_PARALLEL")}}, target), IsEmpty());
  EXPECT_THAT(Notes({{"MODEL_DISTRIBUTION_POLICY", Text("PIPELINE_PARALLEL")}}, "HETERO:CPU"), IsEmpty());
  EXPECT_THAT(Fault({{"MODEL_DISTRIBUTION_POLICY", Text("SIDEWAYS")}}, target),
              AllOf(HasSubstr("MODEL_DISTRIBUTION_POLICY: HETERO:CPU does not take \"SIDEWAYS\"")));
  EXPECT_THAT(Fault(For("CPU", {{"MODEL_DISTRIBUTION_POLICY", Text("PIPELINE_PARALLEL")}}), target),
              HasSubstr("CPU does not take \"PIPELINE_PARALLEL\""));
  const auto loaded = Load(AddModel({1, 10}), {.target_device = "HETERO:CPU",
                                               .plugin_config = {{"MODEL_DISTRIBUTION_POLICY", Text("PIPELINE_PARALLEL")}}});
  EXPECT_NE(loaded, nullptr);
}

TEST_F(PropertyCheckTest, OldNamesAreNoted) {
  EXPECT_THAT(Notes({{"CPU_THROUGHPUT_STREAMS", {int64_t{2}}}}),
              ::testing::ElementsAre(HasSubstr("CPU_THROUGHPUT_STREAMS is an old name; NUM_STREAMS is set in its place")));
  EXPECT_THAT(Fault({{"CPU_THREADS_NUM", Text("many")}}), HasSubstr("INFERENCE_NUM_THREADS: expected a whole number"));
}

TEST_F(PropertyCheckTest, AChildTellsWhatTheDeviceTakes) {
  EXPECT_THAT(Notes({{"KV_CACHE_PRECISION", Text("u8")}}), IsEmpty());
  EXPECT_THAT(Fault({{"KV_CACHE_PRECISION", Text("i8")}}),
              AllOf(HasSubstr("KV_CACHE_PRECISION"), HasSubstr("CPU does not take \"i8\""), Not(HasSubstr("Exception from"))));
  EXPECT_THAT(Fault({{"MODEL_DISTRIBUTION_POLICY", Text("SIDEWAYS")}}), HasSubstr("SIDEWAYS"));
}

TEST_F(PropertyCheckTest, AValueThatEndsTheChildIsRefused) {
  // It fails for the value alone.
  const std::string program = Program(
      "read line\ncase \"$line\" in *i8*) kill -ABRT $$;; *u4*) sleep 60;; esac\n"
      "echo '{\"code\":0,\"fault\":0,\"message\":\"\"}'");
  const auto runtime = MakeOpenVinoRuntime({.child_program = program, .probe_limit = std::chrono::milliseconds(300)});
  ASSERT_TRUE(runtime.ok()) << runtime.status();
  const auto check = [&](const std::string& value) {
    return (*runtime)->CheckProperties("CPU", {"CPU"}, {{"KV_CACHE_PRECISION", Text(value)}});
  };
  EXPECT_THAT(Message(check("i8").status()), AllOf(HasSubstr("KV_CACHE_PRECISION"), HasSubstr("signal 6 (Aborted)")));
  EXPECT_THAT(Message(check("u4").status()), HasSubstr("no answer within 0.3 s"));
  EXPECT_TRUE(check("u8").ok());
  std::filesystem::remove(program);
  EXPECT_FALSE(check("i8").ok()) << "remembered";
  const auto unjudged = check("bf16");
  ASSERT_TRUE(unjudged.ok()) << unjudged.status();
  EXPECT_THAT(*unjudged, ::testing::ElementsAre(AllOf(HasSubstr("KV_CACHE_PRECISION"), HasSubstr("not judged"))));
}

TEST_F(PropertyCheckTest, AnAnswerThatCameTooLateIsAskedForAgain) {
  const std::string busy = folder_ / "busy";
  std::ofstream(busy) << "";
  const std::string program = Program("read line\ncase \"$line\" in *u4*) if [ -e " + busy +
                                      " ]; then sleep 60; fi;; esac\necho '{\"code\":0,\"fault\":0,\"message\":\"\"}'");
  const auto runtime = MakeOpenVinoRuntime({.child_program = program, .probe_limit = std::chrono::seconds(1)});
  ASSERT_TRUE(runtime.ok()) << runtime.status();
  const auto check = [&] { return (*runtime)->CheckProperties("CPU", {"CPU"}, {{"KV_CACHE_PRECISION", Text("u4")}}); };
  EXPECT_THAT(Message(check().status()), HasSubstr("no answer within 1 s"));
  std::filesystem::remove(busy);
  const auto notes = check();
  ASSERT_TRUE(notes.ok()) << notes.status();
  EXPECT_THAT(*notes, IsEmpty());
}

TEST_F(PropertyCheckTest, ADeviceThatTakesNothingIsNotTheValuesFault) {
  const auto runtime = MakeOpenVinoRuntime({.child_program = Program("kill -SEGV $$")});
  const auto notes = (*runtime)->CheckProperties("CPU", {"CPU"}, {{"KV_CACHE_PRECISION", Text("i8")}});
  ASSERT_TRUE(notes.ok()) << notes.status();
  EXPECT_THAT(*notes, ::testing::ElementsAre(HasSubstr("signal 11")));
}

TEST_F(PropertyCheckTest, StreamsBesideAHintAreNoted) {
  EXPECT_THAT(Notes({{"NUM_STREAMS", {int64_t{2}}}, {"PERFORMANCE_HINT", Text("LATENCY")}}),
              ::testing::ElementsAre(AllOf(HasSubstr("NUM_STREAMS"), HasSubstr("PERFORMANCE_HINT"))));
}

TEST_F(PropertyCheckTest, DevicePluginsAreLookedAt) {
  const auto fault = [](const std::string& name, const std::string& library) {
    const auto made = MakeOpenVinoRuntime({.device_plugins = {{name, library}}});
    EXPECT_FALSE(made.ok());
    EXPECT_THAT(Message(made.status()), HasSubstr("--device_plugin " + name + "=" + library));
    return std::string(Message(made.status()));
  };
  const std::string text = folder_ / "text.so";
  std::ofstream(text) << "this is no library";
  EXPECT_THAT(fault("X", "/nowhere/x.so"), HasSubstr("not there"));
  EXPECT_THAT(fault("X", text), HasSubstr("cannot be loaded"));
  EXPECT_THAT(fault("X", folder_), HasSubstr("cannot be loaded"));
}

}  // namespace
}  // namespace switchyard
