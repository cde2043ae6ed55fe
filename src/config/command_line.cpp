#include "config/command_line.h"

#include <sys/resource.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <limits>
#include <system_error>
#include <thread>

#include "config/batching_values.h"
#include "config/config_file.h"
#include "config/cors_values.h"
#include "config/device_values.h"
#include "config/flags.h"
#include "config/lifecycle_values.h"
#include "config/listen_address.h"
#include "config/metrics_list.h"
#include "config/model_values.h"
#include "config/preprocess_values.h"
#include "config/text.h"
#include "telemetry/span_exporter.h"

namespace switchyard {
namespace {

constexpr uint64_t kAnyUint32 = std::numeric_limits<uint32_t>::max();
constexpr uint64_t kAnyUint64 = std::numeric_limits<uint64_t>::max();
constexpr uint64_t kLongestLoadMs = 86400000;
constexpr std::string_view kModelFlags[] = {"batch_size",
                                            "shape",
                                            "layout",
                                            "nireq",
                                            "target_device",
                                            "plugin_config",
                                            "model_version_policy",
                                            "fallback_devices",
                                            "standby",
                                            "device_timeout_ms",
                                            "load_timeout_ms",
                                            "strict_placement",
                                            "isolated_compile",
                                            "mean",
                                            "scale",
                                            "color_format",
                                            "precision",
                                            "auto_shape_limit",
                                            "dynamic_batching",
                                            "stateful",
                                            "max_sequence_number",
                                            "idle_sequence_cleanup",
                                            "sequence_idle_seconds",
                                            "low_latency_transformation",
                                            "warmup",
                                            "idle_unload_seconds"};

template <typename Number>
Status ReadNumber(const GivenFlags& flags, const std::string& name, uint64_t min, uint64_t max, Number* target) {
  if (!flags.Has(name)) return absl::OkStatus();
  const std::string& text = flags.Get(name);
  uint64_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || stop != text.data() + text.size() || value < min || value > max) {
    return InvalidArgument("--{}: expected a whole number from {} to {}, got {}", name, min, max, Quote(text));
  }
  *target = static_cast<Number>(value);
  return absl::OkStatus();
}

void ReadText(const GivenFlags& flags, const std::string& name, std::string* target) {
  if (flags.Has(name)) *target = flags.Get(name);
}

// The value that `parse` makes of the flag; its errors get the flag's name.
template <typename Target, typename Parse>
Status ReadParsed(const GivenFlags& flags, const std::string& name, Parse parse, Target* target) {
  if (!flags.Has(name)) return absl::OkStatus();
  auto value = parse(flags.Get(name));
  if (!value.ok()) return Status(value.status().code(), fmt::format("--{}: {}", name, Message(value.status())));
  *target = *std::move(value);
  return absl::OkStatus();
}

Status ReadAddresses(const GivenFlags& flags, ServerSettings* settings) {
  const auto optional = [&](const std::string& name) {
    return flags.Has(name) ? std::optional<std::string>(flags.Get(name)) : std::nullopt;
  };
  SY_ASSIGN_OR_RETURN(settings->grpc,
                      ParseListenAddress({"port", "grpc_bind_address", optional("port"), optional("grpc_bind_address")}));
  SY_ASSIGN_OR_RETURN(settings->rest, ParseListenAddress({"rest_port", "rest_bind_address", optional("rest_port"),
                                                          optional("rest_bind_address")}));
  const ListenAddress& grpc = settings->grpc;
  const ListenAddress& rest = settings->rest;
  if (!grpc.enabled && !rest.enabled) {
    return InvalidArgument("port and rest_port cannot both be unset: give --port, --rest_port or both a port, or \"auto\"");
  }
  if (!grpc.enabled || !rest.enabled) return absl::OkStatus();
  if (grpc.port != 0 && grpc.port == rest.port) {
    return InvalidArgument("port and rest_port cannot be equal: both are {}; give them two ports", grpc.port);
  }
  for (const std::string& host : grpc.hosts) {
    const bool twice = std::find(rest.hosts.begin(), rest.hosts.end(), host) != rest.hosts.end();
    if (twice && host.rfind("unix:", 0) == 0) {
      return InvalidArgument("grpc_bind_address and rest_bind_address cannot share the path {}; give them two paths",
                             Quote(host));
    }
  }
  return absl::OkStatus();
}

// Integers as integers, anything else as text: what gRPC takes an argument as decides whether it is heeded.
StatusOr<decltype(ServerSettings::grpc_channel_arguments)> ParseChannelArguments(std::string_view text) {
  decltype(ServerSettings::grpc_channel_arguments) arguments;
  for (const std::string_view part : Split(text, ',')) {
    const size_t equals = part.find('=');
    const std::string_view name = Trim(part.substr(0, equals));
    const std::string_view value = equals == std::string_view::npos ? std::string_view() : Trim(part.substr(equals + 1));
    if (name.empty() || value.empty() || value.find('=') != std::string_view::npos) {
      return InvalidArgument("expected name=value pairs separated by commas, got {}", Quote(part));
    }
    int number = 0;
    const auto [stop, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (stop == value.data() + value.size() && error == std::errc::result_out_of_range) {
      return InvalidArgument("expected numbers of 32 bits, got {}", Quote(part));
    }
    if (stop == value.data() + value.size() && error == std::errc()) {
      arguments.emplace_back(std::string(name), number);
    } else {
      arguments.emplace_back(std::string(name), std::string(value));
    }
  }
  return arguments;
}

Status ReadWorkers(const GivenFlags& flags, ServerSettings* settings) {
  const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  SY_RETURN_IF_ERROR(ReadNumber(flags, "grpc_workers", 0, kAnyUint32, &settings->grpc_workers));
  if (settings->grpc_workers < 1 || settings->grpc_workers > cores) {
    return InvalidArgument("--grpc_workers: expected 1 to {}, the number of cores; got {}", cores, settings->grpc_workers);
  }
  if (!flags.Has("rest_workers")) return absl::OkStatus();
  SY_RETURN_IF_ERROR(ReadNumber(flags, "rest_workers", 0, kAnyUint32, &settings->rest_workers));
  if (!settings->rest.enabled) return InvalidArgument("--rest_workers is set, but rest_port is not; give --rest_port too");
  // OVMS's rule: six descriptors for each worker beside fifteen of the process, of those that the process may open at most.
  uint64_t most = 10000;
  rlimit files{};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_max != RLIM_INFINITY) {
    most = std::clamp<uint64_t>(files.rlim_max > 15 ? (files.rlim_max - 15) / 6 : 2, 2, most);
  }
  if (settings->rest_workers > most) {
    return InvalidArgument("--rest_workers: expected 2 to {} (10000, or fewer by the limit of open files), got {}", most,
                           settings->rest_workers);
  }
  settings->rest_workers = std::max(settings->rest_workers, 2u);
  return absl::OkStatus();
}

Status ReadLimits(const GivenFlags& flags, ServerSettings* settings) {
  SY_RETURN_IF_ERROR(ReadNumber(flags, "grpc_max_threads", 0, kAnyUint32, &settings->grpc_max_threads));
  SY_RETURN_IF_ERROR(ReadNumber(flags, "grpc_memory_quota", 0, kAnyUint64, &settings->grpc_memory_quota));
  // gRPC counts the bytes of a message in an int.
  SY_RETURN_IF_ERROR(
      ReadNumber(flags, "grpc_max_message_bytes", 1, std::numeric_limits<int32_t>::max(), &settings->grpc_max_message_bytes));
  SY_RETURN_IF_ERROR(ReadNumber(flags, "max_body_bytes", 1, uint64_t{1} << 40, &settings->max_body_bytes));
  SY_RETURN_IF_ERROR(ReadNumber(flags, "max_connections", 1, kAnyUint32, &settings->max_connections));
  SY_RETURN_IF_ERROR(ReadNumber(flags, "header_timeout_ms", 1, kAnyUint32, &settings->header_timeout_ms));
  SY_RETURN_IF_ERROR(ReadNumber(flags, "body_timeout_ms", 1, kAnyUint32, &settings->body_timeout_ms));
  SY_RETURN_IF_ERROR(ReadParsed(flags, "memory_budget", ParseBytes, &settings->memory_budget));
  SY_RETURN_IF_ERROR(ReadNumber(flags, "max_queue", 0, kAnyUint32, &settings->max_queue));
  // So many that the bytes of a picture can be counted.
  SY_RETURN_IF_ERROR(ReadNumber(flags, "max_image_pixels", 1, uint64_t{1} << 40, &settings->max_image_pixels));
  SY_RETURN_IF_ERROR(ReadNumber(flags, "grace_seconds", 0, kAnyUint32, &settings->grace_seconds));
  SY_RETURN_IF_ERROR(
      ReadNumber(flags, "sequence_cleaner_poll_wait_minutes", 0, kAnyUint32, &settings->sequence_cleaner_poll_wait_minutes));
  SY_RETURN_IF_ERROR(
      ReadNumber(flags, "file_system_poll_wait_seconds", 0, kAnyUint32, &settings->file_system_poll_wait_seconds));
  return ReadParsed(flags, "grpc_channel_arguments", ParseChannelArguments, &settings->grpc_channel_arguments);
}

StatusOr<bool> ParseReadiness(std::string_view text) {
  if (text != "any" && text != "all") return InvalidArgument("expected any or all, got {}", Quote(text));
  return text == "all";
}

StatusOr<ModelControlMode> ParseModelControl(std::string_view text) {
  if (text == "poll") return ModelControlMode::kPoll;
  if (text == "explicit") return ModelControlMode::kExplicit;
  if (text == "none") return ModelControlMode::kNone;
  return InvalidArgument("expected poll, explicit or none, got {}", Quote(text));
}

StatusOr<double> ParseShare(std::string_view text) {
  double share = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), share);
  if (read.ec == std::errc() && read.ptr == text.data() + text.size() && share >= 0 && share <= 1) return share;
  return InvalidArgument("expected a number from 0 to 1, got {}", Quote(text));
}

