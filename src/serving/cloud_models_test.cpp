// Models whose files are copied from cloud storage first.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "runtime/fake/fake_runtime.h"
#include "serving/test_calls.h"

namespace switchyard {
namespace {

using testing::HasSubstr;

// A storage that answers when it is let to.
struct Gate {
  Mutex mutex;
  bool open = false;
  bool asked = false;
  StatusOr<std::vector<StoredObject>> answer = std::vector<StoredObject>();
};

class GatedStore : public ObjectStore {
 public:
  explicit GatedStore(Gate& gate) : gate_(gate) {}
  StatusOr<std::vector<StoredObject>> List() override {
    MutexLock lock(&gate_.mutex);
    gate_.asked = true;
    gate_.mutex.Await([this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(gate_.mutex) { return gate_.open; });
    return gate_.answer;
  }
  FetchRequest Get(const StoredObject&) override { return {.url = "http://127.0.0.1:1/"}; }

 private:
  Gate& gate_;
};

class CloudModelsTest : public testing::Test {
 protected:
  CloudModelsTest() {
    Manager::Options options;
    options.cloud = {
        .folder = repository_.path().string(), .poll = std::chrono::hours(1), .open = [this](const CloudUrl&, HttpClient&) {
          return StatusOr<std::unique_ptr<ObjectStore>>(std::make_unique<GatedStore>(gate_));
        }};
    manager_ = std::make_unique<Manager>(runtime_, timer_, std::move(options));
  }
  ~CloudModelsTest() override { Open(); }

  void Open() {
    MutexLock lock(&gate_.mutex);
    gate_.open = true;
  }
  void AwaitAsked() {
    MutexLock lock(&gate_.mutex);
    gate_.mutex.Await([this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(gate_.mutex) { return gate_.asked; });
  }
  static ModelSettings Model() {
    ModelSettings settings;
    settings.name = "m";
    settings.base_path = "s3://bucket/m";
    return settings;
  }

  Gate gate_;
  FakeRuntime runtime_;
  ManualTimer timer_;
  TempRepository repository_;
  std::unique_ptr<Manager> manager_;
};

TEST_F(CloudModelsTest, AreLoadingUntilTheStorageHasAnswered) {
  manager_->SetWanted({Model()}, {});
  AwaitAsked();
  EXPECT_TRUE(manager_->LoadPending("m"));
  EXPECT_FALSE(manager_->Ready());
  EXPECT_THAT(std::string(Message(manager_->Acquire("m", std::nullopt).status())), HasSubstr("not loaded yet"));
  Open();
  manager_->WaitForLoads();
  EXPECT_THAT(std::string(Message(manager_->Acquire("m", std::nullopt).status())), HasSubstr("s3://bucket/m/<number>/"));
}

TEST_F(CloudModelsTest, OneThatBecomesFaultyWhileItIsAskedForIsNotWaitedFor) {
  manager_->SetWanted({Model()}, {});
  AwaitAsked();
  manager_->SetWanted({}, {{"m", "its entry is faulty"}});
  manager_->WaitForLoads();
  EXPECT_FALSE(manager_->LoadPending("m"));
  EXPECT_THAT(std::string(Message(manager_->Acquire("m", std::nullopt).status())), HasSubstr("its entry is faulty"));
  Open();
}

}  // namespace
}  // namespace switchyard
