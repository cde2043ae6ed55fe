#include "device/target.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <iterator>
#include <random>

namespace switchyard {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Kind = Target::Kind;

const std::vector<std::string> kVcpu = {"VCPU"};

Target Parsed(std::string_view text, const std::vector<std::string>& known = {}) {
  const auto target = ParseTarget(text, known);
  EXPECT_TRUE(target.ok()) << target.status();
  return target.ok() ? *target : Target{};
}

std::string FaultOfText(std::string_view text, const std::vector<std::string>& known = {}) {
  const auto target = ParseTarget(text, known);
  if (target.ok()) return "taken as " + target->ToString();
  EXPECT_EQ(target.status().code(), StatusCode::kInvalidArgument);
  return std::string(Message(target.status()));
}

ModelSettings Model(const std::string& target_device, std::optional<PropertyValue> priorities = std::nullopt) {
  ModelSettings model;
  model.target_device = target_device;
  if (priorities.has_value()) model.plugin_config["MULTI_DEVICE_PRIORITIES"] = *priorities;
  return model;
}

TEST(ParseTargetTest, ReadsEveryForm) {
  EXPECT_EQ(Parsed("CPU"), (Target{Kind::kDevice, {"CPU"}, {}, {}}));
  EXPECT_EQ(Parsed("GPU.1"), (Target{Kind::kDevice, {"GPU.1"}, {}, {}}));
  EXPECT_EQ(Parsed("AUTO"), (Target{Kind::kAuto, {}, {}, {}}));
  EXPECT_EQ(Parsed("MULTI"), (Target{Kind::kMulti, {}, {}, {}}));
  EXPECT_EQ(Parsed("AUTO:NPU,GPU,CPU"), (Target{Kind::kAuto, {"NPU", "GPU", "CPU"}, {}, {}}));
  EXPECT_EQ(Parsed("AUTO:-GPU"), (Target{Kind::kAuto, {}, {"GPU"}, {}}));
  EXPECT_EQ(Parsed("AUTO:GPU,GPU.0"), (Target{Kind::kAuto, {"GPU", "GPU.0"}, {}, {}})) << "every one, and the first";
  EXPECT_EQ(Parsed("AUTO:GPU,-GPU.0"), (Target{Kind::kAuto, {"GPU"}, {"GPU.0"}, {}}));
  EXPECT_EQ(Parsed("AUTO:GPU,-CPU"), (Target{Kind::kAuto, {"GPU"}, {"CPU"}, {}}));
  EXPECT_EQ(Parsed("MULTI:GPU.1,GPU.0"), (Target{Kind::kMulti, {"GPU.1", "GPU.0"}, {}, {}}));
  EXPECT_EQ(Parsed("HETERO:GPU,NPU.7,CPU"), (Target{Kind::kHetero, {"GPU", "NPU.7", "CPU"}, {}, {}}));
  EXPECT_EQ(Parsed("BATCH:CPU(16)"), (Target{Kind::kBatch, {"CPU"}, {}, 16}));
  EXPECT_EQ(Parsed("BATCH:GPU.1"), (Target{Kind::kBatch, {"GPU.1"}, {}, {}}));
  EXPECT_EQ(Parsed("HETERO:VCPU,CPU", kVcpu).devices, (std::vector<std::string>{"VCPU", "CPU"}));
  EXPECT_EQ(Parsed("VCPU.card-0", kVcpu).devices, (std::vector<std::string>{"VCPU.card-0"}));
}

TEST(ParseTargetTest, TakesBlanksAroundSeparatorsAndOneNameForTheCpu) {
  EXPECT_EQ(Parsed(" HETERO : GPU , CPU \n").ToString(), "HETERO:GPU,CPU");
  EXPECT_EQ(Parsed("BATCH: CPU ( 16 ) ").ToString(), "BATCH:CPU(16)");
  EXPECT_EQ(Parsed("AUTO: - GPU").ToString(), "AUTO:-GPU");
  EXPECT_EQ(Parsed("CPU.0").ToString(), "CPU");
  EXPECT_EQ(Parsed("GPU.0.1").ToString(), "GPU.0.1");
}

TEST(ParseTargetTest, TextsComeBackAsTheyWere) {
  for (const char* text : {"CPU", "GPU.1", "NPU.4000", "AUTO", "MULTI", "AUTO:GPU,CPU", "AUTO:-GPU,-NPU", "AUTO:GPU,-CPU",
                           "HETERO:GPU,CPU", "MULTI:GPU.0,GPU.1", "BATCH:CPU(16)", "BATCH:GPU", "BATCH:CPU(2147483647)"}) {
    EXPECT_EQ(Parsed(text).ToString(), text);
  }
}

TEST(ParseTargetTest, FaultsNameTheEntryItsPositionAndTheRemedy) {
  const struct {
    const char* text;
    const char* message;
  } cases[] = {
      // Empty.
      {"", "target_device \"\": expected a device such as CPU, GPU.1 or AUTO:GPU,CPU, got nothing"},
      {"  ", "got nothing"},
      {"HETERO:GPU,,CPU", "target_device \"HETERO:GPU,,CPU\": entry 2 is empty; remove the extra comma"},
      {"AUTO:GPU,", "entry 2 is empty; remove the extra comma"},
      {"AUTO:,", "entry 1 is empty; remove the extra comma"},
      {"MULTI: ,CPU", "entry 1 is empty"},
      {"HETERO:", "the list of devices behind HETERO: is empty; write \"HETERO:GPU,CPU\""},
      {"AUTO: ", "behind AUTO: is empty; write \"AUTO:GPU,CPU\", or \"AUTO\" alone for every device"},
      {"MULTI:", "or \"MULTI\" alone for every device"},
      {"HETERO",
       "HETERO needs a list of devices; write \"HETERO:GPU,CPU\", or name them in plugin_config: "
       "{\"MULTI_DEVICE_PRIORITIES\": \"GPU,CPU\"}"},
      {"BATCH", "BATCH names no device; write \"BATCH:CPU\" or, with the size of the batch, \"BATCH:CPU(16)\""},
      {"BATCH:", "BATCH names no device"},
      {"AUTO:-", "entry 1 \"-\" excludes nothing; name the device behind it"},
      {"BATCH:(4)", "entry 1 is empty; name a device"},
      // Unknown.
      {"GPPU", "\"GPPU\" is no device; did you mean \"GPU\"? Known are CPU, GPU, NPU"},
      {"AUTOO", "did you mean \"AUTO\"?"},
      {"MYRIAD", "\"MYRIAD\" is no device; known are CPU, GPU, NPU, and others when --device_plugin NAME=PATH registers them"},
      {"HETERO:GPU,NVIDIA,CPU", "entry 2 \"NVIDIA\" is no device; known are CPU, GPU, NPU"},
      {"AUTO:GPU,CPPU", "entry 2 \"CPPU\" is no device; did you mean \"CPU\"?"},
      {"AUTO:--GPU", "entry 1 \"-GPU\" is no device; did you mean \"GPU\"?"},
      {"HETRO:GPU,CPU", "\"HETRO\" takes no list of devices; did you mean \"HETERO\"?"},
      {"ENSEMBLE:GPU", "\"ENSEMBLE\" takes no list of devices; AUTO, MULTI, HETERO and BATCH do"},
      {"CPU:GPU", "\"CPU\" is one device and takes no list; write \"CPU\""},
      {"GPU:1", "\"GPU\" is one device and takes no list; write \"GPU.1\""},
      {":GPU", "\"\" takes no list of devices"},
      {"GPU,CPU", "a list of devices needs AUTO:, MULTI: or HETERO: before it; write \"AUTO:GPU,CPU\""},
      {"CPU,CPU", "expected one device; write \"CPU\""},
      {"GPU,,CPU,", "write \"AUTO:GPU,CPU\""},
      {",", "expected one device"},
      // Case.
      {"gpu", "names of devices are upper case; write \"GPU\""},
      {"Gpu.1", "write \"GPU.1\""},
      {"auto:GPU", "names of devices are upper case; write \"AUTO\", not \"auto\""},
      {"HETERO:GPU,cpu", "entry 2 \"cpu\": names of devices are upper case; write \"CPU\""},
      // Twice.
      {"HETERO:CPU,CPU", "entry 2 \"CPU\" is the same device as entry 1; remove one of them"},
      {"HETERO:CPU,GPU,GPU.0", "entry 3 \"GPU.0\" is the same device as entry 2 (\"GPU\"); remove one of them"},
      {"AUTO:GPU,CPU,GPU", "entry 3 \"GPU\" is the same device as entry 1; remove one of them"},
      {"MULTI:NPU.4000,CPU,NPU", "entry 3 \"NPU\" is the same device as entry 1"},
      {"AUTO:-GPU,-GPU.0", "entry 2 \"GPU.0\" is the same device as entry 1"},
      {"AUTO:GPU,-GPU", "entry 1 and entry 2 both take and exclude \"GPU\"; remove one of them"},
      {"AUTO:-GPU,CPU,GPU.1", "entry 1 and entry 3 both take and exclude \"GPU.1\""},
      // Brackets.
      {"BATCH:CPU(0)", "expected a batch from 1 to 2147483647 in the bracket, got \"0\"; leave the bracket out"},
      {"BATCH:CPU()", "expected a batch from 1 to 2147483647 in the bracket, got \"\""},
      {"BATCH:CPU(x)", "in the bracket, got \"x\""},
      {"BATCH:CPU(-1)", "in the bracket, got \"-1\""},
      {"BATCH:CPU(+1)", "in the bracket, got \"+1\""},
      {"BATCH:CPU(1.5)", "in the bracket, got \"1.5\""},
      {"BATCH:CPU(2147483648)", "in the bracket, got \"2147483648\""},
      {"BATCH:CPU(99999999999999999999)", "in the bracket"},
      {"BATCH:CPU(16", "the bracket is not closed; write \"BATCH:CPU(16)\""},
      {"BATCH:CPU(16)x", "expected nothing behind the bracket, got \"x\""},
      {"BATCH:CPU(16)(2)", "expected nothing behind the bracket, got \"(2)\""},
      {"BATCH:CPU16)", "entry 1 \"CPU16)\": brackets stand only"},
      {"BATCH:CPU,GPU", "BATCH stands over one device"},
      {"CPU(4)", "\"CPU(4)\": brackets stand only behind the device of BATCH; write \"CPU\" or \"BATCH:CPU(16)\""},
      {"AUTO:BATCH:CPU(4)", "entry 1 \"BATCH:CPU(4)\": BATCH cannot stand in a list or have an id; name real devices"},
      {"MULTI:GPU,CPU(2)", "entry 2 \"CPU(2)\": brackets stand only behind the device of BATCH; write \"CPU\""},
      // Exclusions and nesting.
      {"-GPU", "only AUTO takes exclusions; write \"AUTO:-GPU\""},
      {"BATCH:-GPU", "only AUTO takes exclusions"},
      {"HETERO:CPU,-GPU", "entry 2 \"-GPU\": only AUTO takes exclusions; leave the device out of the list of HETERO"},
      {"MULTI:-GPU", "only AUTO takes exclusions"},
      {"AUTO:AUTO", "entry 1 \"AUTO\": AUTO cannot stand in a list or have an id; name real devices"},
      {"MULTI:CPU,HETERO:GPU,CPU", "entry 2 \"HETERO:GPU\""},
      {"BATCH:AUTO(4)", "entry 1 \"AUTO\": AUTO cannot stand in a list"},
      {"AUTO.1", "AUTO cannot stand in a list or have an id"},
      // Ids.
      {"GPU.", "\"GPU.\": expected the number of a GPU behind the dot, as in \"GPU.1\""},
      {"GPU.x", "expected the number of a GPU"},
      {"GPU.01", "expected the number of a GPU"},
      {"GPU.0.0.0", "expected the number of a GPU"},
      {"GPU..1", "expected the number of a GPU"},
      {"GPU.9999999999", "expected the number of a GPU"},
      {"HETERO:GPU,NPU.x", "entry 2 \"NPU.x\": expected a number behind the dot, as in \"NPU.4000\""},
      {"CPU.1", "there is one CPU; write \"CPU\""},
      {"AUTO:.0", "entry 1 \".0\" is no device"},
      {"G PU", "\"G PU\" is no device; did you mean \"GPU\"?"},
  };
  for (const auto& c : cases) EXPECT_THAT(FaultOfText(c.text), HasSubstr(c.message));
}

TEST(ParseTargetTest, RegisteredNamesAreKnown) {
  EXPECT_THAT(FaultOfText("HETERO:VCPU,CPU"), HasSubstr("entry 1 \"VCPU\" is no device; did you mean \"CPU\"?"));
  EXPECT_THAT(FaultOfText("VCPUU", kVcpu), HasSubstr("did you mean \"VCPU\"? Known are CPU, GPU, NPU, VCPU"));
  EXPECT_THAT(FaultOfText("vcpu", kVcpu), HasSubstr("write \"VCPU\""));
  EXPECT_THAT(FaultOfText("VCPU.", kVcpu), HasSubstr("expected an id"));
  EXPECT_THAT(FaultOfText("VCPU.a b", kVcpu), HasSubstr("expected an id"));
}

TEST(ParseTargetTest, WhatStrangersWroteIsEscapedAndCut) {
  const std::string controls = FaultOfText(std::string_view("GPU\x1b[31m,\0", 10));
  EXPECT_THAT(controls, AllOf(HasSubstr("GPU\\x1b[31m"), Not(HasSubstr("\x1b"))));
  EXPECT_THAT(FaultOfText("AUTO:GPU,\xff\xc3"), HasSubstr("entry 2 \"\\xff\\xc3\""));
  EXPECT_THAT(FaultOfText("gpu:\xff"), Not(HasSubstr("\xff")));
  EXPECT_THAT(FaultOfText("-\x1b"), Not(HasSubstr("\x1b")));
  EXPECT_THAT(FaultOfText("Gerät"), HasSubstr("\"Gerät\""));
  EXPECT_THAT(FaultOfText("AUTO:" + std::string(2000, 'X')), HasSubstr("expected at most 1024 bytes, got 2005"));
  EXPECT_LT(FaultOfText(std::string(1024, 'X')).size(), 400u);
}

TEST(ParseTargetTest, WhateverComesIsATargetOrAMessage) {
  const char* const pieces[] = {"AUTO", "MULTI", "HETERO", "BATCH", "CPU", "GPU", "NPU", "VCPU", ":",    ",", "-",   "(",
                                ")",    "16",    "0",      ".",     ".1",  " ",   "gpu", "\xff", "\x1b", "x", "4000"};
  std::mt19937 random(20240607);
  size_t taken = 0;
  for (int i = 0; i < 20000; ++i) {
    std::string text = i % 2 == 0 ? "" : std::string(pieces[random() % 4]) + ":";
    for (size_t length = random() % 8; length > 0; --length) text += pieces[random() % std::size(pieces)];
    const auto target = ParseTarget(text, kVcpu);
    if (target.ok()) {
      ++taken;
      const std::string canonical = target->ToString();
      EXPECT_EQ(Parsed(canonical, kVcpu), *target) << text;
    } else {
      const std::string message(Message(target.status()));
      EXPECT_THAT(message, AllOf(HasSubstr("target_device \""), Not(HasSubstr("\xff")), Not(HasSubstr("\x1b"))));
    }
  }
  EXPECT_GT(taken, 500u) << "the texts have become too wild to say anything";
}

TEST(TargetOfTest, TheListMayStandInThePluginConfig) {
  const auto of = [](const ModelSettings& model) {
    const auto target = TargetOf(model);
    return target.ok() ? target->ToString() : std::string(Message(target.status()));
  };
  EXPECT_EQ(of(Model("AUTO:GPU,CPU")), "AUTO:GPU,CPU");
  EXPECT_EQ(of(Model("AUTO", PropertyValue{std::string("GPU,CPU")})), "AUTO:GPU,CPU");
  EXPECT_EQ(of(Model("MULTI", PropertyValue{std::string("GPU, CPU")})), "MULTI:GPU,CPU");
  EXPECT_EQ(of(Model(" HETERO ", PropertyValue{std::string("GPU,CPU")})), "HETERO:GPU,CPU");
  EXPECT_EQ(of(Model("AUTO", PropertyValue{std::string("-GPU")})), "AUTO:-GPU");
  EXPECT_EQ(of(Model("HETERO:GPU.0,CPU", PropertyValue{std::string("GPU,CPU")})), "HETERO:GPU.0,CPU") << "the same list";

  const struct {
    const char* target;
    PropertyValue priorities;
    const char* message;
  } cases[] = {
      {"AUTO:GPU,CPU", {std::string("CPU,GPU")}, "name different lists; remove one of them"},
      {"AUTO:GPU,CPU", {std::string("GPU")}, "name different lists"},
      {"AUTO:GPU.0,CPU", {std::string("GPU,CPU")}, "name different lists"},
      {"AUTO",
       {std::string("CPU(2),GPU")},
       "entry 1 \"CPU(2)\": brackets stand only behind the device of BATCH; write \"CPU\""},
      {"HETERO",
       {std::string("GPU,,CPU")},
       "plugin_config: MULTI_DEVICE_PRIORITIES makes \"HETERO:GPU,,CPU\": entry 2 is empty; remove the extra comma"},
      {"AUTO", {std::string(" ")}, "MULTI_DEVICE_PRIORITIES: expected devices in their order, such as \"GPU,CPU\", got \" \""},
      {"AUTO", {int64_t{4}}, "expected devices in their order"},
      {"CPU", {std::string("GPU,CPU")}, "goes with AUTO, MULTI or HETERO, and target_device is \"CPU\"; remove it"},
      {"BATCH:CPU(2)", {std::string("CPU")}, "goes with AUTO, MULTI or HETERO"},
      {"BATCH", {std::string("CPU")}, "BATCH names no device"},
      {"HETERO:", {std::string("CPU")}, "behind HETERO: is empty"},
  };
  for (const auto& c : cases) EXPECT_THAT(of(Model(c.target, c.priorities)), HasSubstr(c.message));
}

TEST(FallbacksOfTest, ReadsAListAndNamesTheEntry) {
  ModelSettings model = Model("NPU");
  EXPECT_THAT(*FallbacksOf(model), IsEmpty());
  model.fallback_devices = {"HETERO:GPU,CPU", "BATCH:CPU(4)", "CPU"};
  const auto targets = FallbacksOf(model);
  ASSERT_TRUE(targets.ok()) << targets.status();
  EXPECT_THAT(*targets, ElementsAre(Parsed("HETERO:GPU,CPU"), Parsed("BATCH:CPU(4)"), Parsed("CPU")));

  const struct {
    std::vector<std::string> devices;
    const char* message;
  } cases[] = {
      {{"CPU", "GPPU"}, "fallback_devices: entry 2 \"GPPU\": \"GPPU\" is no device; did you mean \"GPU\"?"},
      {{"AUTO"}, "fallback_devices: entry 1 \"AUTO\": AUTO and MULTI cannot be fallbacks"},
      {{"MULTI:GPU,CPU"}, "cannot be fallbacks; list their devices one by one"},
      {{"GPU", "CPU", "GPU.0"}, "fallback_devices: entry 3 \"GPU.0\" is the same as entry 1; remove one of them"},
  };
  for (const auto& c : cases) {
    model.fallback_devices = c.devices;
    EXPECT_THAT(std::string(Message(FallbacksOf(model).status())), HasSubstr(c.message));
  }
}

TEST(CanonicalDeviceTest, OneNameForEachDevice) {
  for (const auto& [text, name] : std::initializer_list<std::pair<const char*, const char*>>{{"CPU", "CPU"},
                                                                                             {"CPU.0", "CPU"},
                                                                                             {"(CPU)", "CPU"},
                                                                                             {"GPU", "GPU.0"},
                                                                                             {"GPU.0", "GPU.0"},
                                                                                             {"GPU.1", "GPU.1"},
                                                                                             {"GPU.0.1", "GPU.0.1"},
                                                                                             {"NPU", "NPU"},
                                                                                             {"NPU.4000", "NPU"},
                                                                                             {"NPU.0", "NPU"},
                                                                                             {"NPU.7", "NPU.7"},
                                                                                             {"(NPU.4000)", "NPU"},
                                                                                             {"VCPU", "VCPU"},
                                                                                             {"()", "()"},
                                                                                             {"", ""}}) {
    EXPECT_EQ(CanonicalDevice(text), name) << text;
  }
}

}  // namespace
}  // namespace switchyard