Status ReadTracing(const GivenFlags& flags, ServerSettings* settings) {
  if (flags.Has("log_format")) {
    auto format = ParseLogFormat(flags.Get("log_format"));
    if (!format.ok()) return InvalidArgument("--{}", Message(format.status()));
    settings->log_format = *format;
  }
  if (flags.Has("access_log") && settings->access_log.empty()) {
    return InvalidArgument("--access_log: expected a file, or - for stdout");
  }
  if (flags.Has("otlp_endpoint")) {
    settings->otlp_endpoint = flags.Get("otlp_endpoint");
    const Status known = CheckOtlpEndpoint(settings->otlp_endpoint);
    if (!known.ok()) return InvalidArgument("--otlp_endpoint: {}", Message(known));
  } else if (flags.Has("trace_sample_rate")) {
    return InvalidArgument("--trace_sample_rate chooses among what is sent to --otlp_endpoint; give that flag too");
  }
  return ReadParsed(flags, "trace_sample_rate", ParseShare, &settings->trace_sample_rate);
}

Status ReadCors(const GivenFlags& flags, CorsSettings* cors) {
  SY_RETURN_IF_ERROR(ReadParsed(flags, "allowed_origins", ParseAllowedOrigins, &cors->origins));
  SY_RETURN_IF_ERROR(ReadParsed(flags, "allowed_methods", ParseAllowedNames, &cors->methods));
  SY_RETURN_IF_ERROR(ReadParsed(flags, "allowed_headers", ParseAllowedNames, &cors->headers));
  cors->credentials = flags.IsOn("allow_credentials");
  return absl::OkStatus();
}

