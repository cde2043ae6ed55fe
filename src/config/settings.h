// Everything the command line and config.json say, typed. Plain values: comparable, so that a change is a difference.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "base/log.h"
#include "tensor/element_type.h"
#include "tensor/shape.h"

namespace switchyard {

// A value of plugin_config as the user wrote it. The runtime converts it to what the property takes. An object stands only
// under DEVICE_PROPERTIES: {"CPU": {"NUM_STREAMS": 2}}.
struct PropertyValue;
using PropertyMap = std::map<std::string, PropertyValue>;
struct PropertyValue {
  std::variant<bool, int64_t, double, std::string, PropertyMap> value;
  friend bool operator==(const PropertyValue&, const PropertyValue&);
};

struct VersionPolicy {
  enum class Kind { kLatest, kAll, kSpecific };
  Kind kind = Kind::kLatest;
  uint32_t latest_count = 1;      // kLatest
  std::vector<int64_t> versions;  // kSpecific, ascending
  friend bool operator==(const VersionPolicy&, const VersionPolicy&) = default;
};

// `--layout` of one input or output, upper case: "NHWC:NCHW" is {"NHWC", "NCHW"}; "NCHW" is {"", "NCHW"}, which says only where
// the batch is.
struct LayoutSetting {
  std::string tensor;  // what clients send
  std::string model;   // what the model takes
  friend bool operator==(const LayoutSetting&, const LayoutSetting&) = default;
};

// `--color_format` of one input, upper case: RGB, BGR, GRAY, NV12, NV12_2, I420 or I420_3. "RGB:BGR" is {"RGB", "BGR"}: the
// model first, the other way round than for a layout, as OVMS reads it.
struct ColorSetting {
  std::string model;   // what the model gets
  std::string tensor;  // what clients send
  friend bool operator==(const ColorSetting&, const ColorSetting&) = default;
};

// `--precision` of one input: "UINT8:FP32" is {kUint8, kFp32}; "UINT8" alone leaves the target to the model.
struct PrecisionSetting {
  ElementType tensor = ElementType::kUndefined;  // what clients send
  ElementType model = ElementType::kUndefined;   // what it is converted to, before mean and scale; undefined: the model's own
  friend bool operator==(const PrecisionSetting&, const PrecisionSetting&) = default;
};

// What each Version runs before it takes calls.
struct WarmUp {
  uint32_t requests = 1;  // inferences, on made-up inputs, or on the file's in turn
  std::string file;       // recorded requests: absolute, or empty
  friend bool operator==(const WarmUp&, const WarmUp&) = default;
};

// KServe's `priority` parameter: 1 goes first, what is beyond the levels is the last level, 0 is the standard one.
struct PriorityLevels {
  uint32_t levels = 3;
  uint32_t standard = 2;
  friend bool operator==(const PriorityLevels&, const PriorityLevels&) = default;
};

// Calls are joined along the batch dimension.
struct DynamicBatching {
  uint32_t max_batch_size = 1;  // rows
  uint32_t max_delay_us = 0;    // how long a call may be held for others to come
  PriorityLevels priority;
  friend bool operator==(const DynamicBatching&, const DynamicBatching&) = default;
};

struct ModelSettings {
  std::string name;
  std::string base_path;      // absolute; a folder of version folders, or one model file; or a cloud URL (config/cloud_url.h)
  std::string target_device;  // empty: the best one there is
  PropertyMap plugin_config;
  uint32_t nireq = 0;                            // infer requests; 0: what the device finds best
  std::optional<Dimension> batch_size;           // unset: the model's own
  std::map<std::string, PartialShape> shapes;    // by input; "" is the single input of the model
  std::map<std::string, LayoutSetting> layouts;  // by input or output; "" is the single input
  // An instance of the model is compiled for each batch size that comes, or for each shape of these inputs ("" is all of them);
  // of those the least recently used goes when there are more than auto_shape_limit beside the model's own.
  bool batch_auto = false;
  std::set<std::string> auto_shapes;
  uint32_t auto_shape_limit = 8;
  std::optional<DynamicBatching> dynamic_batching;
  // What is done to an input before the model gets it, in this order: colours, element type, mean, scale, layout. By input; ""
  // is the single input. One value, or one for each channel.
  std::map<std::string, ColorSetting> color_formats;
  std::map<std::string, PrecisionSetting> precisions;
  std::map<std::string, std::vector<float>> means;
  std::map<std::string, std::vector<float>> scales;
  VersionPolicy version_policy;
  bool allow_cache = false;
  // Where calls go, in this order, when no device of target_device serves: each a target_device without AUTO or MULTI.
  std::vector<std::string> fallback_devices;
  // Whether the next device's model is compiled ahead; unset: where there is a next device and the memory fits.
  std::optional<bool> standby;
  uint32_t device_timeout_ms =
      0;  // how long an inference may take on the device; 0: the larger of 3000 and 20 times the slowest
  // How long reading and compiling the model for one device may take; 0: for ever.
  uint32_t load_timeout_ms = 1800000;
  bool strict_placement = false;  // a device of a list that is missing or gets no layer is an error
  bool isolated_compile = false;  // a child process compiles into the cache first
  // Calls of a model that keeps state belong to sequences. Unset: when it has variables. False: each call finds a fresh state.
  std::optional<bool> stateful;
  bool low_latency_transformation = false;  // makes variables of the model's loops
  uint32_t max_sequence_number = 500;       // that run at once
  bool idle_sequence_cleanup = true;
  uint32_t sequence_idle_seconds = 0;  // without a call; 0: the server's sequence_cleaner_poll_wait_minutes
  uint32_t idle_unload_seconds = 0;    // without a call for so long, the model gives its memory back until one comes; 0: never
  WarmUp warm_up;
  // Names by which clients ask for versions, and names of the model beside its own. A change of them alone loads nothing.
  std::map<std::string, int64_t> labels;
  std::vector<std::string> aliases;
  friend bool operator==(const ModelSettings&, const ModelSettings&) = default;
};

// A model that cannot be served as its entry is written. It is listed as failed, with `reason`.
struct FaultyModel {
  std::string name;
  std::string reason;
};

// Where a listener listens. A host starting with "unix:" is a path.
struct ListenAddress {
  bool enabled = false;
  std::vector<std::string> hosts = {"0.0.0.0"};
  uint16_t port = 0;  // 0 with `enabled`: take a free one ("auto")
};

// Whose pages may call REST from a browser. What is empty is not said.
struct CorsSettings {
  std::vector<std::string> origins = {"*"};  // "*" alone, or as browsers send them
  std::string methods = "*";
  std::string headers = "*";
  bool credentials = false;
};

// Who may change what is served while the server runs.
enum class ModelControlMode {
  kPoll,      // config.json when it changes, and calls of the API
  kExplicit,  // calls of the API alone: config.json names what they may load
  kNone,      // nobody: what is served is fixed at the start
};

// What a config file says of the server itself, beside its models. Read at a start alone.
struct ServerConfig {
  std::vector<std::pair<std::string, std::string>> device_plugins;  // as in ServerSettings, with absolute paths
  bool has_monitoring = false;                                      // "monitoring" says something of metrics
  bool metrics_enable = false;
  std::vector<std::string> metrics_list;
  std::optional<LogLevel> log_level;
  friend bool operator==(const ServerConfig&, const ServerConfig&) = default;
};

struct ServerSettings {
  ListenAddress grpc;
  ListenAddress rest;
  uint32_t grpc_workers = 1;
  uint32_t rest_workers = 0;                       // 0: one per core
  uint32_t grpc_max_threads = 0;                   // without effect
  uint64_t grpc_memory_quota = uint64_t{2} << 30;  // bytes; 0: no quota
  std::vector<std::pair<std::string, std::variant<int, std::string>>> grpc_channel_arguments;
  uint64_t grpc_max_message_bytes = uint64_t{1} << 30;
  uint64_t max_body_bytes = uint64_t{1} << 30;
  uint32_t max_connections = 10000;  // REST
  uint32_t header_timeout_ms = 10000;
  uint32_t body_timeout_ms = 60000;               // without any byte arriving
  uint64_t memory_budget = 0;                     // bytes for the models; 0: no limit
  uint32_t max_queue = 1024;                      // calls waiting for one model
  uint64_t max_image_pixels = uint64_t{1} << 26;  // of one encoded picture
  uint32_t grace_seconds = 30;
  uint32_t sequence_cleaner_poll_wait_minutes = 5;  // a sequence without a call for so long has ended; 0: never
  bool ready_needs_all = false;                     // --readiness all
  bool allow_shared_memory = false;                 // clients may register regions
  bool strict = false;                              // every warning about settings is an error
  // Device plugins that OpenVINO does not ship: the device's name, and the path of its library.
  std::vector<std::pair<std::string, std::string>> device_plugins;
  uint32_t file_system_poll_wait_seconds = 1;
  uint32_t cloud_poll_wait_seconds = 30;
  std::string cloud_cache_dir;  // absolute; empty: a temporary folder
  ModelControlMode model_control = ModelControlMode::kPoll;
  std::string cache_dir;
  uint64_t cache_max_bytes = 0;  // 0: any
  std::string cpu_extension;
  std::string tokenizers_extension;  // empty: OV_TOKENIZER_PREBUILD_EXTENSION_PATH, else beside OpenVINO's libraries
  std::string ready_file;
  LogLevel log_level = LogLevel::kInfo;
  bool log_level_given = false;  // on the command line
  std::string log_path;
  LogFormat log_format = LogFormat::kText;
  std::string access_log;        // a file, or "-" for stdout; empty: off
  std::string otlp_endpoint;     // empty: no traces are sent
  double trace_sample_rate = 1;  // of requests that bring no traceparent
  // OVMS's metrics switches (--metrics_enable, --metrics_list, "monitoring").
  bool metrics_enable = false;
  std::vector<std::string> metrics_list;

  std::string config_path;    // absolute; empty without --config_path
  std::string config_text;    // as the start read it
  ServerConfig of_file;       // of config_path; what it says is in the fields above
  bool single_model = false;  // the one model of the command line: its failure ends the start
  std::vector<ModelSettings> models;
  std::vector<FaultyModel> faulty_models;
  CorsSettings cors;  // REST
};

inline bool operator==(const PropertyValue& a, const PropertyValue& b) { return a.value == b.value; }

}  // namespace switchyard
