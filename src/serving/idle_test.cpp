// Models that nobody calls, memory that is short, and what runs before a Version takes calls.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <thread>

#include "runtime/fake/fake_runtime.h"
#include "serving/executor.h"
#include "serving/test_calls.h"

namespace switchyard {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::AllOf;
using testing::HasSubstr;

class IdleTest : public testing::Test {
 protected:
  void Start(Manager::Options options = {}) {
    for (const char* name : {"dummy", "other"}) {
      runtime_.Update(name, [](FakeRuntime::Script& script) { script.async = FakeRuntime::Async::kThread; });
    }
    manager_ = std::make_unique<Manager>(runtime_, timer_, std::move(options));
  }
  void Want(std::vector<ModelSettings> models) {
    manager_->SetWanted(std::move(models), {});
    manager_->WaitForLoads();
  }
  ModelSettings Idle(uint32_t after) const {
    ModelSettings settings = repository_.Add("dummy", {1});
    settings.idle_unload_seconds = after;
    return settings;
  }
  // 60 bytes of it.
  ModelSettings Sixty(const std::string& name) const {
    ModelSettings settings = repository_.Add(name, {1});
    std::ofstream(repository_.path() / name / "1/model.onnx") << std::string(60, 'x');
    return settings;
  }
  std::shared_ptr<Answer> Begin(const std::string& model = "dummy", TimePoint deadline = kNoDeadline) {
    TestCall test(1.0f, deadline);
    auto handle = manager_->Acquire(model, std::nullopt);
    if (handle.ok()) {
      Infer(*std::move(handle), std::exchange(test.call, nullptr));
    } else {
      test.call->Complete(handle.status());
    }
    return test.answer;
  }
  Status Call(const std::string& model = "dummy") {
    const std::shared_ptr<Answer> answer = Begin(model);
    EXPECT_TRUE(answer->done.WaitFor(seconds(10)));
    return answer->status;
  }
  bool Eventually(const std::function<bool()>& condition) {
    const auto end = std::chrono::steady_clock::now() + seconds(10);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) return false;
      timer_.Advance(Duration(0));  // for what was set to a time that has passed
      std::this_thread::yield();
    }
    return true;
  }
  // Where the Manager saw the last call a moment before it had left, it looks again after as long a time.
  bool GoesToSleep() {
    return Eventually([&] {
      timer_.Advance(seconds(1));
      return runtime_.live_models() == 0;
    });
  }
  void Pass(Duration time) {
    timer_.Advance(time);
    manager_->WaitForLoads();
  }
  VersionStatus StatusOf(const std::string& model) { return manager_->StatusOf(model)->versions.at(0); }

  FakeRuntime runtime_;
  ManualTimer timer_;
  TempRepository repository_;
  std::unique_ptr<Manager> manager_;
};

TEST_F(IdleTest, AModelThatNobodyCallsGivesItsMemoryBackUntilTheNextCall) {
  Start();
  Want({Idle(10)});
  Pass(seconds(9));
  EXPECT_EQ(runtime_.live_models(), 1u);
  ASSERT_TRUE(Call().ok());
  Pass(seconds(9));
  EXPECT_EQ(runtime_.live_models(), 1u) << "it was called 9 s ago";
  Pass(seconds(1));
  EXPECT_TRUE(GoesToSleep());
  EXPECT_EQ(StatusOf("dummy").state, VersionState::kAvailable);
  EXPECT_TRUE(manager_->Ready());
  EXPECT_TRUE(manager_->ModelReady("dummy", std::nullopt));
  EXPECT_EQ((*manager_->Acquire("dummy", std::nullopt))->signature().inputs.size(), 1u);
  EXPECT_TRUE(Call().ok());
  EXPECT_EQ(runtime_.live_models(), 1u);
  EXPECT_EQ(runtime_.loads(), 2u);
  Pass(seconds(10));
  EXPECT_TRUE(GoesToSleep());
}

TEST_F(IdleTest, CallsWaitForTheModelWithinTheirDeadlines) {
  Start();
  Want({Idle(10)});
  Pass(seconds(10));
  ASSERT_TRUE(Eventually([&] { return runtime_.live_models() == 0; }));
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.hold_load = true; });
  const std::shared_ptr<Answer> late = Begin("dummy", timer_.Now() + seconds(1));
  const std::shared_ptr<Answer> patient = Begin();
  ASSERT_TRUE(runtime_.WaitForLoads(2));
  EXPECT_TRUE(manager_->Ready());
  timer_.Advance(seconds(2));
  ASSERT_TRUE(late->done.WaitFor(seconds(10)));
  EXPECT_EQ(late->status.code(), StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(patient->done.HasBeenNotified());
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.hold_load = false; });
  ASSERT_TRUE(patient->done.WaitFor(seconds(10)));
  EXPECT_TRUE(patient->status.ok()) << patient->status;
}