Status ReadRest(const GivenFlags& flags, ServerSettings* settings) {
  SY_RETURN_IF_ERROR(ReadParsed(flags, "readiness", ParseReadiness, &settings->ready_needs_all));
  SY_RETURN_IF_ERROR(ReadParsed(flags, "model_control", ParseModelControl, &settings->model_control));
  ReadText(flags, "ready_file", &settings->ready_file);
  ReadText(flags, "cache_dir", &settings->cache_dir);
  SY_RETURN_IF_ERROR(ReadNumber(flags, "cloud_poll_wait_seconds", 0, kAnyUint32, &settings->cloud_poll_wait_seconds));
  const auto absolute = [](const std::string& path) { return ResolveBasePath(path, ""); };
  SY_RETURN_IF_ERROR(ReadParsed(flags, "cloud_cache_dir", absolute, &settings->cloud_cache_dir));
  SY_RETURN_IF_ERROR(ReadNumber(flags, "cache_max_bytes", 0, kAnyUint64, &settings->cache_max_bytes));
  if (settings->cache_max_bytes > 0 && settings->cache_dir.empty()) {
    return InvalidArgument("--cache_max_bytes limits the folder of --cache_dir; give that flag too");
  }
  ReadText(flags, "log_path", &settings->log_path);
  ReadText(flags, "access_log", &settings->access_log);
  ReadText(flags, "cpu_extension", &settings->cpu_extension);
  ReadText(flags, "tokenizers_extension", &settings->tokenizers_extension);
  settings->strict = flags.IsOn("strict");
  settings->allow_shared_memory = flags.IsOn("allow_shared_memory");
  for (const std::string& plugin : flags.All("device_plugin")) {
    const Status added = AddDevicePlugin(plugin, &settings->device_plugins);
    if (!added.ok()) return InvalidArgument("--device_plugin: {}", Message(added));
  }
  std::error_code error;
  if (flags.Has("cpu_extension") && !std::filesystem::exists(settings->cpu_extension, error)) {
    return InvalidArgument("--cpu_extension: expected a library file, and {} is not there", Quote(settings->cpu_extension));
  }
  if (flags.Has("tokenizers_extension") && !std::filesystem::exists(settings->tokenizers_extension, error)) {
    return InvalidArgument("--tokenizers_extension: expected a library file, and {} is not there",
                           Quote(settings->tokenizers_extension));
  }
  if (flags.Has("log_level")) {
    auto level = ParseLogLevel(flags.Get("log_level"));
    if (!level.ok()) return InvalidArgument("--{}", Message(level.status()));
    settings->log_level = *level;
    settings->log_level_given = true;
  }
  return ReadTracing(flags, settings);
}

