// Which versions of a model are wanted. A Source looks; it never loads anything.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "config/settings.h"

namespace switchyard {

struct VersionFiles {
  int64_t version = 0;
  // The file that the runtime reads (model.xml, model.onnx, ...), or the folder of a SavedModel.
  std::string model_path;
  // Where there is no complete set: the file that one lacks, "model.bin beside model.xml"; empty when no file is a model's.
  std::string missing = {};
  friend bool operator==(const VersionFiles&, const VersionFiles&) = default;
};

// What a version's folder may be called: a strictly positive decimal number without leading zeros, so that two folders never
// mean the same version. Pure.
std::optional<int64_t> VersionNumber(std::string_view name);

// Every complete version under `base_path`, ascending: <base_path>/<n>/ with a set of model files, or base_path itself as
// version 1 when it is a model file. NotFound when base_path is not there (the message names it). A version folder without a
// complete set of files is in the answer with an empty model_path.
StatusOr<std::vector<VersionFiles>> ListVersions(const std::string& base_path);

// NotFound: the folder of `files` under `base_path` holds no complete set; with the file that is missing.
Status NoCompleteSet(const VersionFiles& files, const std::string& base_path);

// NotFound: the policy wants none of the versions `there`; says which it asks for, and which there are.
Status NoVersion(const ModelSettings& settings, const std::vector<int64_t>& there);

// The versions of `available` (ascending) that the policy wants, ascending. Pure.
std::vector<int64_t> WantedVersions(const VersionPolicy& policy, const std::vector<int64_t>& available);

}  // namespace switchyard
