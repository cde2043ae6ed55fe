#include "tools/devices_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidjson/document.h>

#include "device/test_root.h"

namespace switchyard {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

using Type = DeviceInfo::Type;

DevicesReport SomeReport(const TestRoot& root) {
  DevicesReport report;
  report.runtime = "OpenVINO 1.2.3";
  report.cpu =
      CpuFacts{.model = "Some CPU", .processors = 8, .quota = 1.5, .quota_from = "/sys/fs/cgroup/cpu.max", .affinity = {0, 1}};
  report.cpu.memory_total_bytes = uint64_t{8} << 30;
  const DeviceInfo gpu{"GPU.1", "Arc \"A770\"\x1b", Type::kDiscreteGpu, uint64_t{16} << 30, 0, "arch",
                       "26.1",  {"FP16", "INT8"}};
  report.devices = MakeRows(DeviceList{{DeviceInfo{"CPU", "Some CPU", Type::kCpu}, gpu}, {}}, report.cpu, root.View());
  return report;
}

TEST(DevicesReport, AGpuThatIsThereIsNotMissing) {
  TestRoot root;
  const DevicesReport report = SomeReport(root);
  ASSERT_EQ(report.devices.size(), 3u);
  EXPECT_EQ(report.devices[0].info.memory_total_bytes, uint64_t{8} << 30);
  EXPECT_FALSE(report.devices[1].absence);
  EXPECT_EQ(report.devices[2].info.name, "NPU");
  ASSERT_TRUE(report.devices[2].absence);
  EXPECT_THAT(report.devices[2].absence->reason, HasSubstr("/dev/accel"));
}

TEST(DevicesReport, TheGpusDriverIsTheInstalledPackage) {
  TestRoot root;
  root.File("/var/lib/dpkg/status", "Package: intel-opencl-icd\nStatus: install ok installed\nVersion: 22.43.24595.41-1\n\n");
  const auto rows = MakeRows(DeviceList{{DeviceInfo{"GPU.0", "", Type::kDiscreteGpu}}, {}}, CpuFacts(), root.View());
  EXPECT_EQ(rows[0].info.driver, "22.43.24595.41-1");
}

// Whether the machine that the test runs on has such devices is its own matter: without an answer no device is well.
TEST(DevicesReport, WithoutAnAnswerNothingIsWell) {
  for (const DeviceRow& row : MakeRows(std::nullopt, CpuFacts(), SystemView::Own())) {
    ASSERT_TRUE(row.absence) << row.info.name;
    EXPECT_FALSE(row.absence->reason.empty() || row.absence->remedy.empty());
  }
}

TEST(DevicesReport, TextIsAlignedAndPrintable) {
  TestRoot root;
  const std::string text = ToText(SomeReport(root));
  EXPECT_THAT(text, HasSubstr("DEVICE  STATE   TYPE"));
  EXPECT_THAT(text, HasSubstr("\nGPU.1   well    discrete GPU  16.0 GiB  -"));
  EXPECT_THAT(text, HasSubstr("\nNPU is absent: "));
  EXPECT_THAT(text, HasSubstr("1.50 processors (/sys/fs/cgroup/cpu.max)"));
  EXPECT_THAT(text, HasSubstr("8, of which this process can use 2"));
  EXPECT_THAT(text, Not(HasSubstr("\x1b")));
  EXPECT_THAT(text, Not(HasSubstr(" \n")));
}

TEST(DevicesReport, JsonHasEveryKey) {
  TestRoot root;
  rapidjson::Document json;
  json.Parse(ToJson(SomeReport(root)).c_str());
  ASSERT_FALSE(json.HasParseError());
  for (const auto& device : json["devices"].GetArray()) {
    for (const char* key : {"name", "full_name", "type", "state", "reason", "remedy", "memory_total_bytes", "memory_used_bytes",
                            "precisions", "capabilities", "driver", "architecture"}) {
      EXPECT_TRUE(device.HasMember(key)) << key;
    }
  }
  const auto& gpu = json["devices"][1];
  EXPECT_STREQ(gpu["state"].GetString(), "well");
  EXPECT_STREQ(gpu["full_name"].GetString(), "Arc \"A770\"?");
  EXPECT_TRUE(gpu["reason"].IsNull());
  EXPECT_EQ(gpu["memory_used_bytes"].GetUint64(), 0u);
  EXPECT_EQ(gpu["capabilities"].Size(), 2u);
  const auto& npu = json["devices"][2];
  EXPECT_STREQ(npu["state"].GetString(), "absent");
  EXPECT_STREQ(npu["type"].GetString(), "NPU");
  EXPECT_TRUE(npu["remedy"].IsString());
  EXPECT_TRUE(npu["memory_used_bytes"].IsNull());
  EXPECT_EQ(json["cpu"]["quota_processors"].GetDouble(), 1.5);
  EXPECT_EQ(json["cpu"]["usable_processors"].GetInt(), 2);
}

}  // namespace
}  // namespace switchyard