Status CheckModelSource(const GivenFlags& flags) {
  const bool name = flags.Has("model_name");
  const bool path = flags.Has("model_path");
  if (flags.Has("config_path")) {
    if (name || path) {
      return InvalidArgument(
          "Use either --config_path or --model_path with --model_name, not both: --{} is given beside --config_path",
          name ? "model_name" : "model_path");
    }
    for (const std::string_view flag : kModelFlags) {
      if (!flags.Has(std::string(flag))) continue;
      return InvalidArgument(
          "Model parameters in CLI are exclusive with the config file: move --{} into the model's entry of {}", flag,
          Quote(flags.Get("config_path")));
    }
    return absl::OkStatus();
  }
  if (name && path) return absl::OkStatus();
  if (!name && !path) return InvalidArgument("Use --config_path, or --model_path with --model_name: no model is named");
  return InvalidArgument("Use --config_path, or --model_path with --model_name: --{} is missing",
                         name ? "model_path" : "model_name");
}

Status ReadInputs(const GivenFlags& flags, ModelSettings* model) {
  BatchSetting batch;
  SY_RETURN_IF_ERROR(ReadParsed(flags, "batch_size", ParseBatchSize, &batch));
  model->batch_size = batch.size;
  model->batch_auto = batch.is_auto;
  ShapeSettings shapes;
  SY_RETURN_IF_ERROR(ReadParsed(flags, "shape", ParseShapes, &shapes));
  model->shapes = std::move(shapes.shapes);
  model->auto_shapes = std::move(shapes.autos);
  SY_RETURN_IF_ERROR(ReadNumber(flags, "auto_shape_limit", 1, kMaxAutoShapes, &model->auto_shape_limit));
  if (flags.Has("dynamic_batching")) {
    SY_RETURN_IF_ERROR(ReadParsed(flags, "dynamic_batching", ParseDynamicBatching, &model->dynamic_batching.emplace()));
  }
  SY_RETURN_IF_ERROR(ReadParsed(flags, "layout", ParseLayouts, &model->layouts));
  SY_RETURN_IF_ERROR(ReadParsed(flags, "mean", ParseMeans, &model->means));
  SY_RETURN_IF_ERROR(ReadParsed(flags, "scale", ParseScales, &model->scales));
  SY_RETURN_IF_ERROR(ReadParsed(flags, "color_format", ParseColorFormats, &model->color_formats));
  return ReadParsed(flags, "precision", ParsePrecisions, &model->precisions);
}

