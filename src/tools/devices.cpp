#include "tools/devices.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <future>
#include <string_view>
#include <thread>
#include <variant>

#include "tools/command.h"
#include "tools/devices_report.h"

namespace switchyard {
namespace {

constexpr int64_t kLongestAnswerMs = 20000;

constexpr const char* kDevicesDescription =
    "Lists the devices that models can run on, says why a GPU or an NPU is not there and what to do about it, and what\n"
    "the process may use of the processor.\n"
    "Exit code: 0, 1 when a plugin does not load, 64 when the command line is at fault.";

struct Options {
  bool json = false;
  std::string sysroot;  // empty: this machine
  int64_t timeout_ms = kLongestAnswerMs;
  DevicePlugins plugins;
};

struct Exit {
  int code = 0;
  std::string text;
};

Exit UsageExit(std::string_view message) {
  return {kExitUsage, fmt::format("switchyard devices: {}\nRun `switchyard devices --help` for the flags.\n", message)};
}

std::variant<Options, Exit> Parse(int argc, const char* const* argv) {
  Options options;
  std::vector<std::string> plugins;
  CLI::App app(kDevicesDescription, "switchyard devices");
  app.add_flag("--json", options.json, "print one JSON object");
  app.add_option("--sysroot", options.sysroot,
                 "judge the files below this folder instead of this machine's; OpenVINO is not asked")
      ->option_text("FOLDER");
  app.add_option("--device_plugin", plugins, "a device's name and the plugin for it, which OpenVINO does not ship; repeatable")
      ->allow_extra_args(false)
      ->option_text("NAME=PATH");
  app.add_option("--timeout_ms", options.timeout_ms, "longest time to wait for the devices' drivers (20000 if not given)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 40))
      ->option_text("N");
  std::vector<std::string> arguments;
  for (int i = argc - 1; i >= 2; --i) arguments.emplace_back(argv[i]);
  try {
    app.parse(arguments);
  } catch (const CLI::CallForHelp&) {
    return Exit{kExitOk, app.help()};
  } catch (const CLI::ParseError& error) {
    return UsageExit(error.what());
  }
  for (const std::string& plugin : plugins) {
    const size_t at = plugin.find('=');
    if (at == 0 || at == std::string::npos || at + 1 == plugin.size()) {
      return UsageExit(
          fmt::format("--device_plugin {}: expected NAME=PATH, as in NVIDIA=/opt/libopenvino_nvidia_gpu_plugin.so", plugin));
    }
    options.plugins.emplace_back(plugin.substr(0, at), plugin.substr(at + 1));
  }
  std::error_code error;
  if (!options.sysroot.empty() && !std::filesystem::is_directory(options.sysroot, error)) {
    return UsageExit(fmt::format("--sysroot {}: no such folder; expected the root of a file system", options.sysroot));
  }
  return options;
}

// Nothing when a plugin's library does not load in time: a broken one must not hang the one tool that is to tell about it.
std::optional<StatusOr<std::unique_ptr<Runtime>>> Make(RuntimeFactory make_runtime, const Options& options) {
  auto promise = std::make_shared<std::promise<StatusOr<std::unique_ptr<Runtime>>>>();
  auto made = promise->get_future();
  std::thread([promise, plugins = options.plugins, make = std::move(make_runtime)]() mutable {
    promise->set_value(make(plugins));
  }).detach();
  if (made.wait_for(std::chrono::milliseconds(options.timeout_ms)) != std::future_status::ready) return std::nullopt;
  return made.get();
}

int Run(const Options& options, RuntimeFactory make_runtime) {
  const SystemView view = options.sysroot.empty() ? SystemView::Own() : SystemView::At(options.sysroot);
  DevicesReport report;
  report.cpu = ReadCpuFacts(view);
  std::optional<DeviceList> devices;
  bool hung = false;
  if (view.live()) {
    auto runtime = Make(std::move(make_runtime), options);
    if (runtime && !runtime->ok()) {
      return Fail("devices", kExitFailure, Message(runtime->status()));
    }
    hung = !runtime;
    if (hung) {
      report.notes.push_back(fmt::format(
          "A device's plugin has not answered within {} ms: what follows is told by files alone.", options.timeout_ms));
    } else {
      devices = (**runtime)->Devices(std::chrono::milliseconds(options.timeout_ms));
      report.runtime = "OpenVINO " + (**runtime)->Version();
    }
  } else {
    report.sysroot = options.sysroot;
    report.notes.push_back(fmt::format("Told by the files below {} alone: OpenVINO was not asked.", options.sysroot));
  }
  report.devices = MakeRows(devices, report.cpu, view);
  for (const auto& [name, path] : options.plugins) {
    if (!devices || HasKind(*devices, name)) continue;
    report.devices.push_back(
        {DeviceInfo{.name = name}, Absence{fmt::format("its plugin {} loads, and finds no device", Printable(path)),
                                           "see the plugin's own documentation for the drivers that it needs"}});
  }
  const std::string text = options.json ? ToJson(report) : ToText(report);
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
  if (hung) _exit(kExitOk);
  return kExitOk;
}

}  // namespace

int RunDevices(int argc, const char* const* argv, RuntimeFactory make_runtime) {
  const auto parsed = Parse(argc, argv);
  if (const auto* exit = std::get_if<Exit>(&parsed)) {
    std::fwrite(exit->text.data(), 1, exit->text.size(), exit->code == kExitOk ? stdout : stderr);
    return exit->code;
  }
  return Run(std::get<Options>(parsed), std::move(make_runtime));
}

}  // namespace switchyard
