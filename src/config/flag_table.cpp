#include "config/flags.h"

namespace switchyard {
namespace {

std::vector<FlagSpec> InputFlags() {
  return {
      {"mean", "NUMBERS", "",
       "taken from the input: a number, '[123.675,116.28,103.53]' (one for each channel; needs --layout), or a JSON object by "
       "input"},
      {"scale", "NUMBERS", "", "by which the input is divided, after the mean; as --mean"},
      {"color_format", "FORMAT", "",
       "RGB:BGR (what the model gets : what clients send) of RGB, BGR, GRAY, NV12, NV12_2, I420, I420_3; needs --layout; or a "
       "JSON object by input"},
      {"precision", "TYPE", "the model's own",
       "UINT8:FP32 (what clients send : what it is converted to, before mean and scale), UINT8, or a JSON object by input"},
      {"auto_shape_limit", "N", "8",
       "most shapes beside the model's own that auto keeps compiled, from 1 to 1000; the least recently used goes first"},
      {"dynamic_batching", "JSON", "",
       "joins calls along the batch dimension: '{\"max_batch_size\": 16, \"max_delay_us\": 2000}', also with "
       "\"priority_levels\" and \"default_priority_level\""},
  };
}

std::vector<FlagSpec> StateFlags() {
  return {
      {"stateful", "true|false", "whether it has variables",
       "calls belong to sequences, each with a state of its own; false: each call finds a fresh state", FlagSpec::Form::kYesNo},
      {"max_sequence_number", "N", "500",
       "sequences that may run at once, from 1 to 1000000; one more is answered UNAVAILABLE"},
      {"idle_sequence_cleanup", "true|false", "true", "end sequences that are idle", FlagSpec::Form::kYesNo},
      {"sequence_idle_seconds", "S", "0",
       "a sequence without a call for so long is idle; 0: as --sequence_cleaner_poll_wait_minutes says"},
      {"low_latency_transformation", "true|false", "false", "make variables of the model's loops; needs --stateful",
       FlagSpec::Form::kYesNo},
  };
}

std::vector<FlagSpec> LoadingFlags() {
  return {
      {"warmup", "JSON", "one inference on made-up inputs",
       "what each version runs before it takes calls: '{\"requests\": 3, \"file\": \"requests.json\"}'"},
      {"idle_unload_seconds", "S", "0",
       "without a call for so long, the model gives its memory back until the next one comes; 0: never"},
      {"load_timeout_ms", "MS", "1800000",
       "time for loading the model on one device, up to 86400000; 0: no limit. Then the next device is tried"},
  };
}

FlagGroup CorsFlags() {
  return {"REST for pages of browsers (CORS); an empty value: not said",
          {
              {"allowed_origins", "LIST", "*", "whose pages may call: *, or https://example.com:8443, separated by commas"},
              {"allowed_methods", "LIST", "*", "methods that they may use"},
              {"allowed_headers", "LIST", "*", "header fields that they may send"},
              {"allow_credentials", "true|false", "false", "say that cookies and the like may be sent along",
               FlagSpec::Form::kYesNo},
          }};
}

FlagGroup ChangeFlags() {
  return {
      "What is served, and how it changes",
      {
          {"memory_budget", "BYTES", "0",
           "memory for the models: 8589934592, 512MB, 8GB; what does not fit is refused, or takes the place of idle ones; 0: "
           "no limit"},
          {"file_system_poll_wait_seconds", "S", "1", "time between two looks at the config file and the models; 0: never"},
          {"cloud_poll_wait_seconds", "S", "30",
           "time between two looks at models of s3://, gs://, az:// and azfs://; 0: at the start and at reloads alone"},
          {"cloud_cache_dir", "DIR", "",
           "where models of cloud repositories are kept, to be fetched once; without it in a temporary folder that goes at the "
           "end"},
          {"model_control", "poll|explicit|none", "poll",
           "who changes what is served: config.json when it changes and the API, the API alone (nothing of config.json is "
           "loaded before it is asked for), or nobody"},
      }};
}

FlagGroup MetricsFlags() {
  return {
      "Metrics",
      {
          {"metrics_enable", "", "", "OVMS's metrics beside Switchyard's own on /metrics of the REST port; needs --rest_port"},
          {"metrics_list", "LIST", "OVMS's default ones",
           "names of OVMS's metrics, separated by commas, in place of the default ones; needs --metrics_enable"},
      }};
}

FlagGroup ConfigFileFlags() {
  return {"A config file, or a repository, without a server",
          {
              {"list_models", "", "", "print the models below --model_repository_path and exit"},
              {"add_to_config", "", "",
               "add the model of --model_name, --model_path and its flags to the file of --config_path and exit"},
              {"remove_from_config", "", "", "remove the model of --model_name from the file of --config_path and exit"},
              {"model_repository_path", "DIR", "OVMS_MODEL_REPOSITORY_PATH of the environment",
               "a folder of models: where --list_models looks, where --add_to_config finds the model without --model_path, and "
               "whose config.json is changed without --config_path"},
          }};
}

std::vector<FlagSpec> LogFlags() {
  return {
      {"log_level", "LEVEL", "INFO", "TRACE, DEBUG, INFO, WARNING or ERROR"},
      {"log_path", "FILE", "", "a file for the log beside stdout"},
      {"log_format", "FORMAT", "text", "text, or json: one object a line"},
      {"access_log", "FILE", "", "a file for one line of JSON for each inference request; -: stdout"},
      {"otlp_endpoint", "URL", "",
       "an OpenTelemetry collector that takes OTLP over HTTP, such as http://localhost:4318: traces are sent to it"},
      {"trace_sample_rate", "RATE", "1",
       "the share, from 0 to 1, of the requests without a traceparent that are traced; needs --otlp_endpoint"},
  };
}

}  // namespace

const std::vector<CommandSpec>& Commands() {
  static const auto* const commands = new std::vector<CommandSpec>{
      {"infer", "--url HOST:PORT --protocol NAME --model NAME ...", "call a server: switchyard infer --help"},
      {"devices", "[--json]", "what devices are there, and why not"},
      {"plan", "--model_path PATH [--target_device T] [--json]", "where a model would run, and why"},
      {"check", "CONFIG [--strict] [--json]", "what a start would find wrong"},
      {"tune", "--model_path PATH [--target_device T] ...", "best settings: switchyard tune --help"},
      {"convert", "--input MODEL --output DIR ...", "make IR: switchyard convert --help"},
      {"pull", "NAME --repository DIR", "fetch a model: switchyard pull --help"},
  };
  return *commands;
}

const std::vector<FlagGroup>& FlagGroups() {
  static const auto* const groups = new std::vector<FlagGroup>{
      {"General",
       {
           {"help", "", "", "show this text and exit"},
           {"version", "", "", "show the versions and exit"},
       }},
      {"Models",
       {
           {"model_name", "NAME", "", "the name under which clients call the model of --model_path"},
           {"model_path", "PATH", "", "a folder of version folders (1/, 2/, ...), or one model file, which is version 1"},
           {"config_path", "FILE", "", "a config.json with a model_config_list, in place of the flags of one model"},
       }},
      {"The one model of --model_path",
       {
           {"target_device", "DEVICE", "the best there is",
            "CPU, GPU, GPU.1, NPU, AUTO, AUTO:GPU,CPU, HETERO:GPU,CPU, BATCH:CPU(16); the best there is: a discrete GPU, else "
            "an integrated one, else the CPU"},
           {"plugin_config", "JSON", "", "properties of the device, such as '{\"PERFORMANCE_HINT\": \"THROUGHPUT\"}'"},
           {"fallback_devices", "LIST", "",
            "where calls go when no device of --target_device serves, in this order: NPU,CPU; entries that have commas "
            "themselves are separated by semicolons: 'HETERO:GPU,CPU;CPU'"},
           {"standby", "true|false", "where there is a next device and memory for it",
            "compile the model for the next device ahead", FlagSpec::Form::kYesNo},
           {"device_timeout_ms", "MS", "0",
            "time for an inference on the device, from 10 to 3600000; 0: the larger of 3000 and 20 times the slowest of the "
            "recent ones"},
           {"strict_placement", "true|false", "false", "refuse the model when a device of its list is missing or gets no layer",
            FlagSpec::Form::kYesNo},
           {"isolated_compile", "true|false", "false",
            "compile in a child process first, whose crash is an error of the model alone", FlagSpec::Form::kYesNo},
           {"nireq", "N", "0", "infer requests that run at once; 0: what the device finds best"},
           {"batch_size", "SIZE", "the model's own",
            "a number, -1 for any, a range 1:8, or auto (compiled anew for each size that comes); not used when --shape is "
            "given"},
           {"shape", "SHAPE", "the model's own",
            "'(1,3,224,224)', with -1 for any and 1:8 for a range; auto (compiled anew for each shape that comes); or a "
            "JSON object of these by input"},
           {"layout", "LAYOUT", "the model's own",
            "NHWC:NCHW (what clients send : what the model takes), NCHW, or a JSON object of layouts by input or output"},
           {"model_version_policy", "JSON", "the latest version",
            "'{\"all\": {}}', '{\"latest\": {\"num_versions\": 2}}' or '{\"specific\": {\"versions\": [1, 3]}}'"},
       }},
      {"What is done to its inputs", InputFlags()},
      {"Its state, when it keeps one between calls", StateFlags()},
      {"When it is loaded", LoadingFlags()},
      {"gRPC",
       {
           {"port", "PORT", "0", "TCP port; 0: off; auto: a free one"},
           {"grpc_bind_address", "LIST", "0.0.0.0", "addresses, host names or unix:/path, separated by commas"},
           {"grpc_workers", "N", "1", "listening servers, from 1 to the number of cores"},
           {"grpc_max_threads", "N", "0", "taken for OVMS's sake: gRPC has no threads of its own here"},
           {"grpc_memory_quota", "BYTES", "2147483648", "most memory of gRPC's buffers; 0: no quota"},
           {"grpc_channel_arguments", "LIST", "", "arguments of gRPC: name=value,name=value"},
           {"grpc_max_message_bytes", "BYTES", "1073741824", "the largest message that is taken"},
       }},
      {"REST",
       {
           {"rest_port", "PORT", "0", "TCP port; 0: off; auto: a free one"},
           {"rest_bind_address", "LIST", "0.0.0.0", "addresses, host names or unix:/path, separated by commas"},
           {"rest_workers", "N", "one per core", "threads, up to 10000; fewer than 2 are 2, as with OVMS; needs --rest_port"},
           {"max_body_bytes", "BYTES", "1073741824", "the largest body that is taken, also when it unpacks"},
           {"max_connections", "N", "10000", "most connections at once"},
           {"header_timeout_ms", "MS", "10000", "time for the header of a request to arrive"},
           {"body_timeout_ms", "MS", "60000", "time without any byte of a body arriving"},
       }},
      CorsFlags(),
      {"Serving",
       {
           {"max_queue", "N", "1024", "calls that may wait for one model; one more is answered RESOURCE_EXHAUSTED, 429"},
           {"max_image_pixels", "N", "67108864",
            "the largest JPEG or PNG that is decoded for an input, width times height; read in its header"},
           {"sequence_cleaner_poll_wait_minutes", "MIN", "5",
            "a sequence of a model with state that has had no call for so long is ended; 0: never"},
           {"grace_seconds", "S", "30",
            "time for the calls in flight to finish when the server is told to stop (SIGTERM, SIGINT); a SIGINT after that "
            "ends it at once, a SIGTERM does nothing more"},
           {"readiness", "any|all", "any", "ready when any of the models serves, or only when all of them do"},
           {"ready_file", "FILE", "",
            "written once the server is ready, removed when it stops, and before a start: {\"grpc\": \"host:port\", \"rest\": "
            "\"host:port\", \"pid\": n}"},
           {"cache_dir", "DIR", "", "where compiled models are kept for the next start"},
           {"cache_max_bytes", "BYTES", "0", "most bytes of compiled models; what was used longest ago goes; 0: any"},
           {"allow_shared_memory", "true|false", "false",
            "clients on this host may name objects of POSIX shared memory, which tensors are then read from and written to",
            FlagSpec::Form::kYesNo},
           {"device_plugin", "NAME=PATH", "", "a device plugin that OpenVINO does not ship; may be given several times",
            FlagSpec::Form::kRepeated},
           {"strict", "true|false", "false", "every warning about settings is an error", FlagSpec::Form::kYesNo},
           {"cpu_extension", "FILE", "", "a library of own operations for the CPU"},
           {"tokenizers_extension", "FILE", "$OV_TOKENIZER_PREBUILD_EXTENSION_PATH, else beside OpenVINO's libraries",
            "libopenvino_tokenizers.so, the operations of models that take or give texts; loaded when it is there"},
       }},
      ChangeFlags(),
      MetricsFlags(),
      ConfigFileFlags(),
      {"Logs", LogFlags()},
  };
  return *groups;
}

const std::vector<std::string_view>& UnservedFlags() {
  static const auto* const names = new std::vector<std::string_view>{
      // Serving.
      "verbose_response",
      "trace_path",
      "custom_node_resources_cleaner_interval_seconds",
      "allowed_media_domains",
      "allowed_local_media_path",
      "api_key_file",
      // Pulling and preparing.
      "pull",
      "source_model",
      "overwrite_models",
      "configure",
      "task",
      "gguf_filename",
      "weight-format",
      "extra_quantization_params",
      "source_loras",
      // Generative tasks.
      "max_num_seqs",
      "pipeline_type",
      "enable_prefix_caching",
      "max_num_batched_tokens",
      "cache_size",
      "draft_source_model",
      "dynamic_split_fuse",
      "reasoning_parser",
      "tool_parser",
      "enable_tool_guided_generation",
      "cache_interval_multiplier",
      "max_prompt_len",
      "kv_cache_precision",
      "model_distribution_policy",
      "num_streams",
      "normalize",
      "truncate",
      "pooling",
      "max_allowed_chunks",
      "resolution",
      "max_resolution",
      "default_resolution",
      "num_images_per_prompt",
      "guidance_scale",
      "max_num_images_per_prompt",
      "default_num_inference_steps",
      "max_num_inference_steps",
      "model_type",
      "vocoder",
  };
  return *names;
}

}  // namespace switchyard
