#include "serving/manager.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "runtime/fake/fake_runtime.h"
#include "serving/executor.h"
#include "serving/test_calls.h"

namespace switchyard {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class ManagerTest : public testing::Test {
 protected:
  void Start(Manager::Options options = {}) { manager_ = std::make_unique<Manager>(runtime_, timer_, std::move(options)); }
  void Want(std::vector<ModelSettings> models, std::vector<FaultyModel> faulty = {}) {
    manager_->SetWanted(std::move(models), std::move(faulty));
  }
  std::string WhyNot(std::string_view model, std::optional<int64_t> version = std::nullopt) {
    const auto handle = manager_->Acquire(model, version);
    return handle.ok() ? "" : absl::StatusCodeToString(handle.status().code()) + ": " + std::string(Message(handle.status()));
  }
  VersionState StateOf(std::string_view model, int64_t version) {
    const ModelStatus model_status = *manager_->StatusOf(model);
    for (const VersionStatus& status : model_status.versions) {
      if (status.version == version) return status.state;
    }
    return VersionState::kWanted;
  }

  std::vector<std::string> Listed() {
    std::vector<std::string> names;
    for (const ModelStatus& model : manager_->Statuses()) names.push_back(model.name);
    return names;
  }

  FakeRuntime runtime_;
  ThreadTimer timer_;
  TempRepository repository_;
  std::unique_ptr<Manager> manager_;
};

TEST_F(ManagerTest, LoadsWhatIsWantedAndFindsIt) {
  Start();
  EXPECT_FALSE(manager_->Ready());
  Want({repository_.Add("dummy", {1, 3, 2})});
  manager_->WaitForLoads();
  EXPECT_TRUE(manager_->Ready());
  EXPECT_EQ((*manager_->Acquire("dummy", std::nullopt))->number(), 3);
  EXPECT_EQ((*manager_->Acquire("dummy", 3))->number(), 3);
  EXPECT_THAT(WhyNot("dummy", 2), HasSubstr("NOT_FOUND: Model with requested version is not found"));
  EXPECT_THAT(WhyNot("other"), HasSubstr("NOT_FOUND: Model with requested name is not found - Name: other"));
}

TEST_F(ManagerTest, LabelsAndAliasesNameVersionsAndModels) {
  Start();
  ModelSettings settings = repository_.Add("dummy", {3, 4});
  settings.version_policy.kind = VersionPolicy::Kind::kAll;
  settings.labels = {{"stable", 3}, {"canary", 4}, {"gone", 7}};
  settings.aliases = {"front"};
  Want({settings});
  manager_->WaitForLoads();
  EXPECT_EQ((*manager_->Acquire("dummy", std::nullopt, {"stable"}))->number(), 3);
  EXPECT_EQ((*manager_->Acquire("front", std::nullopt, {"canary"}))->number(), 4);
  EXPECT_EQ((*manager_->Acquire("front", 3))->model_name(), "dummy");
  EXPECT_EQ(manager_->StatusOf("front")->name, "dummy");
  const auto refused = manager_->Acquire("dummy", std::nullopt, {"gamma"}).status();
  EXPECT_EQ(refused.code(), StatusCode::kNotFound);
  EXPECT_THAT(std::string(Message(refused)), HasSubstr("canary, gone, stable"));
  EXPECT_EQ(manager_->Acquire("dummy", std::nullopt, {"gamma", true}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(manager_->Acquire("dummy", std::nullopt, {"gone"}).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(manager_->VersionOf("other", {"stable"}).status().code(), StatusCode::kNotFound);

  // Another label, and nothing is loaded for it.
  settings.labels = {{"stable", 4}};
  settings.aliases = {};
  Want({settings});
  manager_->WaitForLoads();
  EXPECT_EQ(runtime_.loads(), 2u);
  EXPECT_EQ((*manager_->Acquire("dummy", std::nullopt, {"stable"}))->number(), 4);
  EXPECT_THAT(WhyNot("front"), HasSubstr("NOT_FOUND"));
}

TEST_F(ManagerTest, ModelsThatWereUnloadedAreListedUpToANumber) {
  Start();
  ModelSettings settings = repository_.Add("dummy", {1});
  for (int i = 0; i < 300; ++i) {
    settings.name = fmt::format("model{}", i);
    Want({settings});
    manager_->WaitForLoads();
  }
  Want({});
  manager_->WaitForLoads();
  EXPECT_LE(manager_->Statuses().size(), 257u);
  EXPECT_GE(manager_->Statuses().size(), 200u);
}

TEST_F(ManagerTest, AnAliasMovesWhenItsNewModelServes) {
  Start();
  ModelSettings first = repository_.Add("first", {1});
  ModelSettings second = repository_.Add("second", {1});
  ModelSettings third = repository_.Add("third", {1});
  first.aliases = {"front"};
  Want({first});
  manager_->WaitForLoads();
  const auto serves = [&](const std::string& name) -> std::string {
    const auto handle = manager_->Acquire(name, std::nullopt);
    return handle.ok() ? (*handle)->model_name() : "nobody";
  };
  EXPECT_EQ(serves("front"), "first");
  // Also when the model that it led to goes in the same change.
  runtime_.Update("second", [](FakeRuntime::Script& script) { script.hold_load = true; });
  second.aliases = {"front"};
  Want({second});
  EXPECT_EQ(serves("front"), "first");
  EXPECT_EQ(serves("first"), "nobody");
  runtime_.Update("second", [](FakeRuntime::Script& script) { script.hold_load = false; });
  manager_->WaitForLoads();
  EXPECT_EQ(serves("front"), "second");
  EXPECT_EQ(manager_->StatusOf("first")->versions[0].state, VersionState::kGone);
  // The alias may have been a model's name.
  runtime_.Update("third", [](FakeRuntime::Script& script) { script.hold_load = true; });
  third.aliases = {"front", "second"};
  Want({third});
  EXPECT_EQ(serves("front"), "second");
  EXPECT_EQ(serves("second"), "second");
  EXPECT_EQ(manager_->StatusOf("second")->name, "second") << "it lends its versions until the other serves";
  EXPECT_EQ(manager_->OwnName("front"), "second");
  runtime_.Update("third", [](FakeRuntime::Script& script) { script.hold_load = false; });
  manager_->WaitForLoads();
  EXPECT_EQ(serves("front"), "third");
  EXPECT_EQ(serves("second"), "third");
  EXPECT_EQ(serves("third"), "third");
  EXPECT_EQ(manager_->StatusOf("second")->name, "third");
  EXPECT_EQ(StateOf("second", 1), VersionState::kAvailable);
  EXPECT_EQ(manager_->OwnName("second"), "third");
  EXPECT_EQ(Listed(), (std::vector<std::string>{"first", "third"}));
  // A name that is no alias any more is that of a model that is gone.
  third.aliases = {};
  Want({third});
  EXPECT_EQ(StateOf("second", 1), VersionState::kGone);
  EXPECT_EQ(manager_->OwnName("second"), "second");
  EXPECT_EQ(Listed(), (std::vector<std::string>{"first", "second", "third"}));
}

TEST_F(ManagerTest, NothingIsKeptOfAModelThatNeverServed) {
  MetricsRegistry metrics;
  runtime_.Update("bad", [](FakeRuntime::Script& script) { script.load_error = absl::InternalError("no"); });
  ModelSettings missing{.name = "missing"};
  missing.base_path = (repository_.path() / "nowhere").string();
  ModelSettings good = repository_.Add("good", {1});
  good.aliases = {"front"};
  Start({.metrics = &metrics});
  Want({good, repository_.Add("bad", {1}), missing}, {{"ugly", "shape: expected (1,2)"}});
  manager_->WaitForLoads();
  EXPECT_EQ(Listed(), (std::vector<std::string>{"bad", "good", "missing", "ugly"}));
  EXPECT_THAT(metrics.Text(), HasSubstr(R"(switchyard_load_failures_total{model="bad",reason="INTERNAL"})"));
  Want({});
  EXPECT_EQ(Listed(), std::vector<std::string>{"good"});
  EXPECT_EQ(manager_->StatusOf("bad").status().code(), StatusCode::kNotFound);
  EXPECT_THAT(metrics.Text(), Not(HasSubstr(R"(model="bad")")));
  EXPECT_THAT(metrics.Text(), HasSubstr(R"(switchyard_loads_total{model="good"} 1)"));
  const ModelStatus gone = *manager_->StatusOf("good");
  EXPECT_THAT(gone.aliases, IsEmpty());
  EXPECT_EQ(gone.versions[0].state, VersionState::kGone);
  // What it served with is told of no more, nor that a later load failed.
  runtime_.Update("good", [](FakeRuntime::Script& script) { script.load_error = absl::InternalError("no"); });
  Want({good});
  manager_->WaitForLoads();
  EXPECT_EQ(StateOf("good", 1), VersionState::kFailed);
  Want({});
  EXPECT_EQ(StateOf("good", 1), VersionState::kGone);
  EXPECT_TRUE(manager_->StatusOf("good")->versions[0].error.ok());
  manager_.reset();  // before the metrics
}

TEST_F(ManagerTest, ALabelMovesWhenItsNewVersionServes) {
  Start();
  ModelSettings settings = repository_.Add("dummy", {3, 4});
  settings.version_policy = {.kind = VersionPolicy::Kind::kSpecific, .versions = {3}};
  settings.labels = {{"stable", 3}};
  Want({settings});
  manager_->WaitForLoads();
  const auto stable = [&] {
    const auto handle = manager_->Acquire("dummy", std::nullopt, {"stable"});
    return handle.ok() ? (*handle)->number() : -1;
  };
  EXPECT_EQ(stable(), 3);
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.hold_load = true; });
  settings.version_policy.versions = {4};
  settings.labels = {{"stable", 4}};
  Want({settings});
  ASSERT_TRUE(runtime_.WaitForLoads(2));
  EXPECT_EQ(stable(), 3) << "as long as version 4 is loaded";
  EXPECT_EQ(manager_->StatusOf("dummy")->labels.at("stable"), 4);
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.hold_load = false; });
  manager_->WaitForLoads();
  EXPECT_EQ(stable(), 4);
}