Status ReadState(const GivenFlags& flags, ModelSettings* model) {
  if (flags.Has("stateful")) model->stateful = flags.IsOn("stateful");
  if (flags.Has("idle_sequence_cleanup")) model->idle_sequence_cleanup = flags.IsOn("idle_sequence_cleanup");
  model->low_latency_transformation = flags.IsOn("low_latency_transformation");
  SY_RETURN_IF_ERROR(ReadNumber(flags, "max_sequence_number", 1, kMaxSequences, &model->max_sequence_number));
  return ReadNumber(flags, "sequence_idle_seconds", 0, kAnyUint32, &model->sequence_idle_seconds);
}

StatusOr<ModelSettings> ReadModel(const GivenFlags& flags) {
  ModelSettings model;
  model.name = flags.Get("model_name");
  const Status named = CheckModelName(model.name);
  if (!named.ok()) return InvalidArgument("--model_name: {}", Message(named));
  const auto resolve = [](const std::string& path) { return ResolveBasePath(path, ""); };
  SY_RETURN_IF_ERROR(ReadParsed(flags, "model_path", resolve, &model.base_path));
  if (flags.Has("target_device")) model.target_device = Trim(flags.Get("target_device"));
  SY_RETURN_IF_ERROR(ReadParsed(flags, "plugin_config", ParsePluginConfig, &model.plugin_config));
  SY_RETURN_IF_ERROR(ReadParsed(flags, "fallback_devices", ParseFallbackDevices, &model.fallback_devices));
  SY_RETURN_IF_ERROR(ReadParsed(flags, "warmup", ParseWarmUp, &model.warm_up));
  SY_RETURN_IF_ERROR(ReadNumber(flags, "idle_unload_seconds", 0, kLongestIdleSeconds, &model.idle_unload_seconds));
  if (flags.Has("standby")) model.standby = flags.IsOn("standby");
  SY_RETURN_IF_ERROR(ReadParsed(flags, "device_timeout_ms", ParseDeviceTimeout, &model.device_timeout_ms));
  SY_RETURN_IF_ERROR(ReadNumber(flags, "load_timeout_ms", 0, kLongestLoadMs, &model.load_timeout_ms));
  model.strict_placement = flags.IsOn("strict_placement");
  model.isolated_compile = flags.IsOn("isolated_compile");
  SY_RETURN_IF_ERROR(ReadNumber(flags, "nireq", 0, kMaxNireq, &model.nireq));
  SY_RETURN_IF_ERROR(ReadInputs(flags, &model));
  SY_RETURN_IF_ERROR(ReadState(flags, &model));
  SY_RETURN_IF_ERROR(ReadParsed(flags, "model_version_policy", ParseVersionPolicy, &model.version_policy));
  const Status whole = Reconcile(&model, flags.IsOn("strict") ? Warnings::kRefuse : Warnings::kLog);
  if (!whole.ok()) return InvalidArgument("--{}", Message(whole));
  return model;
}

