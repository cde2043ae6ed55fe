// A loaded Version for tests of what codecs write. Test code only.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "base/timer.h"
#include "serving/executor.h"
#include "serving/version.h"
#include "tensor/signature.h"

namespace switchyard {

// Knows its name, number and signature, and runs no inference.
class TestVersion {
 public:
  TestVersion(std::string name, int64_t number, Signature signature = {}) {
    auto model = std::make_shared<Model>();
    model->signature_ = std::move(signature);
    auto executor = std::make_unique<Executor>(std::vector<std::unique_ptr<InferRequest>>(), timer_, Executor::Options{name});
    slot_ = std::make_shared<VersionSlot>(
        std::make_unique<Version>(ModelSettings{.name = name}, number, std::move(model), std::move(executor)),
        [](VersionSlot&) {});
  }
  // Give all handles back before the end.
  ~TestVersion() {
    slot_->Close();
    slot_->Destroy();
  }
  Handle Acquire() {
    slot_->Acquire();
    return Handle(slot_);
  }

 private:
  struct Model final : CompiledModel {
    const Signature& signature() const override { return signature_; }
    const LoadFacts& facts() const override { return facts_; }
    StatusOr<std::unique_ptr<InferRequest>> CreateInferRequest() override { return Error(StatusCode::kUnimplemented, "none"); }
    Signature signature_;
    LoadFacts facts_;
  };
  ManualTimer timer_;
  std::shared_ptr<VersionSlot> slot_;
};

}  // namespace switchyard
