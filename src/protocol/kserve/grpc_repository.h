// KServe's model repository extension over gRPC: index, load and unload.
#pragma once

#include <vector>

#include "protocol/rpc_service.h"

namespace switchyard::kserve {

// Of inference.GRPCInferenceService.
std::vector<CommandMethod> RepositoryMethods();

}  // namespace switchyard::kserve