TEST_F(ManagerTest, AVersionIsUnavailableWhileItLoads) {
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.hold_load = true; });
  Start();
  Want({repository_.Add("dummy", {1})});
  ASSERT_TRUE(runtime_.WaitForLoads(1));
  EXPECT_THAT(WhyNot("dummy"), HasSubstr("UNAVAILABLE: Model is not loaded yet"));
  EXPECT_EQ(StateOf("dummy", 1), VersionState::kLoading);
  EXPECT_FALSE(manager_->Ready());
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.hold_load = false; });
  manager_->WaitForLoads();
  EXPECT_EQ(WhyNot("dummy"), "");
}

TEST_F(ManagerTest, AFailedModelKeepsItsReasonAndTheOthersServe) {
  runtime_.Update("bad",
                  [](FakeRuntime::Script& script) { script.load_error = absl::InvalidArgumentError("no such property"); });
  Start();
  Want({repository_.Add("bad", {1}), repository_.Add("good", {1})}, {{"ugly", "shape: expected (1,2)"}});
  manager_->WaitForLoads();
  EXPECT_TRUE(manager_->Ready());
  EXPECT_EQ(WhyNot("good"), "");
  EXPECT_THAT(WhyNot("bad"), HasSubstr("UNAVAILABLE: Model bad version 1 failed to load: no such property"));
  EXPECT_THAT(WhyNot("ugly"), HasSubstr("UNAVAILABLE: Model ugly cannot be served: shape: expected (1,2)"));
  const ModelStatus status = *manager_->StatusOf("bad");
  ASSERT_EQ(status.versions.size(), 1u);
  EXPECT_EQ(status.versions[0].state, VersionState::kFailed);
  EXPECT_EQ(Message(status.versions[0].error), "no such property");
  EXPECT_EQ(manager_->Statuses().size(), 3u);
}

