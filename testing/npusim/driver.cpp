// Level Zero's entry points for drivers, devices and contexts.
#include "testing/npusim/driver.h"

#include <cstring>

#include "testing/npusim/graph_extension.h"
#include "testing/npusim/level_zero.h"
#include "testing/npusim/settings.h"

namespace npusim {

int driver, device, context;

namespace {

constexpr uint8_t kDriverUuid[16] = {0x01, 0x7d, 0xe9, 0x31, 0x6b, 0x4d, 0x4f, 0xd4,
                                     0xaa, 0x9b, 0x5b, 0xed, 0x77, 0xfc, 0x8e, 0x89};  // an NPU's, for OpenVINO
constexpr uint8_t kDeviceUuid[16] = {0x80, 0xd1, 0xd1, 0x1e, 0xb7, 0x38, 0x11, 0xea,
                                     0xb3, 0xde, 0x02, 0x42, 0xac, 0x13, 0x00, 0x04};

}  // namespace
}  // namespace npusim

using namespace npusim;  // NOLINT: what follows has C's names

NPUSIM_API zeInit(uint32_t) {
  Trace("zeInit");
  switchyard::testing::Break(Faults(), "list");
  return Faults().Strikes("init") ? kUninitialized : kSuccess;
}

NPUSIM_API zeInitDrivers(uint32_t* count, Handle* drivers, void*) {
  Trace("zeInitDrivers");
  switchyard::testing::Break(Faults(), "list");
  if (Faults().Strikes("init")) return kUninitialized;
  if (drivers && *count > 0) drivers[0] = &driver;
  *count = 1;
  return kSuccess;
}

NPUSIM_API zeDriverGet(uint32_t* count, Handle* drivers) { return zeInitDrivers(count, drivers, nullptr); }

NPUSIM_API zeDriverGetApiVersion(Handle, uint32_t* version) {
  *version = MakeVersion(1, 9);
  return kSuccess;
}

NPUSIM_API zeDriverGetProperties(Handle, DriverProperties* properties) {
  memcpy(properties->uuid, kDriverUuid, sizeof kDriverUuid);
  properties->driver_version = NumberSetting("NPUSIM_DRIVER_VERSION", "1770000000");
  return kSuccess;
}

NPUSIM_API zeDriverGetExtensionProperties(Handle, uint32_t* count, ExtensionProperties* properties) {
  auto extensions = Extensions();
  for (uint32_t i = 0; properties && i < *count && i < extensions.size(); ++i) {
    CopyName(properties[i].name, extensions[i].name);
    properties[i].version = extensions[i].version;
  }
  *count = static_cast<uint32_t>(extensions.size());
  return kSuccess;
}

NPUSIM_API zeDriverGetExtensionFunctionAddress(Handle, const char* name, void** address) {
  Trace("extension %s is asked for", name);
  for (const Extension& extension : Extensions()) {
    if (extension.table && strcmp(extension.name, name) == 0) {
      *address = extension.table;
      return kSuccess;
    }
  }
  return kInvalidArgument;
}

NPUSIM_API zeDeviceGet(Handle, uint32_t* count, Handle* devices) {
  if (devices && *count > 0) devices[0] = &device;
  *count = 1;
  return kSuccess;
}

NPUSIM_API zeDeviceGetSubDevices(Handle, uint32_t* count, Handle*) {
  *count = 0;
  return kSuccess;
}

NPUSIM_API zeDeviceGetProperties(Handle, DeviceProperties* properties) {
  constexpr uint32_t kNpu = 5, kIntegrated = 1, kIntel = 0x8086;
  properties->type = kNpu;
  properties->vendor_id = kIntel;
  properties->device_id = NumberSetting("NPUSIM_DEVICE_ID", "0x643E");
  properties->flags = kIntegrated;
  properties->subdevice_id = 0;
  properties->core_clock_rate = 1400;
  properties->max_allocation = 2ull << 30;
  properties->max_contexts = 16;
  properties->max_queue_priority = 2;
  properties->threads_per_unit = 1;
  properties->simd_width = 4096;
  properties->units_per_subslice = 1;
  properties->subslices_per_slice = 1;
  properties->slices = 6;
  properties->timer_resolution = 1;
  properties->timestamp_bits = properties->kernel_timestamp_bits = 64;
  memcpy(properties->uuid, kDeviceUuid, sizeof kDeviceUuid);
  CopyName(properties->name, Setting("NPUSIM_NAME", "Software NPU (npusim)"));
  return kSuccess;
}

NPUSIM_API zeDeviceGetCommandQueueGroupProperties(Handle, uint32_t* count, QueueGroupProperties* properties) {
  if (properties && *count > 0) {
    properties->flags = 1;
    properties->max_fill_pattern = 0;
    properties->queues = 1;
  }
  *count = 1;
  return kSuccess;
}

NPUSIM_API zeDeviceGetExternalMemoryProperties(Handle, ExternalMemoryProperties* properties) {
  properties->memory_import = properties->memory_export = properties->image_import = properties->image_export = 0;
  return kSuccess;
}

NPUSIM_API zeDevicePciGetPropertiesExt(Handle, PciProperties* properties) {
  properties->domain = properties->bus = properties->function = 0;
  properties->device = 0xb;
  properties->generation = properties->width = -1;
  properties->bandwidth = -1;
  return kSuccess;
}

NPUSIM_API zeDeviceGetStatus(Handle) { return kSuccess; }

NPUSIM_API zeContextCreate(Handle, void*, Handle* created) {
  *created = &context;
  return kSuccess;
}

NPUSIM_API zeContextDestroy(Handle) { return kSuccess; }

NPUSIM_API zeGetGlobalProcAddrTable(uint32_t version, void* table) {
  Trace("a loader asks for version %u.%u", version >> 16, version & 0xffff);
  return FillTable(version, table, {{0, Entry(zeInit)}, {1, Entry(zeInitDrivers), MakeVersion(1, 10)}});
}

NPUSIM_API zeGetDriverProcAddrTable(uint32_t version, void* table) {
  return FillTable(version, table,
                   {{0, Entry(zeDriverGet)},
                    {1, Entry(zeDriverGetApiVersion)},
                    {2, Entry(zeDriverGetProperties)},
                    {4, Entry(zeDriverGetExtensionProperties)},
                    {5, Entry(zeDriverGetExtensionFunctionAddress)}});
}

NPUSIM_API zeGetDeviceProcAddrTable(uint32_t version, void* table) {
  return FillTable(version, table,
                   {{0, Entry(zeDeviceGet)},
                    {1, Entry(zeDeviceGetSubDevices)},
                    {2, Entry(zeDeviceGetProperties)},
                    {5, Entry(zeDeviceGetCommandQueueGroupProperties)},
                    {10, Entry(zeDeviceGetExternalMemoryProperties)},
                    {13, Entry(zeDeviceGetStatus)},
                    {17, Entry(zeDevicePciGetPropertiesExt), MakeVersion(1, 3)}});
}

NPUSIM_API zeGetContextProcAddrTable(uint32_t version, void* table) {
  return FillTable(version, table, {{0, Entry(zeContextCreate)}, {1, Entry(zeContextDestroy)}});
}