TEST_F(IdleTest, AModelThatDoesNotComeBackSaysWhyAndIsTriedAgain) {
  Start();
  Want({Idle(10)});
  Pass(seconds(10));
  ASSERT_TRUE(Eventually([&] { return runtime_.live_models() == 0; }));
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.load_error = absl::InternalError("corrupt"); });
  EXPECT_THAT(Call().ToString(), HasSubstr("corrupt"));
  const size_t loads = runtime_.loads();
  EXPECT_THAT(Call().ToString(), HasSubstr("UNAVAILABLE"));
  EXPECT_EQ(runtime_.loads(), loads) << "a call must not have it loaded before a second has passed";
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.load_error = absl::OkStatus(); });
  EXPECT_TRUE(Eventually([&] { return Pass(seconds(1)), Call().ok(); }));
}

TEST_F(IdleTest, LoadsOfModelsThatComeBackAreCounted) {
  Start();
  Want({Idle(10)});
  const auto count = [this](const std::string& series) {
    const std::string page = manager_->metrics().Text();
    const size_t at = page.find(series);
    return at == page.npos ? "0" : page.substr(page.find("} ", at) + 2, 1);
  };
  const std::string good = R"(switchyard_loads_total{model="dummy")", bad = R"(switchyard_load_failures_total{model="dummy")";
  EXPECT_EQ(count(good), "1");
  Pass(seconds(10));
  ASSERT_TRUE(GoesToSleep());
  ASSERT_TRUE(Call().ok());
  EXPECT_TRUE(Eventually([&] { return count(good) == "2"; }));
  EXPECT_TRUE(GoesToSleep());
  EXPECT_EQ(count(good), "2");
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.load_error = absl::InternalError("corrupt"); });
  EXPECT_FALSE(Call().ok());
  EXPECT_TRUE(Eventually([&] { return count(bad) == "1"; }));
  EXPECT_FALSE(Call().ok()) << "before it is tried again";
  EXPECT_EQ(count(bad), "1");
  EXPECT_EQ(count(good), "2");
}

// Files that lie there when a model that sleeps is called.
class SleepingFilesTest : public IdleTest {
 protected:
  void GoToSleep() {
    Want({Idle(10)});
    before_ = Serving();
    Pass(seconds(10));
    ASSERT_TRUE(GoesToSleep());
  }
  const Version* Serving() { return &**manager_->Acquire("dummy", std::nullopt); }
  void Write(const std::string& file, const std::string& text) { std::ofstream(repository_.path() / "dummy/1" / file) << text; }
  // The call is waited for, while time passes.
  Status Outcome(const std::shared_ptr<Answer>& answer) {
    EXPECT_TRUE(Eventually([&] { return timer_.Advance(seconds(1)), answer->done.HasBeenNotified(); }));
    return answer->done.HasBeenNotified() ? answer->status : absl::UnknownError("no answer");
  }

  const Version* before_ = nullptr;
};

TEST_F(SleepingFilesTest, ACallWaitsUntilTheFilesAreWholeAndIsServedByTheChangedVersion) {
  Start();
  GoToSleep();
  Write(".incomplete", "");
  Write("model.onnx", "half of it");
  const std::shared_ptr<Answer> late = Begin("dummy", timer_.Now() + seconds(5));
  const std::shared_ptr<Answer> patient = Begin();
  EXPECT_EQ(Outcome(late).code(), StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(patient->done.HasBeenNotified());
  EXPECT_EQ(runtime_.loads(), 1u) << "half-copied files were loaded";
  Write("model.onnx", "all of it, changed");
  std::filesystem::remove(repository_.path() / "dummy/1/.incomplete");
  EXPECT_EQ(Outcome(patient), absl::OkStatus());
  EXPECT_EQ(runtime_.loads(), 2u);
  EXPECT_NE(Serving(), before_) << "a Version serves what it was not made of";
  EXPECT_TRUE(Call().ok());
  EXPECT_TRUE(Eventually([&] { return runtime_.live_models() == 1; }));
}

TEST_F(SleepingFilesTest, FilesThatAreTheSameAreTheSameVersion) {
  Start();
  GoToSleep();
  EXPECT_TRUE(Call().ok());
  EXPECT_EQ(Serving(), before_);
}

TEST_F(SleepingFilesTest, FilesThatChangeWhileTheyAreReadAreNotServed) {
  Start();
  GoToSleep();
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.hold_load = true; });
  const std::shared_ptr<Answer> answer = Begin();
  ASSERT_TRUE(runtime_.WaitForLoads(2));
  Write("model.onnx", "changed");
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.hold_load = false; });
  EXPECT_EQ(Outcome(answer), absl::OkStatus());
  EXPECT_EQ(runtime_.loads(), 3u);
  EXPECT_NE(Serving(), before_);
}

