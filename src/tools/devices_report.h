// What `switchyard devices` prints, as text and as JSON.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "device/cpu_facts.h"
#include "device/doctor.h"
#include "device/inventory.h"

namespace switchyard {

struct DeviceRow {
  DeviceInfo info;
  std::optional<Absence> absence;  // none: the device is well
};

struct DevicesReport {
  std::string runtime;             // "OpenVINO 2026.4.1-..."; empty: it was not asked
  std::string sysroot;             // of a made-up root; else empty
  std::vector<std::string> notes;  // sentences about the report itself
  std::vector<DeviceRow> devices;
  CpuFacts cpu;
};

// The devices that were found, those that are broken, then GPU and NPU where there are none, each with its absence. What
// OpenVINO does not tell comes from files: the memory of the CPU from `cpu`, the driver of the GPUs from `view`. No list: the
// runtime was not asked (a made-up root) or has not answered, and a device that lacks nothing in a made-up root counts as well.
std::vector<DeviceRow> MakeRows(const std::optional<DeviceList>& devices, const CpuFacts& cpu, const SystemView& view);

// A table, under it what is missing, under that the processor.
std::string ToText(const DevicesReport& report);
// {"runtime", "sysroot", "notes", "devices": [{"name", "full_name", "type", "state" ("well" or "absent"), "reason", "remedy",
// "memory_total_bytes", "memory_used_bytes", "capabilities", "driver", "architecture"}], "cpu": {"model", "processors",
// "usable_processors", "quota_processors", "quota_from", "affinity", "numa_nodes": [{"node", "cpus", "memory_total_bytes"}],
// "instruction_sets"}}. What is not told is null.
std::string ToJson(const DevicesReport& report);

}  // namespace switchyard