Status ReadConfigFile(const std::string& path, ServerSettings* settings) {
  SY_ASSIGN_OR_RETURN(ConfigFile file, LoadConfigFile(path, settings->strict ? Warnings::kRefuse : Warnings::kLog));
  std::error_code error;
  settings->config_path = std::filesystem::absolute(path, error).string();
  settings->models = std::move(file.models);
  settings->faulty_models = std::move(file.faulty_models);
  settings->of_file = std::move(file.server);
  settings->config_text = std::move(file.text);
  const ServerConfig& server = settings->of_file;
  for (const auto& [name, plugin] : server.device_plugins) {
    const Status added = AddDevicePlugin(name, plugin, "", &settings->device_plugins);
    if (!added.ok()) return InvalidArgument("{}: /device_plugins beside --device_plugin: {}", path, Message(added));
  }
  if (server.log_level && settings->log_level_given) {
    return InvalidArgument("{}: /logging/level is there beside --log_level; say it in one place", path);
  }
  if (server.log_level) settings->log_level = *server.log_level;
  if (!server.has_monitoring) return absl::OkStatus();
  if (settings->metrics_enable) {
    return InvalidArgument("{}: /monitoring is there beside --metrics_enable; say it in one place", path);
  }
  if (server.metrics_enable && !settings->rest.enabled) {
    return InvalidArgument("{}: /monitoring/metrics/enable: metrics are served on the REST port; give --rest_port", path);
  }
  settings->metrics_enable = server.metrics_enable;
  settings->metrics_list = server.metrics_list;
  return absl::OkStatus();
}

Status ReadMetrics(const GivenFlags& flags, ServerSettings* settings) {
  settings->metrics_enable = flags.IsOn("metrics_enable");
  if (settings->metrics_enable && !settings->rest.enabled) {
    return InvalidArgument("--metrics_enable: metrics are served on the REST port; give --rest_port");
  }
  if (flags.Has("metrics_list") && !settings->metrics_enable) {
    return InvalidArgument("--metrics_list chooses among the metrics of --metrics_enable; give that flag too");
  }
  return ReadParsed(flags, "metrics_list", ParseMetricsList, &settings->metrics_list);
}

Status ReadServer(const GivenFlags& flags, ServerSettings* settings) {
  if (!flags.unserved().empty()) {
    return InvalidArgument("--{} is a flag of OVMS that this version does not serve yet; remove it to start", flags.unserved());
  }
  SY_RETURN_IF_ERROR(CheckModelSource(flags));
  SY_RETURN_IF_ERROR(ReadAddresses(flags, settings));
  SY_RETURN_IF_ERROR(ReadWorkers(flags, settings));
  SY_RETURN_IF_ERROR(ReadLimits(flags, settings));
  SY_RETURN_IF_ERROR(ReadMetrics(flags, settings));
  SY_RETURN_IF_ERROR(ReadCors(flags, &settings->cors));
  return ReadRest(flags, settings);
}

SettingsError Fault(int exit_code, const Status& status) { return {exit_code, std::string(Message(status))}; }

}  // namespace

std::variant<CommandLine, SettingsError> ParseCommandLine(int argc, const char* const* argv, const std::string& versions) {
  CommandLine line;
  line.action = CommandLine::Action::kPrintAndExit;
  if (argc <= 1) {
    line.text = HelpText();
    return line;
  }
  const auto flags = GivenFlags::Parse(argc, argv);
  if (!flags.ok()) return Fault(kExitUsage, flags.status());
  if (flags->IsOn("help")) {
    line.text = HelpText();
    return line;
  }
  if (flags->IsOn("version")) {
    line.text = fmt::format("Switchyard {}\n{}", SWITCHYARD_VERSION, versions);
    if (line.text.back() != '\n') line.text += '\n';
    return line;
  }

  line.action = CommandLine::Action::kServe;
  ServerSettings& settings = line.settings;
  const auto fault = [&flags](int exit_code, const Status& status) {
    SettingsError error = Fault(exit_code, status);
    ReadText(*flags, "ready_file", &error.ready_file);
    return error;
  };
  const Status read = ReadServer(*flags, &settings);
  if (!read.ok()) return fault(kExitUsage, read);
  if (flags->Has("config_path")) {
    const Status loaded = ReadConfigFile(flags->Get("config_path"), &settings);
    if (!loaded.ok()) return fault(kExitFailure, loaded);
    return line;
  }
  auto model = ReadModel(*flags);
  if (!model.ok()) return fault(kExitUsage, model.status());
  settings.single_model = true;
  settings.models.push_back(*std::move(model));
  return line;
}

}  // namespace switchyard
