// KServe v2's metadata as JSON.
#pragma once

#include <string>

#include "protocol/kserve/metadata.h"

namespace switchyard {

std::string EncodeKserveServerMetadata(const Manager& manager);
// Dimensions that are not fixed are -1; a shape whose rank is not fixed is [-1].
std::string EncodeKserveModelMetadata(const kserve::ModelDescription& model);

}  // namespace switchyard
