// What of Level Zero's interface, and of the NPU's extensions to it, the simulated driver answers to: codes, and the layout of
// the structures that callers hand over. Facts of the public headers, restated, so that none is needed to build.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <string>

// The interface fixes these names.
#define NPUSIM_API extern "C" __attribute__((visibility("default"))) uint32_t

namespace npusim {

using Handle = void*;  // to callers, every object of the driver is opaque

enum Result : uint32_t {
  kSuccess = 0,
  kNotReady = 1,
  kDeviceLost = 0x70000001,
  kOutOfHostMemory = 0x70000002,
  kBuildFailure = 0x70000004,
  kUninitialized = 0x78000001,
  kUnsupportedFeature = 0x78000003,
  kInvalidArgument = 0x78000004,
  kInvalidNullPointer = 0x78000007,
  kInvalidNativeBinary = 0x7800000f,
  kUnknown = 0x7ffffffe,
};

constexpr uint32_t MakeVersion(uint32_t major, uint32_t minor) { return major << 16 | minor; }

struct Head {
  uint32_t type_of_structure;
  void* next;
};

struct DriverProperties : Head {
  uint8_t uuid[16];
  uint32_t driver_version;
};
struct ExtensionProperties {
  char name[256];
  uint32_t version;
};
struct DeviceProperties : Head {
  uint32_t type, vendor_id, device_id, flags, subdevice_id, core_clock_rate;
  uint64_t max_allocation;
  uint32_t max_contexts, max_queue_priority, threads_per_unit, simd_width, units_per_subslice, subslices_per_slice, slices;
  uint64_t timer_resolution;
  uint32_t timestamp_bits, kernel_timestamp_bits;
  uint8_t uuid[16];
  char name[256];
};
struct QueueGroupProperties : Head {
  uint32_t flags;
  size_t max_fill_pattern;
  uint32_t queues;
};
struct ExternalMemoryProperties : Head {
  uint32_t memory_import, memory_export, image_import, image_export;
};
struct PciProperties : Head {
  uint32_t domain, bus, device, function;
  int32_t generation, width;
  int64_t bandwidth;
};
struct AllocationProperties : Head {
  uint32_t type;
  uint64_t id, page_size;
};
struct LoaderVersion {
  char component[64];
  uint32_t spec_version;
  int32_t major, minor, patch;
};
struct MutableGraphArgument : Head {
  uint64_t command_id;
  uint32_t index;
  const void* value;
};

// The graph extension's.
struct Version3 {
  uint32_t major, minor, patch;
};
struct DeviceGraphProperties : Head {
  uint32_t extension_version;
  uint16_t compiler_major, compiler_minor;
  uint32_t formats, opset;
};
struct DeviceGraphProperties2 : DeviceGraphProperties {
  Version3 elf, runtime;
};
struct GraphDescription : Head {
  uint32_t format;
  size_t input_size;
  const uint8_t* input;
  const char* build_flags;
};
struct GraphDescription2 : GraphDescription {
  uint32_t flags;
};
struct GraphProperties : Head {
  uint32_t arguments;
};
struct GraphProperties2 : GraphProperties {
  uint32_t init_stage;
};
struct GraphProperties3 : GraphProperties2 {
  uint32_t flags;
};
struct ArgumentProperties : Head {
  char name[256];
  uint32_t type;
  uint32_t dimensions[5];
  uint32_t network_precision, network_layout, device_precision, device_layout;
};
struct ArgumentProperties2 : ArgumentProperties {
  float scale;
  uint8_t zero_point;
};
struct ArgumentProperties3 : ArgumentProperties2 {
  uint32_t dimension_count;
  char friendly_name[256];
  char tensor_names[32][256];
  uint32_t tensor_name_count;
};
struct ArgumentMetadata : Head {
  uint32_t type;
  char friendly_name[256];
  uint32_t data_type;
  uint64_t shape[8];
  uint32_t rank;
  char tensor_names[32][256];
  uint32_t tensor_name_count;
  char input_name[256];
};
struct ContextMemory {
  uint64_t total, allocated;
};

// A base class whose padding at the end is used again would shift what is derived from it; a C compiler lays it out like this.
static_assert(sizeof(GraphDescription2) == 56 && offsetof(GraphDescription2, flags) == 48);
static_assert(offsetof(GraphProperties2, init_stage) == 20 && offsetof(GraphProperties3, flags) == 24);
static_assert(offsetof(ArgumentProperties3, dimension_count) == offsetof(ArgumentProperties3, zero_point) + 4);
static_assert(offsetof(DeviceGraphProperties2, elf) == 32);

inline void CopyName(char (&to)[256], const std::string& from) { snprintf(to, sizeof to, "%s", from.c_str()); }

// A function as an entry of one of the interface's tables.
template <class R, class... A>
void* Entry(R (*function)(A...)) {
  return reinterpret_cast<void*>(function);
}

// A loader hands the driver its own table and tells its version; entries are by position, and only those its version has.
struct TableEntry {
  int position;
  void* function;
  uint32_t since = 0;
};
inline uint32_t FillTable(uint32_t version, void* table, std::initializer_list<TableEntry> entries) {
  if (!table) return kInvalidNullPointer;
  for (const TableEntry& entry : entries) {
    if (version >= entry.since) static_cast<void**>(table)[entry.position] = entry.function;
  }
  return kSuccess;
}

}  // namespace npusim