TEST_F(SleepingFilesTest, ChangedFilesThatDoNotLoadAreToldToWhoeverCalls) {
  Start();
  GoToSleep();
  Write("model.onnx", "corrupt");
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.load_error = absl::InternalError("corrupt"); });
  const Status status = Outcome(Begin());
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_THAT(status.ToString(), HasSubstr("corrupt"));
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.load_error = absl::OkStatus(); });
  EXPECT_TRUE(Eventually([&] { return Outcome(Begin()).ok(); }));
  EXPECT_NE(Serving(), before_);
}

TEST_F(SleepingFilesTest, ACallDoesNotWaitForFilesThatAreGone) {
  Start();
  GoToSleep();
  std::filesystem::rename(repository_.path() / "dummy", repository_.path() / "elsewhere");
  const Status status = Outcome(Begin());
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_THAT(status.ToString(), HasSubstr("is not there"));
  std::filesystem::rename(repository_.path() / "elsewhere", repository_.path() / "dummy");
  EXPECT_TRUE(Eventually([&] { return Outcome(Begin()).ok(); }));
}

TEST_F(SleepingFilesTest, ACallDoesNotWaitForALookThatFaultySettingsPutAnEndTo) {
  Start();
  GoToSleep();
  Write(".incomplete", "");
  const std::shared_ptr<Answer> late = Begin("dummy", timer_.Now() + seconds(5));
  const std::shared_ptr<Answer> patient = Begin();
  EXPECT_EQ(Outcome(late).code(), StatusCode::kDeadlineExceeded);
  EXPECT_FALSE(patient->done.HasBeenNotified());
  manager_->SetWanted({}, {{"dummy", "its entry is faulty"}});
  EXPECT_EQ(Outcome(patient), absl::OkStatus()) << "its files are those that it was made of";
  EXPECT_EQ(Serving(), before_);
}

TEST_F(SleepingFilesTest, ACallThatTheChangedModelWouldNotTakeIsRefused) {
  Start();
  GoToSleep();
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.signature.inputs[0].name = "c"; });
  Write("model.onnx", "another model");
  const Status status = Outcome(Begin());
  EXPECT_EQ(status.code(), StatusCode::kUnavailable);
  EXPECT_THAT(status.ToString(), HasSubstr("try again"));
}

TEST_F(IdleTest, ACallInFlightKeepsTheModel) {
  Start();
  runtime_.Update("dummy", [](FakeRuntime::Script& script) {
    script.facts.cpu_only = false;
    script.async = FakeRuntime::Async::kHeld;
  });
  Want({Idle(10)});
  const std::shared_ptr<Answer> answer = Begin();
  ASSERT_TRUE(runtime_.WaitForHeld(1));
  Pass(seconds(25));
  EXPECT_EQ(runtime_.live_models(), 1u);
  runtime_.CompleteAll();
  ASSERT_TRUE(answer->done.WaitFor(seconds(10)));
  EXPECT_TRUE(answer->status.ok());
  EXPECT_TRUE(Eventually([&] { return Pass(seconds(10)), runtime_.live_models() == 0; }));
}

TEST_F(IdleTest, WhatDoesNotFitIsRefusedWithFiguresOrTakesTheRoomOfAnIdleModel) {
  Start({.memory_budget = 100});
  const ModelSettings dummy = Sixty("dummy");
  Want({dummy});
  ASSERT_TRUE(Call().ok());
  Want({dummy, Sixty("other")});
  EXPECT_EQ(StatusOf("other").error.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(Message(StatusOf("other").error)),
              AllOf(HasSubstr("needs about 60 bytes"), HasSubstr("100 of --memory_budget"), HasSubstr("dummy/1 60")));
  EXPECT_TRUE(Call().ok());
  // Nobody has called dummy for a while.
  EXPECT_TRUE(Eventually([&] { return Pass(seconds(2)), StatusOf("other").state == VersionState::kAvailable; }));
  EXPECT_TRUE(Eventually([&] { return runtime_.live_models() == 1; }));
  ASSERT_TRUE(Call("other").ok());
  EXPECT_EQ(Call("dummy").code(), StatusCode::kResourceExhausted);
  Pass(seconds(2));
  // Whoever answers a call gives the infer request back after that.
  EXPECT_TRUE(Eventually([&] { return Call("dummy").ok(); }));
  EXPECT_TRUE(Eventually([&] { return runtime_.live_models() == 1; }));
}

