#include "runtime/openvino/openvino_model.h"

#include <utility>

#include "runtime/openvino/convert.h"
#include "runtime/openvino/openvino_request.h"

namespace switchyard {

OpenVinoModel::OpenVinoModel(std::shared_ptr<ov::Core> core, ov::CompiledModel compiled, PortOrder order, Signature signature,
                             LoadFacts facts, std::vector<std::optional<size_t>> passed_through)
    : core_(std::move(core)),
      compiled_(std::move(compiled)),
      order_(std::move(order)),
      signature_(std::move(signature)),
      facts_(std::move(facts)),
      passed_through_(std::move(passed_through)) {}

StatusOr<std::unique_ptr<InferRequest>> OpenVinoModel::CreateInferRequest() {
  return Guarded(StatusCode::kInternal, "Cannot create an infer request", [&]() -> StatusOr<std::unique_ptr<InferRequest>> {
    return std::make_unique<OpenVinoRequest>(shared_from_this(), compiled_.create_infer_request());
  });
}

}  // namespace switchyard
