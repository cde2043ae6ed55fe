#include "config/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "config/flags.h"

namespace switchyard {
namespace {

using ::testing::HasSubstr;
using Arguments = std::vector<std::string>;

std::variant<CommandLine, SettingsError> Parse(const Arguments& arguments) {
  std::vector<const char*> argv = {"switchyard"};
  for (const std::string& argument : arguments) argv.push_back(argument.c_str());
  return ParseCommandLine(static_cast<int>(argv.size()), argv.data(), "OpenVINO 1.2.3");
}

Arguments WithModel(const Arguments& more, const std::string& port = "9000") {
  Arguments arguments = {"--model_name", "resnet", "--model_path", "/opt/model"};
  if (!port.empty()) arguments.insert(arguments.end(), {"--port", port});
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

ServerSettings Served(const Arguments& arguments) {
  const auto parsed = Parse(arguments);
  if (const auto* error = std::get_if<SettingsError>(&parsed)) {
    ADD_FAILURE() << error->message;
    return {};
  }
  EXPECT_EQ(std::get<CommandLine>(parsed).action, CommandLine::Action::kServe);
  return std::get<CommandLine>(parsed).settings;
}

ModelSettings ServedModel(const Arguments& more) {
  const ServerSettings settings = Served(WithModel(more));
  EXPECT_TRUE(settings.single_model);
  return settings.models.empty() ? ModelSettings{} : settings.models[0];
}

std::string UsageError(const Arguments& arguments) {
  const auto parsed = Parse(arguments);
  const auto* error = std::get_if<SettingsError>(&parsed);
  if (error == nullptr) return "accepted";
  EXPECT_EQ(error->exit_code, kExitUsage) << error->message;
  return error->message;
}

class CommandLineFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = (std::filesystem::temp_directory_path() / "command_line_test_XXXXXX").string();
    ASSERT_NE(mkdtemp(folder_.data()), nullptr);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string Write(const std::string& text) {
    const std::string path = folder_ + "/config.json";
    std::ofstream(path) << text;
    return path;
  }
  std::string folder_;
};

TEST(CommandLineTest, HelpNamesEveryFlagThatIsServed) {
  for (const Arguments& arguments : {Arguments{}, Arguments{"-h"}, Arguments{"--help"}, Arguments{"--help", "--mean", "1"}}) {
    const auto parsed = Parse(arguments);
    ASSERT_TRUE(std::holds_alternative<CommandLine>(parsed));
    const CommandLine& line = std::get<CommandLine>(parsed);
    EXPECT_EQ(line.action, CommandLine::Action::kPrintAndExit);
    EXPECT_THAT(line.text, HasSubstr("switchyard infer"));
    EXPECT_THAT(line.text, HasSubstr("switchyard devices"));
    for (const FlagGroup& group : FlagGroups()) {
      for (const FlagSpec& flag : group.flags) EXPECT_THAT(line.text, HasSubstr("--" + std::string(flag.name)));
    }
  }
}

TEST(CommandLineTest, HelpFitsATerminal) {
  const std::string text = HelpText();
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    ASSERT_NE(end, std::string::npos);
    EXPECT_LE(end - begin, 112u) << text.substr(begin, end - begin);
    begin = end + 1;
  }
}

TEST(CommandLineTest, HelpNamesEveryCommand) {
  for (const char* const command : {"infer --url HOST:PORT --protocol NAME --model NAME", "devices", "plan --model_path",
                                    "check CONFIG", "tune --model_path", "convert --input", "pull NAME"}) {
    EXPECT_THAT(HelpText(), HasSubstr("  switchyard " + std::string(command)));
  }
}

TEST(CommandLineTest, VersionNamesAllParts) {
  const auto parsed = Parse({"--version"});
  const CommandLine& line = std::get<CommandLine>(parsed);
  EXPECT_EQ(line.action, CommandLine::Action::kPrintAndExit);
  EXPECT_EQ(line.text, "Switchyard " SWITCHYARD_VERSION "\nOpenVINO 1.2.3\n");
}

TEST(CommandLineTest, ServesThePublishedCommandLines) {
  const Arguments model = {"--model_path", "/opt/model", "--model_name", "resnet"};
  const struct {
    Arguments more;
    std::string device;
    uint16_t port;
    PropertyMap properties;
  } cases[] = {
      {{"--port", "9001", "--target_device", "GPU"}, "GPU", 9001, {}},
      {{"--port", "9000", "--target_device", "NPU"}, "NPU", 9000, {}},
      {{"--port", "9001", "--target_device", "AUTO"}, "AUTO", 9001, {}},
      {{"--port", "9001", "--plugin_config", R"({"PERFORMANCE_HINT": "LATENCY"})", "--target_device", "AUTO"},
       "AUTO",
       9001,
       {{"PERFORMANCE_HINT", {std::string("LATENCY")}}}},
      {{"--port", "9001", "--plugin_config", R"({"PERFORMANCE_HINT": "THROUGHPUT"})", "--target_device", "AUTO"},
       "AUTO",
       9001,
       {{"PERFORMANCE_HINT", {std::string("THROUGHPUT")}}}},
      {{"--port", "9001", "--plugin_config", R"({"PERFORMANCE_HINT": "CUMULATIVE_THROUGHPUT"})", "--target_device",
        "AUTO:GPU,CPU"},
       "AUTO:GPU,CPU",
       9001,
       {{"PERFORMANCE_HINT", {std::string("CUMULATIVE_THROUGHPUT")}}}},
      {{"--port", "9001", "--plugin_config", R"({"AUTO_BATCH_TIMEOUT": 200})", "--target_device", "BATCH:CPU(16)"},
       "BATCH:CPU(16)",
       9001,
       {{"AUTO_BATCH_TIMEOUT", {int64_t{200}}}}},
  };
  for (const auto& c : cases) {
    Arguments arguments = model;
    arguments.insert(arguments.end(), c.more.begin(), c.more.end());
    const ServerSettings settings = Served(arguments);
    ASSERT_EQ(settings.models.size(), 1u);
    ModelSettings expected;
    expected.name = "resnet";
    expected.base_path = "/opt/model";
    expected.target_device = c.device;
    expected.plugin_config = c.properties;
    EXPECT_EQ(settings.models[0], expected) << c.device;
    EXPECT_TRUE(settings.grpc.enabled);
    EXPECT_EQ(settings.grpc.port, c.port);
    EXPECT_FALSE(settings.rest.enabled);
    EXPECT_TRUE(settings.single_model);
  }
}

TEST(CommandLineTest, ReadsEveryServerFlag) {
  const ServerSettings settings = Served(WithModel({"--rest_port=auto",
                                                    "--grpc_bind_address=127.0.0.1,::1,[::2],host-1.example",
                                                    "--rest_bind_address",
                                                    "localhost",
                                                    "--grpc_workers",
                                                    "1",
                                                    "--rest_workers",
                                                    "1",
                                                    "--grpc_max_threads",
                                                    "16",
                                                    "--grpc_memory_quota",
                                                    "0",
                                                    "--grpc_channel_arguments",
                                                    "grpc.max_concurrent_streams=100,grpc.primary_user_agent=me,grpc.x=-1",
                                                    "--grpc_max_message_bytes",
                                                    "1000",
                                                    "--max_body_bytes",
                                                    "2000",
                                                    "--header_timeout_ms",
                                                    "30",
                                                    "--body_timeout_ms",
                                                    "40",
                                                    "--max_connections",
                                                    "50",
                                                    "--max_queue",
                                                    "0",
                                                    "--grace_seconds",
                                                    "0",
                                                    "--readiness",
                                                    "all",
                                                    "--ready_file",
                                                    "/tmp/r",
                                                    "--file_system_poll_wait_seconds",
                                                    "0",
                                                    "--cache_dir",
                                                    "/tmp/c",
                                                    "--cpu_extension",
                                                    "/proc/self/exe",
                                                    "--log_level",
                                                    "WARNING",
                                                    "--log_path",
                                                    "/tmp/l"}));
  EXPECT_EQ(settings.grpc.hosts, (std::vector<std::string>{"127.0.0.1", "::1", "::2", "host-1.example"}));
  EXPECT_TRUE(settings.rest.enabled);
  EXPECT_EQ(settings.rest.port, 0);
  EXPECT_EQ(settings.rest.hosts, (std::vector<std::string>{"localhost"}));
  EXPECT_EQ(settings.grpc_workers, 1u);
  EXPECT_EQ(settings.rest_workers, 2u) << "raised, as with OVMS";
  EXPECT_EQ(settings.grpc_max_threads, 16u);
  EXPECT_EQ(settings.grpc_memory_quota, 0u);
  const decltype(settings.grpc_channel_arguments) arguments = {
      {"grpc.max_concurrent_streams", 100}, {"grpc.primary_user_agent", std::string("me")}, {"grpc.x", -1}};
  EXPECT_EQ(settings.grpc_channel_arguments, arguments);
  EXPECT_EQ(settings.grpc_max_message_bytes, 1000u);
  EXPECT_EQ(settings.max_body_bytes, 2000u);
  EXPECT_EQ(settings.header_timeout_ms, 30u);
  EXPECT_EQ(settings.body_timeout_ms, 40u);
  EXPECT_EQ(settings.max_connections, 50u);
  EXPECT_EQ(settings.max_queue, 0u);
  EXPECT_EQ(settings.grace_seconds, 0u);
  EXPECT_TRUE(settings.ready_needs_all);
  EXPECT_EQ(settings.ready_file, "/tmp/r");
  EXPECT_EQ(settings.file_system_poll_wait_seconds, 0u);
  EXPECT_EQ(settings.cache_dir, "/tmp/c");
  EXPECT_EQ(settings.cpu_extension, "/proc/self/exe");
  EXPECT_EQ(settings.log_level, LogLevel::kWarning);
  EXPECT_EQ(settings.log_path, "/tmp/l");
}

TEST(CommandLineTest, ReadsEveryModelFlag) {
  const ModelSettings model =
      ServedModel({"--nireq", "4", "--batch_size", "-1", "--layout", "NHWC:NCHW", "--model_version_policy",
                   R"({"latest": {"num_versions": 2}})", "--target_device=HETERO:GPU,CPU"});
  EXPECT_EQ(model.nireq, 4u);
  EXPECT_EQ(model.batch_size, Dimension::Dynamic());
  EXPECT_EQ(model.layouts.at(""), (LayoutSetting{"NHWC", "NCHW"}));
  EXPECT_EQ(model.version_policy.latest_count, 2u);
  EXPECT_EQ(model.target_device, "HETERO:GPU,CPU");
  EXPECT_EQ(ServedModel({"--batch_size=-1"}).batch_size, Dimension::Dynamic());
  EXPECT_TRUE(ServedModel({"--batch_size", "auto"}).batch_auto);
  EXPECT_FALSE(ServedModel({"--batch_size", "auto", "--shape", "auto"}).batch_auto) << "a shape goes first";
  EXPECT_EQ(ServedModel({"--shape", "auto"}).auto_shapes.count(""), 1u);
  const ModelSettings prepared = ServedModel(
      {"--layout", "NHWC:NCHW", "--mean", "[1,2,3]", "--scale=4", "--color_format", "RGB:BGR", "--precision", "U8"});
  EXPECT_EQ(prepared.means.at(""), (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(prepared.scales.at(""), std::vector<float>{4});
  EXPECT_EQ(prepared.color_formats.at("").tensor, "BGR");
  EXPECT_EQ(prepared.precisions.at("").tensor, ElementType::kUint8);
  EXPECT_EQ(ServedModel({"--shape", "(1,3,224,224)"}).shapes.at("").ToShape(), (Shape{1, 3, 224, 224}));
  EXPECT_EQ(ServedModel({"--shape", R"j({"a": "(1,1:8)"})j"}).shapes.at("a").Wire(), (Shape{1, -1}));
  EXPECT_EQ(ServedModel({"--layout", R"({"a": "NC"})"}).layouts.at("a").model, "NC");
}

TEST(CommandLineTest, ReadsTheFlagsAboutDevices) {
  const ModelSettings plain = ServedModel({});
  EXPECT_TRUE(plain.fallback_devices.empty());
  EXPECT_FALSE(plain.standby.has_value());
  EXPECT_EQ(plain.device_timeout_ms, 0u);
  EXPECT_EQ(plain.load_timeout_ms, 1800000u);
  EXPECT_FALSE(plain.strict_placement || plain.isolated_compile);
  const ModelSettings model = ServedModel({"--fallback_devices", "NPU, CPU", "--standby", "false", "--device_timeout_ms", "500",
                                           "--strict_placement", "--isolated_compile=true", "--load_timeout_ms", "0"});
  EXPECT_EQ(model.fallback_devices, (std::vector<std::string>{"NPU", "CPU"}));
  EXPECT_EQ(model.standby, false);
  EXPECT_EQ(model.device_timeout_ms, 500u);
  EXPECT_EQ(model.load_timeout_ms, 0u);
  EXPECT_TRUE(model.strict_placement && model.isolated_compile);
  EXPECT_EQ(ServedModel({"--standby", "--nireq", "1"}).standby, true);
  EXPECT_EQ(ServedModel({"--standby", "--standby", "false"}).standby, false);
  EXPECT_EQ(ServedModel({"--standby=false", "--standby"}).standby, true);
}

TEST(CommandLineTest, DevicePluginsMayBeGivenSeveralTimes) {
  const ServerSettings settings =
      Served(WithModel({"--device_plugin", "VCPU=/opt/libvcpu.so", "--device_plugin=NVIDIA=lib/n.so", "--device_plugin",
                        "VCPU=/opt/x/../libvcpu.so", "--strict"}));
  const std::vector<std::pair<std::string, std::string>> plugins = {
      {"VCPU", "/opt/libvcpu.so"}, {"NVIDIA", (std::filesystem::current_path() / "lib/n.so").string()}};
  EXPECT_EQ(settings.device_plugins, plugins);
  EXPECT_TRUE(settings.strict);
  EXPECT_FALSE(Served(WithModel({"--strict", "false"})).strict);
  EXPECT_FALSE(Served(WithModel({})).strict);
}

TEST(CommandLineTest, ModelPathIsMadeAbsolute) {
  const ServerSettings settings = Served({"--model_name", "m", "--model_path", "models/m/", "--port", "1"});
  EXPECT_EQ(settings.models[0].base_path, (std::filesystem::current_path() / "models/m").string());
}

TEST(CommandLineTest, AutoTakesFreePorts) {
  const ServerSettings settings = Served(WithModel({"--port", "auto", "--rest_port", "auto"}, ""));
  EXPECT_TRUE(settings.grpc.enabled && settings.rest.enabled);
  EXPECT_EQ(settings.grpc.port, 0);
  EXPECT_EQ(settings.rest.port, 0);
}

TEST(CommandLineTest, AUnixPathNeedsNoPort) {
  const ServerSettings settings = Served(WithModel({"--grpc_bind_address", "unix:/tmp/s", "--rest_port", "0"}, ""));
  EXPECT_TRUE(settings.grpc.enabled);
  EXPECT_EQ(settings.grpc.hosts, (std::vector<std::string>{"unix:/tmp/s"}));
  EXPECT_FALSE(settings.rest.enabled);
}

TEST(CommandLineTest, TheLastOfTwoValuesCounts) { EXPECT_EQ(Served(WithModel({"--port", "9001"})).grpc.port, 9001); }

TEST(CommandLineTest, FlagsOfOvmsThatAreNotServedAreNamed) {
  for (const std::string_view flag : UnservedFlags()) {
    const std::string name(flag);
    const std::string wanted = "--" + name + " is a flag of OVMS that this version does not serve yet; remove it";
    EXPECT_THAT(UsageError(WithModel({"--" + name, "value"})), HasSubstr(wanted));
    EXPECT_THAT(UsageError(WithModel({"--" + name + "=value"})), HasSubstr(wanted));
    EXPECT_THAT(UsageError({"--" + name}), HasSubstr(wanted));
  }
}

TEST(CommandLineTest, ReadsWhosePagesMayCall) {
  const CorsSettings none = Served(WithModel({})).cors;
  EXPECT_EQ(none.origins, std::vector<std::string>{"*"});
  EXPECT_EQ(none.methods, "*");
  EXPECT_EQ(none.headers, "*");
  EXPECT_FALSE(none.credentials);
  const CorsSettings cors = Served(WithModel({"--allowed_origins", "https://a.example,https://b.example", "--allowed_methods",
                                              "GET,POST", "--allowed_headers", "", "--allow_credentials"}))
                                .cors;
  EXPECT_EQ(cors.origins, (std::vector<std::string>{"https://a.example", "https://b.example"}));
  EXPECT_EQ(cors.methods, "GET, POST");
  EXPECT_EQ(cors.headers, "");
  EXPECT_TRUE(cors.credentials);
}

TEST(CommandLineTest, FaultsOfCommandsAndAddressesAreNamed) {
  const struct {
    Arguments arguments;
    std::string message;
  } cases[] = {
      {{"foo"},
       "\"foo\" is no command; the commands are infer, devices, plan, check, tune, convert, pull, and a server is started by "
       "flags alone: see --help"},
      {{"devicse", "--json"}, "\"devicse\" is no command (did you mean devices?); the commands are infer"},
      {{"", "--port", "1"}, "\"\" is no command; "},
      {WithModel({"--grpc_bind_address", "300.1.1.1"}), "--grpc_bind_address: expected IPv4 addresses"},
      {WithModel({"--grpc_bind_address", "127.0.0.1,"}), "--grpc_bind_address: expected IPv4 addresses"},
      {WithModel({"--rest_bind_address", "a b"}), "--rest_bind_address: expected IPv4 addresses"},
      {WithModel({"--rest_bind_address", std::string(256, 'a')}), "--rest_bind_address: expected"},
      {WithModel({"--grpc_bind_address", "unix:"}), "expected unix: and a path of 1 to 107 bytes"},
      {WithModel({"--grpc_bind_address", "unix:/" + std::string(107, 'a')}), "expected unix: and a path"},
      {WithModel({"--rest_bind_address", "unix:/s,127.0.0.1"}), "lists \"127.0.0.1\", which needs a port; give --rest_port"},
      {WithModel({"--allowed_origins", "a.example"}), "--allowed_origins: expected *, or origins such as https://"},
      {WithModel({"--allowed_methods", "GET POST"}), "--allowed_methods: expected *, or names separated by commas; got"},
      {WithModel({"--grpc_bind_address", "unix:/s,unix:/s"}), "--grpc_bind_address lists \"unix:/s\" twice"},
      {WithModel({"--grpc_bind_address", "unix:/s", "--rest_bind_address", "unix:/s"}), "cannot share the path \"unix:/s\""},
  };
  for (const auto& c : cases) EXPECT_THAT(UsageError(c.arguments), HasSubstr(c.message));
}

TEST(CommandLineTest, FaultsOfUsageAreNamed) {
  const std::string cores = std::to_string(std::max(1u, std::thread::hardware_concurrency()));
  const struct {
    Arguments arguments;
    std::string message;
  } cases[] = {
      {WithModel({"--nirec", "4"}), "unknown flag \"--nirec\"; did you mean --nireq?"},
      {WithModel({"--frobnicate"}), "unknown flag \"--frobnicate\"; see --help"},
      {WithModel({"-port", "1"}), "did you mean --port?"},
      {WithModel({"stray"}), "unexpected argument \"stray\""},
      {{"--model_name"}, "--model_name needs a value"},
      {{"--model_name", "--port", "9000"}, "--model_name needs a value, and the flag \"--port\" came"},
      {WithModel({}, ""), "port and rest_port cannot both be unset"},
      {WithModel({"--rest_port", "0"}, "0"), "port and rest_port cannot both be unset"},
      {WithModel({"--rest_port", "9000"}), "port and rest_port cannot be equal: both are 9000"},
      {WithModel({}, "65536"), "--port: expected a port from 0 (off) to 65535, or \"auto\" for a free one; got \"65536\""},
      {WithModel({}, "-7"), "got \"-7\""},
      {WithModel({"--rest_port", "abc"}), "--rest_port: expected a port"},
      {WithModel({"--grpc_workers", "0"}), "--grpc_workers: expected 1 to " + cores},
      {WithModel({"--grpc_workers", "100000"}), "--grpc_workers: expected 1 to " + cores + ", the number of cores; got 100000"},
      {WithModel({"--grpc_workers", "two"}), "--grpc_workers: expected a whole number"},
      {WithModel({"--rest_workers", "4"}), "--rest_workers is set, but rest_port is not"},
      {WithModel({"--rest_port", "9001", "--rest_workers", "10001"}), "--rest_workers: expected 2 to "},
      {WithModel({"--rest_port", "9001", "--rest_workers", "-1"}), "--rest_workers: expected a whole number from 0"},
      {WithModel({"--config_path", "/c.json"}), "Use either --config_path or --model_path with --model_name"},
      {{"--config_path", "/c.json", "--model_path", "/m", "--port", "1"}, "Use either --config_path or --model_path"},
      {{"--config_path", "/c.json", "--port", "1", "--shape", "(1)"},
       "Model parameters in CLI are exclusive with the config file: move --shape"},
      {{"--config_path", "/c.json", "--port", "1", "--batch_size", "1"}, "move --batch_size"},
      {{"--config_path", "/c.json", "--port", "1", "--nireq", "1"}, "move --nireq"},
      {{"--config_path", "/c.json", "--port", "1", "--target_device", "CPU"}, "move --target_device"},
      {{"--config_path", "/c.json", "--port", "1", "--plugin_config", "{}"}, "move --plugin_config"},
      {{"--config_path", "/c.json", "--port", "1", "--model_version_policy", "{}"}, "move --model_version_policy"},
      {{"--config_path", "/c.json", "--port", "1", "--layout", "NC"}, "move --layout"},
      {{"--config_path", "/c.json", "--port", "1", "--fallback_devices", "CPU"}, "move --fallback_devices"},
      {{"--config_path", "/c.json", "--port", "1", "--standby"}, "move --standby"},
      {{"--config_path", "/c.json", "--port", "1", "--device_timeout_ms", "0"}, "move --device_timeout_ms"},
      {{"--config_path", "/c.json", "--port", "1", "--strict_placement"}, "move --strict_placement"},
      {{"--config_path", "/c.json", "--port", "1", "--isolated_compile"}, "move --isolated_compile"},
      {WithModel({"--standby", "maybe"}), "--standby: expected true or false, got \"maybe\""},
      {WithModel({"--strict=1"}), "--strict: expected true or false, got \"1\""},
      {WithModel({"--load_timeout_ms", "86400001"}), "--load_timeout_ms: expected a whole number from 0 to 86400000"},
      {WithModel({"--device_timeout_ms", "9"}), "--device_timeout_ms: expected milliseconds from 10 to 3600000, or 0"},
      {WithModel({"--fallback_devices", "NPU,,CPU"}), "--fallback_devices: entry 2 is empty; remove the extra comma"},
      {WithModel({"--device_plugin", "VCPU"}), "--device_plugin: expected NAME=PATH"},
      {WithModel({"--device_plugin", "CPU=/a.so"}), "--device_plugin: \"CPU\" is a device of OpenVINO itself"},
      {WithModel({"--device_plugin", "V=/a.so", "--device_plugin", "V=/b.so"}),
       "--device_plugin: V has two paths, \"/a.so\" and \"/b.so\"; give it one"},
      {WithModel({"--device_plugin", "V=/a.so", "--device_plugin", "--strict"}),
       "--device_plugin needs a value, and the flag \"--strict\" came"},
      {{"--port", "1"}, "no model is named"},
      {{"--port", "1", "--model_name", "m"}, "--model_path is missing"},
      {{"--port", "1", "--model_path", "/m"}, "--model_name is missing"},
      {{"--port", "1", "--model_path", "/m", "--model_name", ""}, "--model_name: expected a name"},
      {{"--port", "1", "--model_path", "s3://b//m", "--model_name", "m"}, "--model_path: expected s3://BUCKET/FOLDER or"},
      {WithModel({"--cpu_extension", "/none.so"}), "--cpu_extension: expected a library file, and \"/none.so\" is not there"},
      {WithModel({"--log_level", "info"}), "--log_level: expected TRACE, DEBUG, INFO, WARNING or ERROR; got \"info\""},
      {WithModel({"--grpc_channel_arguments", "a"}), "--grpc_channel_arguments: expected name=value pairs"},
      {WithModel({"--grpc_channel_arguments", "a=1,,b=2"}), "--grpc_channel_arguments: expected name=value pairs"},
      {WithModel({"--grpc_channel_arguments", "a=1=2"}), "got \"a=1=2\""},
      {WithModel({"--grpc_channel_arguments", "=1"}), "got \"=1\""},
      {WithModel({"--grpc_channel_arguments", "a=99999999999"}), "32 bits"},
      {WithModel({"--trace_path", "x"}), "--trace_path is a flag of OVMS that this version does not serve yet"},
      {WithModel({"--metrics_enable"}), "--metrics_enable: metrics are served on the REST port; give --rest_port"},
      {WithModel({"--rest_port", "9001", "--metrics_list", "ovms_streams"}), "give that flag too"},
      {WithModel({"--rest_port", "9001", "--metrics_enable", "--metrics_list", "ovms_stream"}),
       "--metrics_list: the metric \"ovms_stream\" is not known; did you mean \"ovms_streams\"?"},
      {WithModel({"--rest_port", "9001", "--metrics_enable", "--metrics_list", "ovms_streams,ovms_streams"}),
       "the metric \"ovms_streams\" is named twice"},
      {WithModel({"--rest_port", "9001", "--metrics_enable", "--metrics_list", "switchyard_device_state"}),
       "is always there and cannot be chosen"},
      {WithModel({"--file_system_poll_wait_seconds", "-1"}), "--file_system_poll_wait_seconds: expected a whole number"},
      {WithModel({"--nireq", "100001"}), "--nireq: expected a whole number from 0 to 100000, got \"100001\""},
      {WithModel({"--nireq", "-7"}), "got \"-7\""},
      {WithModel({"--max_body_bytes", "0"}), "--max_body_bytes: expected a whole number from 1"},
      {WithModel({"--grpc_max_message_bytes", "4294967296"}),
       "--grpc_max_message_bytes: expected a whole number from 1 to 2147483647"},
      {WithModel({"--readiness", "some"}), "--readiness: expected any or all, got \"some\""},
      {WithModel({"--batch_size", "-7"}), "--batch_size: expected a number, -1, a range such as 1:8, or auto; got \"-7\""},
      {WithModel({"--mean", "[1,2,3]"}), "--mean with a value for each channel needs to know which dimension the channels are"},
      {WithModel({"--scale", "0"}), "--scale: expected numbers other than 0"},
      {WithModel({"--color_format", "RGB"}), "--color_format: expected two of RGB"},
      {WithModel({"--precision", "FP31"}), "--precision: expected UINT8:FP32"},
      {WithModel({"--auto_shape_limit", "0"}), "--auto_shape_limit: expected a whole number from 1 to 1000"},
      {WithModel({"--shape", "[1,2]"}),
       "--shape: expected a shape in parentheses such as (1,3,224,224) or (-1,3,1:8,224), or auto; got \"[1,2]\""},
      {WithModel({"--layout", "XYZ"}), "--layout: expected a layout"},
      {WithModel({"--plugin_config", "LATENCY"}), "--plugin_config: expected a JSON object"},
      {WithModel({"--model_version_policy", "all"}), "--model_version_policy: expected exactly one of"},
  };
  for (const auto& c : cases) EXPECT_THAT(UsageError(c.arguments), HasSubstr(c.message));
}

TEST_F(CommandLineFileTest, ServesAConfigFile) {
  const std::string path = Write(R"({"model_config_list": [{"config": {"name": "a"}}, {"config": {"name": "b", "shape": "x"}}],
      "monitoring": {"metrics": {"enable": true, "metrics_list": ["ovms_streams"]}}})");
  const ServerSettings settings = Served({"--config_path", path, "--rest_port", "9001"});
  EXPECT_EQ(settings.config_path, path);
  EXPECT_FALSE(settings.single_model);
  ASSERT_EQ(settings.models.size(), 1u);
  EXPECT_EQ(settings.models[0].base_path, folder_ + "/a");
  ASSERT_EQ(settings.faulty_models.size(), 1u);
  EXPECT_EQ(settings.faulty_models[0].name, "b");
  EXPECT_TRUE(settings.metrics_enable);
  EXPECT_EQ(settings.metrics_list, (std::vector<std::string>{"ovms_streams"}));
}

TEST_F(CommandLineFileTest, AFaultyConfigFileIsAStartFailure) {
  const struct {
    std::string text;
    Arguments more;
    std::string message;
  } cases[] = {
      {"{", {}, "/config.json: invalid JSON at line 1, column 2"},
      {R"({"model_config_list": [{"config": {"name": "m", "nireq": "two"}}]})",
       {},
       "/model_config_list/0/config/nireq: expected a non-negative integer, got the string \"two\""},
  };
  for (const auto& c : cases) {
    Arguments arguments = {"--config_path", Write(c.text), "--port", "9000"};
    arguments.insert(arguments.end(), c.more.begin(), c.more.end());
    const auto parsed = Parse(arguments);
    ASSERT_TRUE(std::holds_alternative<SettingsError>(parsed)) << c.text;
    EXPECT_EQ(std::get<SettingsError>(parsed).exit_code, kExitFailure);
    EXPECT_THAT(std::get<SettingsError>(parsed).message, HasSubstr(c.message));
  }
  const auto parsed = Parse({"--config_path", folder_ + "/none.json", "--port", "9000"});
  EXPECT_EQ(std::get<SettingsError>(parsed).exit_code, kExitFailure);
}

TEST_F(CommandLineFileTest, DevicePluginsOfTheFileAndTheCommandLineAreMerged) {
  const std::string path =
      Write(R"({"model_config_list": [], "device_plugins": {"VCPU": "libvcpu.so", "NVIDIA": "/opt/n.so"}})");
  const ServerSettings settings = Served(
      {"--config_path", path, "--port", "9000", "--device_plugin", "XPU=/opt/x.so", "--device_plugin", "NVIDIA=/opt/n.so"});
  const std::vector<std::pair<std::string, std::string>> plugins = {
      {"XPU", "/opt/x.so"}, {"NVIDIA", "/opt/n.so"}, {"VCPU", folder_ + "/libvcpu.so"}};
  EXPECT_EQ(settings.device_plugins, plugins);

  const auto parsed = Parse({"--config_path", path, "--port", "9000", "--device_plugin", "NVIDIA=/opt/other.so"});
  ASSERT_TRUE(std::holds_alternative<SettingsError>(parsed));
  EXPECT_EQ(std::get<SettingsError>(parsed).exit_code, kExitFailure);
  EXPECT_THAT(std::get<SettingsError>(parsed).message,
              HasSubstr("/device_plugins beside --device_plugin: NVIDIA has two paths, \"/opt/other.so\" and \"/opt/n.so\""));
}

}  // namespace
}  // namespace switchyard