TEST_F(ManagerTest, ReadinessCanAskForAllModels) {
  runtime_.Update("bad", [](FakeRuntime::Script& script) { script.load_error = absl::InternalError("no"); });
  Start({.ready_needs_all = true});
  Want({repository_.Add("bad", {1}), repository_.Add("good", {1})});
  manager_->WaitForLoads();
  EXPECT_FALSE(manager_->Ready());
  EXPECT_TRUE(manager_->ModelReady("good", std::nullopt));
  EXPECT_FALSE(manager_->ModelReady("bad", std::nullopt));
  EXPECT_FALSE(manager_->ModelReady("none", std::nullopt));
}

TEST_F(ManagerTest, AMissingFolderAndAnEmptyOneAreNamed) {
  ModelSettings missing{.name = "missing"};
  missing.base_path = (repository_.path() / "nowhere").string();
  Start();
  Want({missing, repository_.Add("empty", {})});
  manager_->WaitForLoads();
  EXPECT_THAT(WhyNot("missing"), HasSubstr("nowhere"));
  EXPECT_THAT(WhyNot("empty"), HasSubstr("no version is there"));
  EXPECT_FALSE(manager_->Ready());
}

TEST_F(ManagerTest, ACheapModelHasARequestForEachThreadUnlessTheUserSaysHowMany) {
  Start({.inline_threads = 3});
  ModelSettings fixed = repository_.Add("fixed", {1});
  fixed.nireq = 1;
  Want({repository_.Add("free", {1}), fixed});
  manager_->WaitForLoads();
  EXPECT_EQ(manager_->Placement("free", 1)->Serving()->num_requests, 3u);
  EXPECT_EQ(manager_->Placement("fixed", 1)->Serving()->num_requests, 1u);
}

