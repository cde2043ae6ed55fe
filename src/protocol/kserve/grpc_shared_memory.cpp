#include <utility>

#include "kserve.pb.h"
#include "protocol/kserve/shared_memory.h"
#include "protocol/wire/parse_message.h"

namespace switchyard::kserve {
namespace {

using google::protobuf::io::ZeroCopyInputStream;
using wire::ParseMessage;

StatusOr<std::string> SystemStatus(const Manager& manager, ZeroCopyInputStream& message) {
  SY_ASSIGN_OR_RETURN(const auto request, ParseMessage<inference::SystemSharedMemoryStatusRequest>(message));
  SY_ASSIGN_OR_RETURN(const auto regions, ListRegions(manager, RegionKind::kSystem, request.name()));
  inference::SystemSharedMemoryStatusResponse response;
  for (const SharedRegionInfo& region : regions) {
    auto& row = (*response.mutable_regions())[region.name];
    row.set_name(region.name);
    row.set_key(region.key);
    row.set_offset(region.offset);
    row.set_byte_size(region.byte_size);
  }
  return response.SerializeAsString();
}

StatusOr<std::string> SystemRegister(const Manager& manager, ZeroCopyInputStream& message) {
  SY_ASSIGN_OR_RETURN(const auto request, ParseMessage<inference::SystemSharedMemoryRegisterRequest>(message));
  SY_RETURN_IF_ERROR(RegisterRegion(
      manager, {.name = request.name(), .key = request.key(), .offset = request.offset(), .byte_size = request.byte_size()}));
  return std::string();
}

StatusOr<std::string> SystemUnregister(const Manager& manager, ZeroCopyInputStream& message) {
  SY_ASSIGN_OR_RETURN(const auto request, ParseMessage<inference::SystemSharedMemoryUnregisterRequest>(message));
  SY_RETURN_IF_ERROR(UnregisterRegions(manager, RegionKind::kSystem, request.name()));
  return std::string();
}

StatusOr<std::string> CudaStatus(const Manager& manager, ZeroCopyInputStream& message) {
  SY_ASSIGN_OR_RETURN(const auto request, ParseMessage<inference::CudaSharedMemoryStatusRequest>(message));
  SY_RETURN_IF_ERROR(ListRegions(manager, RegionKind::kCuda, request.name()).status());
  return inference::CudaSharedMemoryStatusResponse().SerializeAsString();
}

StatusOr<std::string> CudaRegister(const Manager&, ZeroCopyInputStream&) { return RegisterCudaRegion(); }

StatusOr<std::string> CudaUnregister(const Manager& manager, ZeroCopyInputStream& message) {
  SY_ASSIGN_OR_RETURN(const auto request, ParseMessage<inference::CudaSharedMemoryUnregisterRequest>(message));
  SY_RETURN_IF_ERROR(UnregisterRegions(manager, RegionKind::kCuda, request.name()));
  return std::string();
}

}  // namespace

std::vector<ControlMethod> SharedMemoryMethods() {
  return {{"/inference.GRPCInferenceService/SystemSharedMemoryStatus", SystemStatus},
          {"/inference.GRPCInferenceService/SystemSharedMemoryRegister", SystemRegister},
          {"/inference.GRPCInferenceService/SystemSharedMemoryUnregister", SystemUnregister},
          {"/inference.GRPCInferenceService/CudaSharedMemoryStatus", CudaStatus},
          {"/inference.GRPCInferenceService/CudaSharedMemoryRegister", CudaRegister},
          {"/inference.GRPCInferenceService/CudaSharedMemoryUnregister", CudaUnregister}};
}

}  // namespace switchyard::kserve
