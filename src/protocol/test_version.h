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
    auto executor = std::make_shared<Executor>(timer_, Executor::Options{.model_name = name});
    slot_ = std::make_shared<VersionSlot>(
        std::make_unique<Version>(ModelSettings{.name = name}, number, std::move(signature), std::move(executor)),
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
  ManualTimer timer_;
  std::shared_ptr<VersionSlot> slot_;
};

}  // namespace switchyard