TEST_F(ManagerTest, ReadinessIsToldAtEachChange) {
  std::vector<bool> told;
  Start();
  manager_->OnReadinessChange([&](bool ready) { told.push_back(ready); });
  Want({repository_.Add("dummy", {1})});
  manager_->WaitForLoads();
  manager_->Shutdown();
  EXPECT_FALSE(manager_->Ready());
  EXPECT_EQ(WhyNot("dummy"), "");
  ASSERT_TRUE(manager_->Drain(timer_.Now() + std::chrono::seconds(10)));
  ASSERT_FALSE(told.empty());
  EXPECT_TRUE(told.front());
  EXPECT_FALSE(told.back());
}

TEST_F(ManagerTest, AModelLeftOutGoesWhenItsLastHandleDoes) {
  Start();
  Want({repository_.Add("dummy", {1})});
  manager_->WaitForLoads();
  auto handle = std::make_unique<Handle>(*manager_->Acquire("dummy", std::nullopt));
  Want({});
  manager_->WaitForLoads();
  EXPECT_THAT(WhyNot("dummy"), HasSubstr("NOT_FOUND"));
  EXPECT_EQ(runtime_.live_models(), 1u);
  EXPECT_EQ((*handle)->model_name(), "dummy");
  handle.reset();
  manager_->Shutdown();
  ASSERT_TRUE(manager_->Drain(timer_.Now() + std::chrono::seconds(10)));
  manager_.reset();
  EXPECT_EQ(runtime_.live_models(), 0u);
}

TEST_F(ManagerTest, ChangedSettingsAreANewVersionAndAFailedOneKeepsTheOld) {
  Start();
  ModelSettings settings = repository_.Add("dummy", {1});
  Want({settings});
  manager_->WaitForLoads();
  settings.nireq = 4;
  Want({settings});
  manager_->WaitForLoads();
  EXPECT_EQ((*manager_->Acquire("dummy", 1))->settings().nireq, 4u);
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.load_error = absl::InternalError("no"); });
  settings.nireq = 5;
  Want({settings});
  manager_->WaitForLoads();
  EXPECT_EQ((*manager_->Acquire("dummy", 1))->settings().nireq, 4u);
  EXPECT_EQ(StateOf("dummy", 1), VersionState::kAvailable);
  EXPECT_EQ(Message(manager_->StatusOf("dummy")->versions[0].error), "no");
}

TEST_F(ManagerTest, AStopWaitsForTheModelThatIsBeingCompiled) {
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.hold_load = true; });
  Start();
  Want({repository_.Add("dummy", {1})});
  ASSERT_TRUE(runtime_.WaitForLoads(1));
  manager_->Shutdown();
  ASSERT_TRUE(manager_->Drain(timer_.Now() + std::chrono::seconds(10)));
  std::thread stop([this] { manager_.reset(); });
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.hold_load = false; });
  stop.join();
  EXPECT_EQ(runtime_.live_models(), 0u);
}

TEST_F(ManagerTest, DrainWaitsForTheCallInFlightAndGivesUpAtItsDeadline) {
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.facts.cpu_only = false; });
  Start();
  Want({repository_.Add("dummy", {1})});
  manager_->WaitForLoads();
  TestCall test;
  std::shared_ptr<Answer> answer = test.answer;
  Infer(*manager_->Acquire("dummy", std::nullopt), std::exchange(test.call, nullptr));
  ASSERT_TRUE(runtime_.WaitForHeld(1));
  manager_->Shutdown();
  EXPECT_FALSE(manager_->Drain(timer_.Now() + std::chrono::milliseconds(20)));
  runtime_.CompleteAll();
  EXPECT_TRUE(answer->status.ok());
  EXPECT_TRUE(manager_->Drain(timer_.Now() + std::chrono::seconds(10)));
}

TEST_F(ManagerTest, WhatIsCompiledIsKeptUnderTheFilesThatItIsMadeOf) {
  Start({.cache_dir = "/cache"});
  const ModelSettings dummy = repository_.Add("dummy", {1}), other = repository_.Add("other", {1});
  const auto weights = repository_.path() / "other/1/weights.data";
  std::ofstream(weights) << "weights";
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.hold_load = true; });
  Want({dummy, other});
  ASSERT_TRUE(runtime_.WaitForLoads(1));
  // It waits for the device's thread meanwhile.
  std::ofstream(weights) << "other weights";
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.hold_load = false; });
  manager_->WaitForLoads();
  EXPECT_TRUE(manager_->ModelReady("other", std::nullopt));
  const std::vector<LoadRequest> loads = runtime_.load_requests();
  ASSERT_EQ(loads.size(), 2u);
  EXPECT_THAT(loads[1].files, AllOf(HasSubstr("file model.onnx 7 "), HasSubstr("file weights.data 13 ")));
}

}  // namespace
}  // namespace switchyard
