#include "tools/check.h"

#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <cstdio>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/log.h"
#include "config/command_line.h"
#include "config/config_reading.h"
#include "config/device_values.h"
#include "config/json_text.h"
#include "config/text.h"
#include "control/config_check.h"
#include "tools/command.h"

namespace switchyard {
namespace {

constexpr std::string_view kCheckHelp =
    "Tells everything that a start would find wrong with a config.json, without starting: syntax, keys, values, names, paths,\n"
    "versions, labels, devices and properties, and whether each model can be read and takes its settings. Nothing is "
    "compiled.\n\n"
    "switchyard check CONFIG [--strict] [--json]\n"
    "  --strict    every warning about settings is a fault, as with the server's --strict\n"
    "  --json      print {\"models\": n, \"faults\": [{\"pointer\", \"expected\", \"got\"}]}\n"
    "--cpu_extension, --tokenizers_extension and --device_plugin are those of the server: see `switchyard --help`. Exit code: "
    "0, 1 when\n"
    "there are faults, 64 when the command line is at fault.\n";

struct CheckArguments {
  std::string config;
  ServerSettings server;  // what of it the runtime needs
  bool strict = false;
  bool json = false;
  bool help = false;
};

StatusOr<CheckArguments> ReadCheckArguments(int argc, const char* const* argv) {
  CheckArguments arguments;
  for (int i = 2; i < argc; ++i) {
    std::string_view name = argv[i];
    std::string value;
    const size_t equals = name.starts_with("--") ? name.find('=') : name.npos;
    const bool takes_value = name.starts_with("--cpu_extension") || name.starts_with("--tokenizers_extension") ||
                             name.starts_with("--device_plugin") || name.starts_with("--config_path");
    if (equals != name.npos) {
      value = name.substr(equals + 1);
      name = name.substr(0, equals);
    } else if (takes_value) {
      if (++i == argc) return InvalidArgument("{}: expected a value behind it, got none", name);
      value = argv[i];
    }
    if (name == "--strict") {
      arguments.strict = true;
    } else if (name == "--json") {
      arguments.json = true;
    } else if (name == "--help" || name == "-h") {
      arguments.help = true;
    } else if (name == "--cpu_extension") {
      arguments.server.cpu_extension = value;
    } else if (name == "--tokenizers_extension") {
      arguments.server.tokenizers_extension = value;
    } else if (name == "--device_plugin") {
      SY_RETURN_IF_ERROR(AddDevicePlugin(value, &arguments.server.device_plugins));
    } else if (name.starts_with("-") && name != "--config_path") {
      return InvalidArgument("{} is not known here; see `switchyard check --help`", name);
    } else if (!arguments.config.empty()) {
      return InvalidArgument("expected one config file, got {} besides", name == "--config_path" ? value : argv[i]);
    } else {
      arguments.config = name == "--config_path" ? value : std::string(name);
    }
  }
  if (arguments.config.empty() && !arguments.help) return InvalidArgument("expected a config file: switchyard check CONFIG");
  return arguments;
}

// A reader takes one of them, and which one is nobody's promise.
void AddDoubledKeys(const rapidjson::Value& value, const std::string& pointer, std::vector<ConfigFault>* faults) {
  if (value.IsArray()) {
    for (rapidjson::SizeType i = 0; i < value.Size(); ++i) {
      AddDoubledKeys(value[i], PointerTo(pointer, std::to_string(i)), faults);
    }
  }
  if (!value.IsObject()) return;
  std::map<std::string_view, int> counts;
  for (const auto& member : value.GetObject()) {
    const std::string place = PointerTo(pointer, Text(member.name));
    if (++counts[Text(member.name)] == 2)
      faults->push_back({place, "each key once", "the key " + Quote(Text(member.name)) + " twice"});
    AddDoubledKeys(member.value, place, faults);
  }
}

struct Findings {
  size_t models = 0;
  std::vector<ConfigFault> faults;
};

Findings Check(const CheckArguments& arguments, CheckRuntimeFactory& make_runtime, ReadRecorded read_recorded) {
  Findings findings;
  const auto text = ReadConfigText(arguments.config);
  if (!text.ok()) {
    findings.faults.push_back({"", "a config file that can be read", std::string(Message(text.status()))});
    return findings;
  }
  std::error_code error;
  const std::string folder = std::filesystem::absolute(arguments.config, error).parent_path().string();
  ConfigReading reading = ReadWholeConfig(*text, folder, arguments.strict);
  findings.models = reading.models.size();
  findings.faults = std::move(reading.faults);
  if (rapidjson::Document document; ParseJsonText(*text, &document).ok()) AddDoubledKeys(document, "", &findings.faults);
  ServerSettings options = arguments.server;
  for (const auto& [name, path] : reading.file.server.device_plugins) {
    const Status added = AddDevicePlugin(name, path, "", &options.device_plugins);
    if (!added.ok()) findings.faults.push_back(FaultAt("/device_plugins/" + name, Message(added), path));
  }
  const auto runtime = make_runtime(options);
  if (!runtime.ok()) {
    findings.faults.push_back(
        {"/device_plugins", "device plugins and extensions that can be loaded", std::string(Message(runtime.status()))});
    return findings;
  }
  CheckEnvironment environment{.runtime = **runtime,
                               .inventory = (*runtime)->Devices(kListLimit).found,
                               .device_plugins = {},
                               .strict = arguments.strict,
                               .read_models = true,
                               .read_recorded = std::move(read_recorded)};
  for (const auto& [name, path] : options.device_plugins) environment.device_plugins.push_back(name);
  for (const CheckedModel& model : reading.models) CheckModel(model, environment, &findings.faults);
  return findings;
}

std::string FindingsJson(const Findings& findings) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  const auto member = [&](const char* key, const std::string& value) {
    writer.Key(key);
    writer.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
  };
  writer.StartObject();
  writer.Key("models");
  writer.Uint64(findings.models);
  writer.Key("faults");
  writer.StartArray();
  for (const ConfigFault& fault : findings.faults) {
    writer.StartObject();
    member("pointer", fault.pointer);
    member("expected", fault.expected);
    member("got", fault.got);
    writer.EndObject();
  }
  writer.EndArray();
  writer.EndObject();
  return std::string(buffer.GetString(), buffer.GetSize()) + "\n";
}

std::string FindingsText(const std::string& config, const Findings& findings) {
  std::string text;
  for (const ConfigFault& fault : findings.faults) text += ToText(fault) + "\n";
  const size_t count = findings.faults.size();
  text += count == 0 ? fmt::format("{}: no faults; models: {}\n", config, findings.models)
                     : fmt::format("{}: {} fault{}\n", config, count, count == 1 ? "" : "s");
  return text;
}

}  // namespace

int RunCheck(int argc, const char* const* argv, CheckRuntimeFactory make_runtime, ReadRecorded read_recorded) {
  const auto arguments = ReadCheckArguments(argc, argv);
  if (!arguments.ok()) return Fail("check", kExitUsage, Message(arguments.status()));
  if (arguments->help) {
    std::fwrite(kCheckHelp.data(), 1, kCheckHelp.size(), stdout);
    return kExitOk;
  }
  LogToStderr();
  const Findings findings = Check(*arguments, make_runtime, std::move(read_recorded));
  const std::string text = arguments->json ? FindingsJson(findings) : FindingsText(arguments->config, findings);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return findings.faults.empty() ? kExitOk : kExitFailure;
}

}  // namespace switchyard