TEST_F(IdleTest, ModelsThatAreCalledTogetherKeepToTheBudgetTogether) {
  Start({.memory_budget = 100});
  std::vector<ModelSettings> models = {Sixty("dummy"), Sixty("other")};
  for (ModelSettings& settings : models) settings.idle_unload_seconds = 10;
  Want({models[0]});
  Pass(seconds(10));
  ASSERT_TRUE(GoesToSleep());
  Want(models);
  Pass(seconds(10));
  ASSERT_TRUE(GoesToSleep());
  // So that both are to be loaded after the same look at their folders.
  const auto mark = [&](const ModelSettings& settings) { return repository_.path() / settings.name / "1/.incomplete"; };
  for (const ModelSettings& settings : models) std::ofstream(mark(settings)) << "";
  const std::vector<std::shared_ptr<Answer>> late = {Begin("dummy", timer_.Now() + seconds(5)),
                                                     Begin("other", timer_.Now() + seconds(5))};
  const std::vector<std::shared_ptr<Answer>> patient = {Begin("dummy"), Begin("other")};
  ASSERT_TRUE(Eventually([&] {
    timer_.Advance(seconds(1));
    return late[0]->done.HasBeenNotified() && late[1]->done.HasBeenNotified();
  }));
  for (const ModelSettings& settings : models) {
    runtime_.Update(settings.name, [](FakeRuntime::Script& script) { script.hold_load = true; });
  }
  const size_t loads = runtime_.loads();
  for (const ModelSettings& settings : models) std::filesystem::remove(mark(settings));
  timer_.Advance(seconds(5));
  const bool answered = Eventually([&] { return patient[0]->done.HasBeenNotified() || patient[1]->done.HasBeenNotified(); });
  EXPECT_TRUE(runtime_.WaitForLoads(loads + 1));
  EXPECT_EQ(runtime_.loads(), loads + 1);
  for (const ModelSettings& settings : models) {
    runtime_.Update(settings.name, [](FakeRuntime::Script& script) { script.hold_load = false; });
  }
  ASSERT_TRUE(answered);
  const size_t refused = patient[0]->done.HasBeenNotified() && !patient[0]->status.ok() ? 0 : 1;
  EXPECT_EQ(patient[refused]->status.code(), StatusCode::kResourceExhausted);
  ASSERT_TRUE(patient[1 - refused]->done.WaitFor(seconds(10)));
  EXPECT_TRUE(patient[1 - refused]->status.ok()) << patient[1 - refused]->status;
}

TEST_F(IdleTest, AModelLargerThanTheBudgetIsRefusedAtOnce) {
  Start({.memory_budget = 59});
  Want({Sixty("dummy")});
  EXPECT_EQ(StatusOf("dummy").state, VersionState::kFailed);
  EXPECT_EQ(runtime_.loads(), 0u);
}

TEST_F(IdleTest, WhatALoadTurnsOutToNeedCounts) {
  Start({.memory_budget = 100});
  const ModelSettings dummy = Sixty("dummy"), other = repository_.Add("other", {1});
  runtime_.Update("other", [](FakeRuntime::Script& script) { script.facts.memory_bytes = 80; });
  Want({dummy});
  ASSERT_TRUE(Call().ok());
  Want({dummy, other});
  EXPECT_EQ(StatusOf("other").error.code(), StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(Message(StatusOf("other").error)), AllOf(HasSubstr("needs about 80 bytes"), HasSubstr("dummy/1 60")));
  EXPECT_TRUE(Eventually([&] { return runtime_.live_models() == 1; }));
  // By now it is known without a load.
  Want({dummy, other});
  EXPECT_EQ(StatusOf("other").error.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(runtime_.loads(), 2u);
  EXPECT_TRUE(Eventually([&] { return Pass(seconds(2)), StatusOf("other").state == VersionState::kAvailable; }));
  EXPECT_TRUE(Eventually([&] { return runtime_.live_models() == 1; })) << "dummy sleeps";
}

TEST_F(IdleTest, AModelThatTurnsOutLargerTakesTheRoomOfAnIdleOne) {
  Start({.memory_budget = 100});
  const ModelSettings dummy = Sixty("dummy"), other = repository_.Add("other", {1});
  runtime_.Update("other", [](FakeRuntime::Script& script) { script.facts.memory_bytes = 80; });
  Want({dummy});
  Pass(seconds(2));
  Want({dummy, other});
  EXPECT_EQ(StatusOf("other").state, VersionState::kAvailable);
  EXPECT_TRUE(Eventually([&] { return runtime_.live_models() == 1; }));
  ASSERT_TRUE(Call("other").ok());
  EXPECT_EQ(Call("dummy").code(), StatusCode::kResourceExhausted);
}

class WarmUpTest : public IdleTest {
 protected:
  // Not measured, so that every inference is one of the warm-up's.
  void SetUp() override {
    runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.facts.steady_cost = false; });
  }
  static std::vector<DecodedRequest> Recorded(int count) {
    std::vector<DecodedRequest> requests;
    for (int i = 0; i < count; ++i) requests.push_back(std::move(TestCall().call->request));
    return requests;
  }
};

