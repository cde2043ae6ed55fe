#include <fstream>

#include "device/fault.h"
#include "runtime/openvino/child_protocol.h"
#include "runtime/openvino/property_check.h"
#include "runtime/openvino/test_models.h"

namespace switchyard {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(ChildProtocolTest, RequestsComeBackAsTheyWere) {
  LoadRequest load{.settings = {.name = "a \"b\"\n", .nireq = 3}};
  load.settings.batch_size = Dimension{1, Dimension::kUnbounded};
  load.settings.shapes = {{"x", {.dims = {Dimension::Fixed(1), Dimension::Dynamic()}}}, {"", {.dynamic_rank = true}}};
  load.settings.dynamic_batching = DynamicBatching{.max_batch_size = 16};
  load.settings.layouts = {{"x", {.tensor = "NHWC", .model = "NCHW"}}};
  load.settings.color_formats = {{"x", {.model = "RGB", .tensor = "NV12_2"}}};
  load.settings.precisions = {{"x", {ElementType::kUint8, ElementType::kFp32}}, {"y", {ElementType::kInt64, {}}}};
  load.settings.means = {{"x", {123.675f, 116.28f, 0.1f}}};
  load.settings.scales = {{"", {58.395f}}};
  load.version = int64_t{1} << 40;
  load.model_path = "/models/\xc3\xa4";
  load.files = "file a 1 2\nfile b 3 4";
  load.cache_dir = "/cache";
  load.target = "HETERO:GPU.0,CPU";
  load.properties = {
      {"B", {true}}, {"I", {int64_t{-1}}}, {"D", {0.5}}, {"S", {std::string("x")}}, {"O", {PropertyMap{{"I", {int64_t{1}}}}}}};
  const OpenVinoOptions options{.cpu_extension = "/e.so", .device_plugins = {{"VCPU", "/v.so"}}};
  const auto read = CompileRequestFrom(ToJson(CompileRequest{options, load}));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->load.settings, load.settings);
  EXPECT_EQ(read->load.version, load.version);
  EXPECT_EQ(read->load.model_path, load.model_path);
  EXPECT_EQ(read->load.files, load.files);
  EXPECT_EQ(read->load.cache_dir, load.cache_dir);
  EXPECT_EQ(read->load.target, load.target);
  EXPECT_EQ(read->load.properties, load.properties);
  EXPECT_EQ(read->options.cpu_extension, "/e.so");
  EXPECT_EQ(read->options.device_plugins, options.device_plugins);
  const auto probe = ProbeRequestFrom(ToJson(ProbeRequest{options, "CPU", load.properties}));
  ASSERT_TRUE(probe.ok()) << probe.status();
  EXPECT_EQ(probe->device, "CPU");
  EXPECT_EQ(probe->properties, load.properties);
}

TEST(ChildProtocolTest, DevicesComeBackAsTheyWere) {
  const DeviceInfo gpu{"GPU.1", "Arc \"A\"",     DeviceInfo::Type::kDiscreteGpu, uint64_t{16} << 30, 0, "arch",
                       "1.2",   {"FP16", "INT8"}};
  const auto read = InventoryFrom(AnswerJson(Inventory{{.name = "CPU", .type = DeviceInfo::Type::kCpu}, gpu}));
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->size(), 2u);
  EXPECT_EQ(read->front().name, "CPU");
  EXPECT_EQ(read->back().full_name, gpu.full_name);
  EXPECT_EQ(read->back().type, gpu.type);
  EXPECT_EQ(read->back().memory_total_bytes, gpu.memory_total_bytes);
  EXPECT_EQ(read->back().architecture, gpu.architecture);
  EXPECT_EQ(read->back().driver, gpu.driver);
  EXPECT_EQ(read->back().capabilities, gpu.capabilities);
  for (const std::string json : {"", "{}", R"({"devices":[{}]})", R"({"devices":[{"name":1}]})"}) {
    EXPECT_FALSE(InventoryFrom(json).ok()) << json;
  }
}

TEST(ChildProtocolTest, FaultyRequestsAreErrors) {
  for (const std::string json :
       {"", "[]", "{", "{}", R"({"cpu_extension":1})", R"({"cpu_extension":"","device_plugins":[[1]]})"}) {
    EXPECT_FALSE(CompileRequestFrom(json).ok()) << json;
    EXPECT_FALSE(ProbeRequestFrom(json).ok()) << json;
  }
}

