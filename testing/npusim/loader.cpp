// What a loader has and a driver has not, and what the plugin or a loader resolves without ever calling it for an inference.
#include <cstdio>
#include <cstring>

#include "testing/npusim/level_zero.h"
#include "testing/npusim/settings.h"

using namespace npusim;  // NOLINT: what follows has C's names

NPUSIM_API zelGetLoaderVersion(LoaderVersion* version) {
  memset(version, 0, sizeof *version);
  snprintf(version->component, sizeof version->component, "loader");
  version->spec_version = MakeVersion(1, 13);
  version->major = 1;
  version->minor = 24;
  return kSuccess;
}

NPUSIM_API zelLoaderGetVersions(size_t* count, LoaderVersion* versions) {
  if (versions && *count > 0) zelGetLoaderVersion(versions);
  *count = 1;
  return kSuccess;
}

NPUSIM_API zelSetDriverTeardown() { return kSuccess; }

#define NPUSIM_UNSUPPORTED(name)  \
  NPUSIM_API name() {             \
    Trace(#name " is not there"); \
    return kUnsupportedFeature;   \
  }
#define NPUSIM_EMPTY_TABLE(name) \
  NPUSIM_API name(uint32_t version, void* table) { return FillTable(version, table, {}); }

NPUSIM_UNSUPPORTED(zeCommandListAppendImageCopy)
NPUSIM_UNSUPPORTED(zeCommandListAppendImageCopyFromMemory)
NPUSIM_UNSUPPORTED(zeCommandListAppendImageCopyToMemory)
NPUSIM_UNSUPPORTED(zeCommandListAppendLaunchKernel)
NPUSIM_UNSUPPORTED(zeCommandListAppendMemoryFill)
NPUSIM_UNSUPPORTED(zeDeviceGetCacheProperties)
NPUSIM_UNSUPPORTED(zeDeviceGetComputeProperties)
NPUSIM_UNSUPPORTED(zeDeviceGetImageProperties)
NPUSIM_UNSUPPORTED(zeDeviceGetMemoryAccessProperties)
NPUSIM_UNSUPPORTED(zeDeviceGetMemoryProperties)
NPUSIM_UNSUPPORTED(zeDeviceGetModuleProperties)
NPUSIM_UNSUPPORTED(zeDeviceGetRuntimeRequirements)
NPUSIM_UNSUPPORTED(zeDeviceGetRuntimeRequirementsKey)
NPUSIM_UNSUPPORTED(zeDeviceValidateRuntimeRequirements)
NPUSIM_UNSUPPORTED(zeEventQueryKernelTimestamp)
NPUSIM_UNSUPPORTED(zeImageCreate)
NPUSIM_UNSUPPORTED(zeImageDestroy)
NPUSIM_UNSUPPORTED(zeKernelCreate)
NPUSIM_UNSUPPORTED(zeKernelDestroy)
NPUSIM_UNSUPPORTED(zeKernelSetArgumentValue)
NPUSIM_UNSUPPORTED(zeKernelSetGroupSize)
NPUSIM_UNSUPPORTED(zeModuleBuildLogDestroy)
NPUSIM_UNSUPPORTED(zeModuleBuildLogGetString)
NPUSIM_UNSUPPORTED(zeModuleCreate)
NPUSIM_UNSUPPORTED(zeModuleDestroy)
NPUSIM_UNSUPPORTED(zeModuleGetKernelNames)
NPUSIM_UNSUPPORTED(zeModuleGetNativeBinary)

// Loaders before 1.2x refuse a driver that does not answer for tools and system management as well.
NPUSIM_EMPTY_TABLE(zeGetModuleProcAddrTable)
NPUSIM_EMPTY_TABLE(zeGetModuleBuildLogProcAddrTable)
NPUSIM_EMPTY_TABLE(zeGetKernelProcAddrTable)
NPUSIM_EMPTY_TABLE(zeGetImageProcAddrTable)
NPUSIM_EMPTY_TABLE(zeGetSamplerProcAddrTable)
NPUSIM_EMPTY_TABLE(zeGetPhysicalMemProcAddrTable)
NPUSIM_EMPTY_TABLE(zeGetVirtualMemProcAddrTable)
NPUSIM_EMPTY_TABLE(zetGetDeviceProcAddrTable)
NPUSIM_EMPTY_TABLE(zetGetContextProcAddrTable)
NPUSIM_EMPTY_TABLE(zetGetCommandListProcAddrTable)
NPUSIM_EMPTY_TABLE(zetGetKernelProcAddrTable)
NPUSIM_EMPTY_TABLE(zetGetModuleProcAddrTable)
NPUSIM_EMPTY_TABLE(zetGetDebugProcAddrTable)
NPUSIM_EMPTY_TABLE(zetGetMetricProcAddrTable)
NPUSIM_EMPTY_TABLE(zetGetMetricGroupProcAddrTable)
NPUSIM_EMPTY_TABLE(zetGetMetricQueryProcAddrTable)
NPUSIM_EMPTY_TABLE(zetGetMetricQueryPoolProcAddrTable)
NPUSIM_EMPTY_TABLE(zetGetMetricStreamerProcAddrTable)
NPUSIM_EMPTY_TABLE(zetGetTracerExpProcAddrTable)
NPUSIM_EMPTY_TABLE(zesGetGlobalProcAddrTable)
NPUSIM_EMPTY_TABLE(zesGetDeviceProcAddrTable)
NPUSIM_EMPTY_TABLE(zesGetDriverProcAddrTable)
NPUSIM_EMPTY_TABLE(zesGetDiagnosticsProcAddrTable)
NPUSIM_EMPTY_TABLE(zesGetEngineProcAddrTable)
NPUSIM_EMPTY_TABLE(zesGetFabricPortProcAddrTable)
NPUSIM_EMPTY_TABLE(zesGetFanProcAddrTable)
NPUSIM_EMPTY_TABLE(zesGetFirmwareProcAddrTable)
NPUSIM_EMPTY_TABLE(zesGetFrequencyProcAddrTable)
NPUSIM_EMPTY_TABLE(zesGetLedProcAddrTable)
NPUSIM_EMPTY_TABLE(zesGetMemoryProcAddrTable)
NPUSIM_EMPTY_TABLE(zesGetOverclockProcAddrTable)
NPUSIM_EMPTY_TABLE(zesGetPerformanceFactorProcAddrTable)
NPUSIM_EMPTY_TABLE(zesGetPowerProcAddrTable)
NPUSIM_EMPTY_TABLE(zesGetPsuProcAddrTable)
NPUSIM_EMPTY_TABLE(zesGetRasProcAddrTable)
NPUSIM_EMPTY_TABLE(zesGetSchedulerProcAddrTable)
NPUSIM_EMPTY_TABLE(zesGetStandbyProcAddrTable)
NPUSIM_EMPTY_TABLE(zesGetTemperatureProcAddrTable)
