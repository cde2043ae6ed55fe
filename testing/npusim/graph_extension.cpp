#include "testing/npusim/graph_extension.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "testing/npusim/execution.h"
#include "testing/npusim/graph.h"
#include "testing/npusim/level_zero.h"
#include "testing/npusim/memory.h"
#include "testing/npusim/settings.h"

namespace npusim {
namespace {

constexpr uint32_t kFormatNative = 1, kFormatIr = 2;
constexpr uint32_t kInput = 0, kOutput = 1;
constexpr char kOptions[] =
    "PERFORMANCE_HINT NPU_COMPILATION_MODE_PARAMS NPU_TILES NPU_MAX_TILES NPU_PLATFORM NPU_DMA_ENGINES "
    "NPU_DYNAMIC_SHAPE_TO_STATIC EXECUTION_MODE_HINT COMPILATION_NUM_THREADS PERF_COUNT INFERENCE_PRECISION_HINT "
    "NPU_BATCH_MODE NPU_TURBO MODEL_PRIORITY LOG_LEVEL DEVICE_ID NPU_QDQ_OPTIMIZATION ENABLE_CPU_PINNING ";

thread_local std::string last_error;

uint32_t ExtensionVersion() { return VersionSetting("NPUSIM_GRAPH_EXT", 1, 8); }

// The two calls by which text is fetched: the size with its end for no buffer, then the text, cut to the buffer.
template <class Size>
uint32_t CopyText(const std::string& text, Size* size, char* to) {
  if (to) snprintf(to, *size, "%s", text.c_str());
  *size = static_cast<Size>(text.size() + 1);
  return kSuccess;
}

const Argument* FindArgument(Handle graph, uint32_t index) {
  const auto& arguments = FromHandle<Graph>(graph)->arguments();
  return index < arguments.size() ? &arguments[index] : nullptr;
}

void CopyTensorNames(const Argument& argument, char (&names)[32][256], uint32_t* count) {
  *count = static_cast<uint32_t>(std::min<size_t>(argument.tensor_names.size(), 32));
  for (uint32_t i = 0; i < *count; ++i) CopyName(names[i], argument.tensor_names[i]);
}

// A loader with more than one driver wraps handles, but hands the functions of extensions out untouched: these get wrapped
// handles, and have to ask the loader back.
enum class LoaderType : int { kCommandList = 4, kEvent = 7 };
Handle Unwrap(LoaderType type, Handle handle) {
  using Translate = uint32_t (*)(int, Handle, Handle*);
  static const auto translate = [] {
    void* function = dlsym(RTLD_DEFAULT, "zelLoaderTranslateHandle");
    void* loader = function ? nullptr : dlopen("libze_loader.so.1", RTLD_NOW | RTLD_NOLOAD);
    if (loader) function = dlsym(loader, "zelLoaderTranslateHandle");
    return reinterpret_cast<Translate>(function);
  }();
  Handle inner = handle;
  if (!handle || !translate || translate(static_cast<int>(type), handle, &inner) != kSuccess) return handle;
  return inner;
}

// ---- graphs

uint32_t Create(Handle, Handle, const GraphDescription* description, Handle* created) {
  if (!description || !created || !description->input) return kInvalidNullPointer;
  Trace("graph: format %u, %zu bytes, flags %s", description->format, description->input_size,
        description->build_flags ? description->build_flags : "-");
  last_error.clear();
  // A driver without its compiler library.
  if (description->format == kFormatIr && Faults().Strikes("compiler")) return kUnsupportedFeature;
  const std::string_view text(reinterpret_cast<const char*>(description->input), description->input_size);
  if (description->format == kFormatIr && text.find("type=\"Add\"") != text.npos) {
    switchyard::testing::Break(Faults(), "compile");
  }
  if (Faults().Strikes("create")) {
    last_error = "npusim: compilation failed on request";
    return kBuildFailure;
  }
  Result result = kSuccess;
  auto graph =
      Graph::Create(description->input, description->input_size, description->format == kFormatNative, &result, &last_error);
  if (graph) {
    *created = MakeHandle(std::move(graph));
  } else {
    Trace("%s", last_error.c_str());
  }
  return result;
}
uint32_t Create2(Handle context, Handle device, const GraphDescription2* description, Handle* graph) {
  return Create(context, device, description, graph);
}
uint32_t Create3(Handle context, Handle device, const GraphDescription2* description, Handle* graph, Handle* log) {
  uint32_t result = Create(context, device, description, graph);
  if (log) *log = new std::string(last_error);
  return result;
}
uint32_t Destroy(Handle graph) {
  DropHandle<Graph>(graph);
  return kSuccess;
}
uint32_t Initialize(Handle) { return kSuccess; }
uint32_t Evict(Handle) { return kSuccess; }

uint32_t GetProperties(Handle graph, GraphProperties* properties) {
  properties->arguments = static_cast<uint32_t>(FromHandle<Graph>(graph)->arguments().size());
  return kSuccess;
}
uint32_t GetProperties2(Handle graph, GraphProperties2* properties) {
  properties->init_stage = 2;  // when it is initialised by the driver
  return GetProperties(graph, properties);
}
uint32_t GetProperties3(Handle graph, GraphProperties3* properties) {
  properties->flags = 2;
  return GetProperties2(graph, properties);
}

// ---- arguments

uint32_t GetArgument(Handle graph, uint32_t index, ArgumentProperties* properties) {
  constexpr uint32_t kLayouts[] = {0x00, 0x60, 0xC1, 0x80, 0x01, 0x03};  // by rank
  const Argument* argument = FindArgument(graph, index);
  if (!argument) return kInvalidArgument;
  size_t rank = argument->dimensions.size();
  CopyName(properties->name, argument->name);
  properties->type = argument->is_input ? kInput : kOutput;
  for (size_t i = 0; i < 5; ++i) {
    properties->dimensions[i] = i < rank ? static_cast<uint32_t>(argument->dimensions[i]) : 1;
  }
  properties->network_precision = properties->device_precision = argument->precision->graph_code;
  properties->network_layout = properties->device_layout = kLayouts[rank];
  return kSuccess;
}
uint32_t GetArgument2(Handle graph, uint32_t index, ArgumentProperties2* properties) {
  properties->scale = 1;
  properties->zero_point = 0;
  return GetArgument(graph, index, properties);
}
uint32_t GetArgument3(Handle graph, uint32_t index, ArgumentProperties3* properties) {
  uint32_t result = GetArgument2(graph, index, properties);
  if (result != kSuccess) return result;
  const Argument& argument = *FindArgument(graph, index);
  properties->dimension_count = static_cast<uint32_t>(argument.dimensions.size());
  CopyName(properties->friendly_name, argument.name);
  CopyTensorNames(argument, properties->tensor_names, &properties->tensor_name_count);
  return kSuccess;
}
uint32_t GetMetadata(Handle graph, uint32_t index, ArgumentMetadata* metadata) {
  const Argument* argument = FindArgument(graph, index);
  if (!argument) return kInvalidArgument;
  metadata->type = argument->is_input ? kInput : kOutput;
  CopyName(metadata->friendly_name, argument->name);
  CopyName(metadata->input_name, argument->name);
  metadata->data_type = argument->precision->metadata_code;
  metadata->rank = static_cast<uint32_t>(argument->dimensions.size());
  for (size_t i = 0; i < argument->dimensions.size(); ++i) metadata->shape[i] = static_cast<uint64_t>(argument->dimensions[i]);
  CopyTensorNames(*argument, metadata->tensor_names, &metadata->tensor_name_count);
  return kSuccess;
}
uint32_t SetArgument(Handle graph, uint32_t index, const void* value) {
  if (!FindArgument(graph, index)) return kInvalidArgument;
  FromHandle<Graph>(graph)->SetValue(index, value);
  return kSuccess;
}

// ---- command lists

uint32_t Append(Handle list, Operation operation, Handle signal, uint32_t count, Handle* waits) {
  for (uint32_t i = 0; i < count; ++i) {
    operation.waits.push_back(FromHandle<Signal>(Unwrap(LoaderType::kEvent, waits[i])));
  }
  operation.signal = FromHandle<Signal>(Unwrap(LoaderType::kEvent, signal));
  return FromHandle<List>(Unwrap(LoaderType::kCommandList, list))->Append(std::move(operation));
}
uint32_t AppendInitialize(Handle list, Handle, Handle signal, uint32_t count, Handle* waits) {
  return Append(list, Operation{}, signal, count, waits);
}
uint32_t AppendExecute(Handle list, Handle graph, Handle, Handle signal, uint32_t count, Handle* waits) {
  Operation operation;
  operation.kind = Operation::Kind::kExecute;
  operation.graph = FromHandle<Graph>(graph);
  operation.values = operation.graph->values();
  return Append(list, std::move(operation), signal, count, waits);
}

// ---- blobs

uint32_t GetBlob(Handle graph, size_t* size, uint8_t* to) {
  auto held = FromHandle<Graph>(graph);
  const auto& blob = held->blob();
  if (to) memcpy(to, blob.data(), std::min(*size, blob.size()));
  *size = blob.size();
  return kSuccess;
}
uint32_t GetBlob2(Handle graph, size_t* size, const uint8_t** to) {
  auto held = FromHandle<Graph>(graph);
  *size = held->blob().size();
  *to = held->blob().data();
  return kSuccess;
}

// ---- the device and its compiler

uint32_t GetDevice(Handle, DeviceGraphProperties* properties) {
  bool compiles = !Faults().Stands("compiler");
  uint32_t compiler = compiles ? VersionSetting("NPUSIM_COMPILER", 7, 26) : 0;
  properties->extension_version = ExtensionVersion();
  properties->compiler_major = static_cast<uint16_t>(compiler >> 16);
  properties->compiler_minor = static_cast<uint16_t>(compiler & 0xffff);
  properties->formats = compiles ? kFormatNative | kFormatIr : kFormatNative;
  properties->opset = compiles ? 16 : 0;
  return kSuccess;
}
uint32_t GetDevice2(Handle device, DeviceGraphProperties2* properties) {
  properties->elf = {1, 2, 0};
  properties->runtime = {1, 0, 0};
  return GetDevice(device, properties);
}

// A query is the text of its answer.
uint32_t CreateQuery(Handle, Handle, const GraphDescription* description, std::string** query) {
  std::string xml;
  std::vector<uint8_t> weights;
  Ir ir;
  if (!UnpackContainer(description->input, description->input_size, &xml, &weights) || !ParseIr(xml, &ir)) {
    last_error = "npusim: the model of a query could not be read";
    return kInvalidArgument;
  }
  std::string unsupported = "," + Setting("NPUSIM_UNSUPPORTED_OPS", "") + ",";
  auto layers = std::make_unique<std::string>();
  for (const Layer& layer : ir.layers) {
    if (unsupported.find("," + layer.type + ",") == unsupported.npos) *layers += "<" + layer.name + ">";
  }
  *query = layers.release();
  return kSuccess;
}
uint32_t CreateQuery2(Handle context, Handle device, const GraphDescription2* description, std::string** query) {
  return CreateQuery(context, device, description, query);
}
uint32_t DestroyQuery(std::string* query) {
  delete query;
  return kSuccess;
}
uint32_t GetLayers(std::string* query, size_t* size, char* to) { return CopyText(*query, size, to); }

uint32_t GetLog(Handle, uint32_t* size, char* to) { return CopyText(last_error, size, to); }
uint32_t GetLog2(std::string* log, uint32_t* size, char* to) { return CopyText(*log, size, to); }
uint32_t DestroyLog(std::string* log) {
  delete log;
  return kSuccess;
}

uint32_t GetContextMemory(Handle, uint32_t, ContextMemory* memory) {
  memory->total = kTotalMemory;
  memory->allocated = AllocatedBytes();
  return kSuccess;
}

constexpr uint32_t kCompilerOptions = 1;
std::string Options(uint32_t type) { return type == kCompilerOptions ? Setting("NPUSIM_OPTIONS", kOptions) : ""; }
uint32_t GetOptions(Handle, uint32_t type, size_t* size, char* to) { return CopyText(Options(type), size, to); }
uint32_t IsOption(Handle, uint32_t type, const char* option, const char*) {
  if (!option || (" " + Options(type) + " ").find(std::string(" ") + option + " ") == std::string::npos) {
    return kUnsupportedFeature;
  }
  return kSuccess;
}

uint32_t SetWorkloadType(Handle, uint32_t) { return kSuccess; }
uint32_t NoProfiling() { return kUnsupportedFeature; }

}  // namespace

std::vector<Extension> Extensions() {
  // The versions that brought the entries; an older one has the entries before.
  static void* graph[] = {
      Entry(Create),         Entry(Destroy),          Entry(GetProperties),    Entry(GetArgument),
      Entry(SetArgument),    Entry(AppendInitialize), Entry(AppendExecute),    Entry(GetBlob),
      Entry(GetDevice),                                                                            // 1.0
      Entry(GetMetadata),    Entry(GetArgument2),                                                  // 1.1
      Entry(GetArgument3),                                                                         // 1.2
      Entry(CreateQuery),    Entry(DestroyQuery),     Entry(GetLayers),                            // 1.3
      Entry(GetLog),                                                                               // 1.4
      Entry(Create2),        Entry(CreateQuery2),     Entry(GetContextMemory),                     // 1.5
      Entry(GetDevice2),                                                                           // 1.6
      Entry(GetBlob2),                                                                             // 1.7
      Entry(GetProperties2), Entry(Initialize),                                                    // 1.8
      Entry(GetOptions),     Entry(IsOption),                                                      // 1.11
      Entry(Create3),        Entry(GetProperties3),   Entry(GetLog2),          Entry(DestroyLog),  // 1.12
      Entry(SetArgument),                                                                          // 1.15
      Entry(Evict),                                                                                // 1.16
  };
  static void* queue[] = {Entry(SetWorkloadType)};
  static void* profiling[] = {Entry(NoProfiling), Entry(NoProfiling), Entry(NoProfiling), Entry(NoProfiling),
                              Entry(NoProfiling), Entry(NoProfiling), Entry(NoProfiling)};
  std::vector<Extension> extensions = {{"ZE_extension_graph", ExtensionVersion(), graph},
                                       {"ZE_extension_command_queue_npu", MakeVersion(1, 0), queue},
                                       {"ZE_extension_profiling_data", MakeVersion(1, 0), profiling}};
  if (Setting("NPUSIM_MUTABLE", "1") == "1") {
    extensions.push_back({"ZE_experimental_mutable_command_list", MakeVersion(1, 0), nullptr});
  }
  return extensions;
}

}  // namespace npusim
