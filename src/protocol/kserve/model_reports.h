// KServe's statistics and model-configuration extensions, as Triton has them, for both front ends: a message and a JSON object.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "serving/manager.h"

namespace switchyard::kserve {

// Of one version; of all available versions without a version; of all models without a name. Since the version was loaded.
// inference_count is the rows of the inferences that ended well, execution_count their number, and batch_stats has both by
// their rows; inference_stats is of calls.
// NotFound, Unavailable: as Manager::Acquire. InvalidArgument: as ParseVersion.
StatusOr<std::string> StatisticsMessage(const Manager& manager, std::string_view name, std::string_view version);
StatusOr<std::string> StatisticsJson(const Manager& manager, std::string_view name, std::string_view version);

// What Triton's clients ask of a configuration. max_batch_size is 0 where the server joins no calls: the dimensions are whole,
// the batch is one of them. With dynamic_batching along the first dimension it is the batching's, and the dimensions are
// without it.
StatusOr<std::string> ConfigMessage(const Manager& manager, std::string_view name, std::string_view version);
StatusOr<std::string> ConfigJson(const Manager& manager, std::string_view name, std::string_view version);

}  // namespace switchyard::kserve