class IsolatedCompileTest : public OpenVinoTest {
 protected:
  void SetUp() override {
    OpenVinoTest::SetUp();
    request_ = Request(Save(AddModel({1, 10})));
    request_.settings.isolated_compile = true;
    request_.cache_dir = folder_ / "cache";
  }
  // Loads with `script` in the child's place, which may take a second.
  Status LoadWith(const std::string& script) {
    const std::string path = folder_ / "program";
    std::ofstream(path) << "#!/bin/sh\n" << script << "\n";
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    const auto runtime = MakeOpenVinoRuntime({.child_program = path});
    request_.settings.load_timeout_ms = 1000;
    return (*runtime)->Load(request_).status();
  }
  LoadRequest request_;
};

TEST_F(IsolatedCompileTest, TheParentOnlyImports) {
  auto loaded = runtime_->Load(request_);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ((*loaded)->facts().cache, LoadFacts::Cache::kHit) << "the child compiled";
  auto request = *(*loaded)->CreateInferRequest();
  const std::vector<float> values(10, 41);
  EXPECT_EQ(Values<float>(Run(*request, {View(values, {1, 10})})[0]), std::vector<float>(10, 42));
  EXPECT_TRUE(LoadWith("kill -SEGV $$").ok()) << "what is in the cache needs no child";
}

TEST_F(IsolatedCompileTest, CrashesAndHangsAreErrorsOfTheModel) {
  const Status crash = LoadWith("echo LLVM ERROR: out of registers >&2; kill -ABRT $$");
  EXPECT_EQ(crash.code(), StatusCode::kInternal);
  EXPECT_THAT(Message(crash), AllOf(HasSubstr("model model"), HasSubstr("CPU"), HasSubstr("signal 6 (Aborted)"),
                                    HasSubstr("LLVM ERROR: out of registers")));
  EXPECT_EQ(FaultOf(crash), Fault::kModel);
  const Status hang = LoadWith("sleep 60");
  EXPECT_THAT(Message(hang), HasSubstr("no answer within 1 s"));
  EXPECT_EQ(FaultOf(hang), Fault::kModel);
}

TEST_F(IsolatedCompileTest, AnAnswerWithoutAModelIsNotBelieved) {
  EXPECT_THAT(Message(LoadWith("echo '{\"code\":0,\"fault\":0,\"message\":\"\"}'")), HasSubstr("not in the cache folder"));
  EXPECT_THAT(Message(LoadWith("echo nonsense; exit 3")), HasSubstr("exit code 3"));
}

TEST(FaultyPropertyTest, IsSoughtInChildrenThatMayCrash) {
  const std::string program = ::testing::TempDir() + "switchyard_faulty_property";
  const auto find = [&](const std::string& script) {
    std::ofstream(program) << "#!/bin/sh\n" << script << "\n";
    std::filesystem::permissions(program, std::filesystem::perms::owner_all);
    const PropertyMap properties = {{"A", {std::string("1")}}, {"BAD", {int64_t{7}}}};
    const Status found = FindFaultyProperty({.child_program = program}, "GPU.0", properties);
    std::filesystem::remove(program);
    return found;
  };
  const std::string fine = R"(echo '{"code":0,"fault":0,"message":""}')";
  const Status crash = find("case $(cat) in *BAD*) kill -SEGV $$;; esac; " + fine);
  EXPECT_EQ(crash.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(Message(crash), AllOf(HasSubstr("plugin_config: GPU.0 cannot work with \"7\" for BAD"), HasSubstr("signal 11")));
  EXPECT_THAT(Message(find(R"(case $(cat) in *BAD*) echo '{"code":3,"fault":0,"message":"no"}';; *) )" + fine + ";; esac")),
              HasSubstr("plugin_config: GPU.0 refuses \"7\" for BAD: no"));
  EXPECT_TRUE(find("kill -SEGV $$").ok()) << "the device's own fault";
  EXPECT_TRUE(find(fine).ok());
}

TEST_F(IsolatedCompileTest, NeedsACacheThatCanBeUsed) {
  request_.cache_dir = "";
  EXPECT_THAT(Message(runtime_->Load(request_).status()), AllOf(HasSubstr("isolated_compile"), HasSubstr("--cache_dir")));
  request_.cache_dir = "/proc/nowhere";
  EXPECT_THAT(Message(runtime_->Load(request_).status()), HasSubstr("/proc/nowhere"));
}

}  // namespace
}  // namespace switchyard
