// What the tests of serving/ share: a call for the fake runtime's dummy model, and a temporary model repository.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>

#include "base/mutex.h"
#include "serving/infer_call.h"
#include "serving/manager.h"

namespace switchyard {

// The answer of one call, and a way to wait for it.
struct Answer {
  Notification done;
  Status status = absl::UnknownError("not answered");
  std::vector<float> values;
};

struct TestCall {
  std::shared_ptr<InferCall> call = std::make_shared<InferCall>();
  std::shared_ptr<Answer> answer = std::make_shared<Answer>();

  explicit TestCall(float value = 1.0f, TimePoint deadline = kNoDeadline) {
    Buffer memory = Buffer::Allocate(40);
    for (int i = 0; i < 10; ++i) reinterpret_cast<float*>(memory.data())[i] = value;
    TensorView view{ElementType::kFp32, Shape{1, 10}, memory.data(), 40};
    call->request.inputs.push_back(NamedTensor{"b", view});
    call->request.memory.push_back(std::move(memory));
    call->request.deadline = deadline;
    call->on_done = [answer = answer](InferCall& done, const Status& status) {
      answer->status = status;
      if (status.ok()) {
        const auto* data = reinterpret_cast<const float*>(done.outputs[0].tensor.data);
        answer->values.assign(data, data + 10);
      }
      answer->done.Notify();
    };
  }
};

// A repository folder in the temp directory with one made-up ONNX file per version; the fake runtime does not read it.
class TempRepository {
 public:
  TempRepository() {
    std::string pattern = (std::filesystem::temp_directory_path() / "switchyard_test_XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~TempRepository() { std::filesystem::remove_all(path_); }

  // The settings of model `name` with these versions on disk.
  ModelSettings Add(const std::string& name, const std::vector<int>& versions) const {
    std::filesystem::create_directories(path_ / name);
    for (const int version : versions) {
      const auto folder = path_ / name / std::to_string(version);
      std::filesystem::create_directories(folder);
      std::ofstream(folder / "model.onnx") << "made up";
    }
    ModelSettings settings;
    settings.name = name;
    settings.base_path = (path_ / name).string();
    return settings;
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace switchyard
