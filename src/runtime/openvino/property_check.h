// Judges plugin_config before anything is compiled with it (Runtime::CheckProperties).
#pragma once

#include <map>
#include <openvino/runtime/core.hpp>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "config/settings.h"
#include "runtime/openvino/openvino_runtime.h"

namespace switchyard {

// Thread-safe. Values that only a device can judge are tried in a child process, until each has a verdict.
class PropertyChecker {
 public:
  explicit PropertyChecker(OpenVinoOptions options) : options_(std::move(options)) {}

  // As Runtime::CheckProperties. `core` tells the keys of `devices`, and no other device is asked.
  StatusOr<std::vector<std::string>> Check(ov::Core& core, const std::string& target, const std::vector<std::string>& devices,
                                           const PropertyMap& plugin_config);

 private:
  struct Scope;

  Status CheckKey(const Scope& scope, const std::string& key, const PropertyValue& value, std::vector<std::string>& notes);
  Status CheckNested(const Scope& scope, const PropertyMap& by_device, std::vector<std::string>& notes);
  // InvalidArgument without a context when `device` does not take the value.
  Status Probe(const std::string& device, const std::string& key, const std::string& value, std::vector<std::string>& notes);

  struct Probed {
    Status status;
    std::string note;       // it could not be asked
    bool too_slow = false;  // the verdict is that there was no answer in time
  };
  Probed AskDevice(const std::string& device, const std::string& key, const std::string& value) const;

  const OpenVinoOptions options_;
  Mutex mutex_;
  std::map<std::tuple<std::string, std::string, std::string>, Probed> probed_ ABSL_GUARDED_BY(mutex_);
};

// After a failed compilation for the canonical `target`: the entry of `properties` that is at fault, found by compiling a model
// of one operation in child processes, with all of them and then with each; OK when none is, or nobody can tell.
Status FindFaultyProperty(const OpenVinoOptions& options, const std::string& target, const PropertyMap& properties);

}  // namespace switchyard
