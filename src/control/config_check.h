// What config.json asks for, held against the disk and the devices, before anything is loaded.
#pragma once

#include <atomic>
#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "config/config_reading.h"
#include "device/inventory.h"
#include "runtime/runtime.h"
#include "serving/warm_up.h"

namespace switchyard {

struct CheckEnvironment {
  Runtime& runtime;
  Inventory inventory;                      // the devices that there are
  std::vector<std::string> device_plugins;  // names of registered ones
  bool strict = false;                      // a warning about settings is a fault
  // The entry is served as it is: that a device or a labelled version is not there is no news, and no fault.
  bool as_before = false;
  // Also every version's files: those of a folder that is not whole yet, and whether the model can be read and takes its
  // settings (Runtime::Graph) and its recorded requests. Takes time.
  bool read_models = false;
  ReadRecorded read_recorded = {};  // with read_models: reads the file of the warm-up; may be empty
  // Once it is set, cloud storage is not waited for, and what is there not judged.
  const std::atomic<bool>* cancelled = nullptr;
  // Until when cloud storage is waited for, of all models together; none: for each of them kLongestListing.
  std::optional<std::chrono::steady_clock::time_point> storage_deadline = std::nullopt;
};

// Adds what is wrong with one model: its path and versions, labels, the file of its warm-up, target_device, fallback_devices
// and plugin_config. Keys that are faulty already are not judged again. Blocks: on files, on cloud storage that is slow to
// answer (kLongestListing), and for seconds on a property that only a child process can judge (Runtime::CheckProperties).
void CheckModel(const CheckedModel& model, const CheckEnvironment& environment, std::vector<ConfigFault>* faults);

}  // namespace switchyard
