// What both of KServe's front ends, gRPC and REST, say about the server and its models.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "serving/manager.h"
#include "serving/version.h"

namespace switchyard::kserve {

inline constexpr std::string_view kServerName = "switchyard";
inline constexpr std::string_view kServerVersion = SWITCHYARD_VERSION;
inline constexpr std::string_view kPlatform = "OpenVINO";
// The protocol's extensions that are served, by the names that Triton gave them.
std::vector<std::string_view> Extensions(const Manager& manager);

// A version as KServe's clients write it: "" and "0" mean the default one; a negative number is found by nobody later; what is
// no number of 64 bits is a label.
struct VersionText {
  std::optional<int64_t> number;
  VersionLabel label;
};
VersionText ParseVersion(std::string_view version);

struct ModelDescription {
  std::vector<std::string> versions;  // the available ones, ascending
  Handle version;                     // name, signature: of the version that was asked for
};

// Errors: as Manager::Acquire.
StatusOr<ModelDescription> DescribeModel(const Manager& manager, std::string_view name, std::string_view version);

// False for what is unknown. InvalidArgument for a version that is neither a number nor a label of the model.
StatusOr<bool> IsModelReady(const Manager& manager, std::string_view name, std::string_view version);

}  // namespace switchyard::kserve