TEST_F(WarmUpTest, AVersionRunsMadeUpRequestsBeforeItServes) {
  Start();
  ModelSettings settings = repository_.Add("dummy", {1});
  Want({settings});
  EXPECT_EQ(runtime_.infers(), 1u);
  settings.warm_up.requests = 3;
  Want({settings});
  EXPECT_EQ(runtime_.infers(), 4u);
  settings.warm_up.requests = 0;
  Want({settings});
  EXPECT_EQ(runtime_.infers(), 4u);
}

TEST_F(WarmUpTest, AModelThatRefusesWhatIsMadeUpServesNevertheless) {
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.infer_error = absl::InvalidArgumentError("no zeros"); });
  Start();
  Want({repository_.Add("dummy", {1})});
  EXPECT_EQ(StatusOf("dummy").state, VersionState::kAvailable);
}

TEST_F(WarmUpTest, RecordedRequestsAreRunAndMustSucceed) {
  std::string asked;
  Start({.read_recorded = [&](const std::string& file, const Signature&) {
    asked = file;
    return Recorded(2);
  }});
  ModelSettings settings = repository_.Add("dummy", {1});
  settings.warm_up = {.requests = 3, .file = "/recorded.json"};
  Want({settings});
  EXPECT_EQ(asked, "/recorded.json");
  EXPECT_EQ(runtime_.infers(), 3u);
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.infer_error = absl::InternalError("broken"); });
  settings.nireq = 2;
  Want({settings});
  EXPECT_THAT(std::string(Message(StatusOf("dummy").error)), HasSubstr("warmup: /recorded.json: request 1: broken"));
  EXPECT_EQ((*manager_->Acquire("dummy", 1))->settings().nireq, 0u) << "the old one goes on serving";
}

TEST_F(WarmUpTest, RecordedTextsAreDecodedAsAClientsAre) {
  runtime_.Update("dummy", [](FakeRuntime::Script& script) {
    script.signature.inputs[0].type = ElementType::kUint8;
    script.signature.inputs[0].shape.dims = {Dimension::Dynamic(), Dimension::Dynamic()};
  });
  static constexpr std::string_view kTexts[] = {"ab", "c"};
  int64_t rows = 2;
  Start({.read_recorded = [&](const std::string&, const Signature&) {
    auto requests = Recorded(1);
    TensorView& text = requests[0].inputs[0].tensor;
    text = {.type = ElementType::kBytes, .shape = {rows}};
    text.strings = kTexts;
    return requests;
  }});
  ModelSettings settings = repository_.Add("dummy", {1});
  settings.warm_up = {.requests = 1, .file = "/recorded.json"};
  Want({settings});
  EXPECT_EQ(StatusOf("dummy").state, VersionState::kAvailable) << StatusOf("dummy").error;
  EXPECT_EQ(runtime_.infers(), 1u);
  rows = 3;
  settings.nireq = 2;
  Want({settings});
  EXPECT_THAT(std::string(Message(StatusOf("dummy").error)),
              HasSubstr("warmup: /recorded.json: request 1: Invalid number of values"));
}

TEST_F(WarmUpTest, RecordedRequestsOfAnotherModelAreAFaultOfTheVersion) {
  Start({.read_recorded = [&](const std::string&, const Signature&) {
    auto requests = Recorded(1);
    requests[0].inputs[0].name = "c";
    return requests;
  }});
  ModelSettings settings = repository_.Add("dummy", {1});
  settings.warm_up.file = "/recorded.json";
  Want({settings});
  EXPECT_EQ(StatusOf("dummy").state, VersionState::kFailed);
  EXPECT_THAT(std::string(Message(StatusOf("dummy").error)), HasSubstr("warmup"));
}

}  // namespace
}  // namespace switchyard
