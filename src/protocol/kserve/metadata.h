// What both of KServe's front ends, gRPC and REST, say about the server and its models.
#pragma once

#include <array>
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
inline constexpr std::array<std::string_view, 5> kExtensions = {"binary_tensor_data", "logging", "model_configuration",
                                                                "sequence", "statistics"};

// "" and "0" mean the default version. InvalidArgument for what is no number; a negative one is found by nobody later.
StatusOr<std::optional<int64_t>> ParseVersion(std::string_view version);

struct ModelDescription {
  std::vector<std::string> versions;  // the available ones, ascending
  Handle version;                     // name, signature: of the version that was asked for
};

// NotFound, Unavailable: as Manager::Acquire. InvalidArgument: as ParseVersion.
StatusOr<ModelDescription> DescribeModel(const Manager& manager, std::string_view name, std::string_view version);

// False for what is unknown. InvalidArgument: as ParseVersion.
StatusOr<bool> IsModelReady(const Manager& manager, std::string_view name, std::string_view version);

}  // namespace switchyard::kserve
