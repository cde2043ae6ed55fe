// The system shared-memory extension, as Triton has it, for both of KServe's front ends: what says that a tensor lies there,
// and the calls that register regions. CUDA's are known, and refused: there are none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "protocol/rpc_service.h"
#include "serving/manager.h"
#include "serving/shared_tensors.h"

namespace switchyard::kserve {

inline constexpr std::string_view kRegionParameter = "shared_memory_region";
inline constexpr std::string_view kBytesParameter = "shared_memory_byte_size";
inline constexpr std::string_view kOffsetParameter = "shared_memory_offset";

// The parameters of one tensor, as they come.
struct SharedParameters {
  std::optional<std::string> region;
  std::optional<uint64_t> bytes;
  uint64_t offset = 0;
  bool has_offset = false;

  bool any() const { return region || bytes || has_offset; }
  // InvalidArgument: not both of region and byte size.
  StatusOr<SharedPlace> Take() const;
};

// The request's, made when it is the first.
SharedTensors& SharedOf(DecodedRequest& request);

enum class RegionKind { kSystem, kCuda };

// What a call says of regions. PermissionDenied, naming the flag, where shared memory is off. An empty name: all of them.
// NotFound: a status of a region that is not registered.
StatusOr<std::vector<SharedRegionInfo>> ListRegions(const Manager& manager, RegionKind kind, std::string_view name);
Status RegisterRegion(const Manager& manager, SharedRegionInfo info);
Status UnregisterRegions(const Manager& manager, RegionKind kind, std::string_view name);
// Unimplemented.
Status RegisterCudaRegion();

// As JSON: [{"name","key","offset","byte_size"}], and {"key","offset","byte_size"} of a registration.
std::string EncodeRegions(const std::vector<SharedRegionInfo>& regions);
inline constexpr size_t kMaxRegisterBytes = 65536;
StatusOr<SharedRegionInfo> ReadRegistration(std::string name, std::string_view json);

// Over gRPC.
std::vector<ControlMethod> SharedMemoryMethods();

}  // namespace switchyard::kserve
