#include "control/model_control.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/test_http_server.h"
#include "config/config_file.h"
#include "runtime/fake/fake_runtime.h"
#include "serving/test_calls.h"

namespace switchyard {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// The answer of one call, and a way to wait for it.
struct Answered {
  Notification done;
  ControlOutcome outcome;
  int code() const { return outcome.status.ok() ? (outcome.changed ? 201 : 200) : HttpCode(outcome.status.code()); }
};

class ModelControlTest : public testing::Test {
 protected:
  void Start(ModelControl::Options options = {}) {
    if (std::filesystem::exists(config_)) {
      options.config_path = config_;
      options.models = ReadWholeConfig(*ReadConfigText(config_), repository_.path()).file.models;
    }
    manager_ = std::make_unique<Manager>(runtime_, timer_, Manager::Options{});
    control_ = std::make_unique<ModelControl>(*manager_, runtime_, std::move(options));
    control_->Start();
    manager_->WaitForLoads();
  }
  void TearDown() override {
    control_.reset();
    manager_.reset();
  }

  void Write(const std::string& text) {
    std::ofstream(config_ + ".new") << text;
    std::filesystem::rename(config_ + ".new", config_);
  }
  // Entries by name, with what stands beside it.
  void WriteModels(const std::vector<std::pair<std::string, std::string>>& models) {
    std::string text;
    for (const auto& [name, members] : models) {
      // Files that are there are not touched: that would be a change.
      if (!std::filesystem::exists(repository_.path() / name)) repository_.Add(name, {1});
      text += fmt::format(R"({}{{"config": {{"name": "{}"{}{}}}}})", text.empty() ? "" : ",", name, members.empty() ? "" : ", ",
                          members);
    }
    Write(R"({"model_config_list": [)" + text + "]}");
  }

  std::shared_ptr<Answered> Ask(const std::function<void(ModelControl::Done)>& call) {
    auto answered = std::make_shared<Answered>();
    call([answered](const ControlOutcome& outcome) {
      answered->outcome = outcome;
      answered->done.Notify();
    });
    return answered;
  }
  std::shared_ptr<Answered> Wait(std::shared_ptr<Answered> answered) {
    EXPECT_TRUE(answered->done.WaitFor(std::chrono::seconds(20)));
    return answered;
  }
  std::shared_ptr<Answered> StartReload() {
    return Ask([this](ModelControl::Done done) { control_->Reload(std::move(done)); });
  }
  std::shared_ptr<Answered> Reload() { return Wait(StartReload()); }
  std::shared_ptr<Answered> StartLoad(const std::string& model, std::optional<std::string> entry = {}) {
    return Ask([&](ModelControl::Done done) { control_->Load(model, std::move(entry), std::move(done)); });
  }
  std::shared_ptr<Answered> Load(const std::string& model, std::optional<std::string> entry = {}) {
    return Wait(StartLoad(model, std::move(entry)));
  }
  std::shared_ptr<Answered> Unload(const std::string& model) {
    return Wait(Ask([&](ModelControl::Done done) { control_->Unload(model, std::move(done)); }));
  }
  bool Serves(const std::string& model) { return manager_->Acquire(model, std::nullopt).ok(); }
  std::string StateOf(const std::string& model) {
    for (const IndexedModel& row : control_->Index()) {
      if (row.name == model) return row.state;
    }
    return "not there";
  }

  TempRepository repository_;
  const std::string config_ = (repository_.path() / "config.json").string();
  FakeRuntime runtime_;
  ThreadTimer timer_;
  std::unique_ptr<Manager> manager_;
  std::unique_ptr<ModelControl> control_;
};

TEST_F(ModelControlTest, AReloadTakesWhatChanged) {
  WriteModels({{"a", ""}, {"b", ""}});
  Start();
  EXPECT_FALSE(control_->LastReload().has_value());
  EXPECT_EQ(Reload()->code(), 200);
  EXPECT_EQ(control_->LastReload()->code, 200);
  WriteModels({{"a", R"("nireq": 3)"}, {"c", ""}});
  EXPECT_EQ(Reload()->code(), 201);
  EXPECT_TRUE(Serves("a") && Serves("c"));
  EXPECT_FALSE(Serves("b"));
  EXPECT_EQ((*manager_->Acquire("a", std::nullopt))->settings().nireq, 3u);
  EXPECT_EQ(Reload()->code(), 200);
}

TEST_F(ModelControlTest, ANewVersionFolderIsFoundByAReload) {
  WriteModels({{"a", ""}});
  Start();
  repository_.Add("a", {2});
  EXPECT_EQ(Reload()->code(), 201);
  EXPECT_EQ((*manager_->Acquire("a", std::nullopt))->number(), 2);
}

TEST_F(ModelControlTest, AnyFaultAndNothingChanges) {
  WriteModels({{"a", ""}, {"b", ""}});
  Start();
  Write(R"({"model_config_list": [{"config": {"name": "a", "nireq": 5}}, {"config": {"name": "c", "base_path": "nowhere"}},
      {"config": {"name": "b", "target_device": "GPU"}}, {"config": {"name": "d", "nireq": "x"}}]})");
  const auto answer = Reload();
  EXPECT_EQ(answer->code(), 400);
  std::vector<std::string> pointers;
  for (const ConfigFault& fault : answer->outcome.faults) pointers.push_back(fault.pointer);
  EXPECT_THAT(pointers, testing::UnorderedElementsAre(
                            "/model_config_list/1/config/base_path", "/model_config_list/2/config/target_device",
                            "/model_config_list/3/config/nireq", "/model_config_list/3/config/base_path"));
  EXPECT_TRUE(Serves("a") && Serves("b"));
  EXPECT_EQ((*manager_->Acquire("a", std::nullopt))->settings().nireq, 0u);
  EXPECT_EQ(runtime_.loads(), 2u);
  EXPECT_EQ(control_->LastReload()->code, 400);
  EXPECT_EQ(control_->LastReload()->faults, answer->outcome.faults);
  std::filesystem::remove(config_);
  EXPECT_EQ(Reload()->code(), 400);
  EXPECT_TRUE(Serves("a"));
}

// What a start took stands in no later change's way.
TEST_F(ModelControlTest, AnEntryThatIsAsBeforeMayLackItsDevice) {
  WriteModels({{"a", ""}, {"g", R"("target_device": "GPU")"}});
  Start();
  EXPECT_TRUE(Serves("a") && !Serves("g"));
  EXPECT_EQ(Reload()->code(), 200);
  WriteModels({{"a", ""}, {"g", R"("target_device": "GPU")"}, {"c", ""}});
  EXPECT_EQ(Reload()->code(), 201);
  EXPECT_TRUE(Serves("a") && Serves("c"));
  WriteModels({{"a", ""}, {"g", R"("target_device": "GPU", "nireq": 2)"}, {"c", ""}});
  const auto answer = Reload();
  EXPECT_EQ(answer->code(), 400);
  ASSERT_EQ(answer->outcome.faults.size(), 1u);
  EXPECT_EQ(answer->outcome.faults[0].pointer, "/model_config_list/1/config/target_device");
  EXPECT_EQ(Load("g")->code(), 400) << "it is asked for now";
}

TEST_F(ModelControlTest, OneReloadThatIsCalledForAtATime) {
  WriteModels({{"a", ""}});
  Start();
  runtime_.Update("b", [](FakeRuntime::Script& script) { script.hold_load = true; });
  WriteModels({{"a", ""}, {"b", ""}});
  const auto first = StartReload();
  ASSERT_TRUE(runtime_.WaitForLoads(2));
  EXPECT_EQ(Reload()->code(), 409);
  EXPECT_EQ(Load("a")->code(), 201) << "another model's change does not wait for it";
  runtime_.Update("b", [](FakeRuntime::Script& script) { script.hold_load = false; });
  EXPECT_EQ(Wait(first)->code(), 201);
  EXPECT_EQ(Reload()->code(), 200);
}

TEST_F(ModelControlTest, StorageThatDripsDoesNotHoldUpTheEnd) {
  Notification asked;
  TestHttpServer storage([&](const std::string&, const TestHttpServer::Send& send) {
    send("HTTP/1.1 200 X\r\nConnection: close\r\n\r\n");
    if (!asked.HasBeenNotified()) asked.Notify();
    while (send("..")) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  });
  WriteModels({{"a", ""}});
  Start();
  const auto load = StartLoad("c", fmt::format(R"({{"base_path": "s3://{}/b/m"}})", storage.address()));
  ASSERT_TRUE(asked.WaitFor(std::chrono::seconds(20)));
  const auto behind = StartLoad("a");
  const auto begin = std::chrono::steady_clock::now();
  control_->Finish();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
  for (const auto& answer : {load, behind}) EXPECT_EQ(Wait(answer)->outcome.status.code(), StatusCode::kUnavailable);
  EXPECT_EQ(StateOf("c"), "not there") << "nothing is made of what was not checked";
}

TEST_F(ModelControlTest, TheFileIsWatched) {
  WriteModels({{"a", ""}});
  Start({.poll = std::chrono::milliseconds(10)});
  WriteModels({{"b", ""}});
  for (int i = 0; i < 1000 && !Serves("b"); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_TRUE(Serves("b"));
  EXPECT_FALSE(Serves("a"));
  for (int i = 0; i < 1000 && !control_->LastReload(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  ASSERT_TRUE(control_->LastReload().has_value());
  EXPECT_FALSE(control_->LastReload()->by_call);
  EXPECT_EQ(control_->LastReload()->code, 201);
}

TEST_F(ModelControlTest, ModelsAreLoadedAndUnloadedByCalls) {
  WriteModels({{"a", ""}});
  Start();
  repository_.Add("x", {1});
  EXPECT_EQ(Load("x")->code(), 404);
  EXPECT_EQ(Load("x", R"({"nireq": 2})")->code(), 400) << "no path is known";
  EXPECT_EQ(Load("x", R"({"base_path": "x", "nireq": 2})")->code(), 201);
  EXPECT_EQ((*manager_->Acquire("x", std::nullopt))->settings().nireq, 2u);
  EXPECT_EQ(StateOf("x"), "READY");
  EXPECT_EQ(Unload("x")->code(), 201);
  EXPECT_FALSE(Serves("x"));
  EXPECT_EQ(StateOf("x"), "UNAVAILABLE");
  EXPECT_EQ(Load("x")->code(), 201) << "as it was loaded before";
  EXPECT_EQ((*manager_->Acquire("x", std::nullopt))->settings().nireq, 2u);
  EXPECT_EQ(Unload("a")->code(), 201);
  EXPECT_FALSE(Serves("a"));
  EXPECT_EQ(Unload("nobody")->code(), 404);
  EXPECT_EQ(Reload()->code(), 200) << "config.json says nothing new of it";
  EXPECT_FALSE(Serves("a"));
}

TEST_F(ModelControlTest, ALoadThatFailsSaysWhy) {
  WriteModels({{"a", ""}});
  Start();
  repository_.Add("x", {1});
  runtime_.Update("x", [](FakeRuntime::Script& script) { script.load_error = InvalidArgument("the file is broken"); });
  const auto answer = Load("x", R"({"base_path": "x"})");
  EXPECT_EQ(answer->code(), 400);
  EXPECT_THAT(std::string(Message(answer->outcome.status)), HasSubstr("the file is broken"));
  EXPECT_EQ(StateOf("x"), "not there");
  runtime_.Update("a", [](FakeRuntime::Script& script) { script.load_error = InvalidArgument("out of luck"); });
  const auto again = Load("a", R"({"nireq": 4})");
  EXPECT_THAT(std::string(Message(again->outcome.status)), HasSubstr("goes on serving: out of luck"));
  EXPECT_TRUE(Serves("a"));
}

TEST_F(ModelControlTest, NothingIsKeptOfALoadThatFailed) {
  WriteModels({{"a", R"("nireq": 2)"}});
  Start();
  const auto fail = [this](bool fails) {
    runtime_.Update("a", [fails](FakeRuntime::Script& script) {
      script.load_error = fails ? InvalidArgument("out of luck") : absl::OkStatus();
    });
  };
  const auto serves_as_before = [this] { return (*manager_->Acquire("a", std::nullopt))->settings().nireq == 2u; };
  fail(true);
  EXPECT_EQ(Load("a", R"({"nireq": 4})")->code(), 400);
  EXPECT_TRUE(serves_as_before());
  EXPECT_EQ(StateOf("a"), "READY");
  fail(false);
  EXPECT_EQ(Load("a")->code(), 201) << "the settings that failed were kept";
  EXPECT_TRUE(serves_as_before());
  fail(true);
  EXPECT_EQ(Load("a", R"({"nireq": 4})")->code(), 400);
  fail(false);
  EXPECT_EQ(Unload("a")->code(), 201);
  EXPECT_EQ(Load("a")->code(), 201);
  EXPECT_TRUE(serves_as_before());
  // A model that was not there before is not there after, nor tried again.
  repository_.Add("x", {1});
  runtime_.Update("x", [](FakeRuntime::Script& script) { script.load_error = InvalidArgument("the file is broken"); });
  EXPECT_EQ(Load("x", R"({"base_path": "x"})")->code(), 400);
  EXPECT_EQ(StateOf("x"), "not there");
  EXPECT_EQ(Load("x")->code(), 404);
}

// As at a start.
TEST_F(ModelControlTest, AFolderWithoutACompleteSetKeepsNoLoadFromBeingTaken) {
  WriteModels({{"a", ""}});
  std::filesystem::create_directories(repository_.path() / "a/9");
  Start({.mode = ModelControlMode::kExplicit});
  const auto nireq = [this] {
    const auto handle = manager_->Acquire("a", std::nullopt);
    return handle.ok() ? static_cast<int64_t>((*handle)->settings().nireq) : -1;
  };
  EXPECT_EQ(Load("a")->code(), 201);
  EXPECT_EQ(nireq(), 0);
  EXPECT_EQ(Load("a", R"({"nireq": 4})")->code(), 201);
  EXPECT_EQ(nireq(), 4);
  EXPECT_EQ(Load("a")->code(), 201);
  EXPECT_EQ(nireq(), 4) << "what was loaded was taken back";
}

TEST_F(ModelControlTest, ALoadOfFilesThatAreNotWholeInTimeIsNoSuccess) {
  ManualTimer timer;
  const Duration settle = std::chrono::hours(1);
  manager_ = std::make_unique<Manager>(runtime_, timer, Manager::Options{.settle = settle});
  control_ = std::make_unique<ModelControl>(*manager_, runtime_, ModelControl::Options{});
  control_->Start();
  const ModelSettings settings = repository_.Add("x", {1});
  const auto load = StartLoad("x", fmt::format(R"({{"base_path": "{}"}})", settings.base_path));
  const auto seen = [this] {
    const auto status = manager_->StatusOf("x");
    return status.ok() && status->versions[0].version == 1;
  };
  for (int i = 0; i < 10000 && !seen(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  ASSERT_TRUE(seen());
  std::ofstream(repository_.path() / "x/1/.incomplete");
  for (int i = 0; i < 10000 && !load->done.HasBeenNotified(); ++i) {
    timer.Advance(settle);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(Wait(load)->code(), 503);
  EXPECT_THAT(std::string(Message(load->outcome.status)), HasSubstr("the files of version 1 are not whole"));
  EXPECT_EQ(StateOf("x"), "not there");
  control_.reset();
  manager_.reset();
}

TEST_F(ModelControlTest, AVersionThatIsMarkedIncompleteIsNotLoadedAndStandsInNoOtherModelsWay) {
  WriteModels({{"a", ""}});
  Start();
  repository_.Add("x", {1});
  for (const char* model : {"a", "x"}) std::ofstream(repository_.path() / model / "1/.incomplete");
  const auto refused = Load("x", R"({"base_path": "x"})");
  EXPECT_EQ(refused->code(), 400);
  EXPECT_THAT(std::string(Message(refused->outcome.status)), HasSubstr("which is marked .incomplete"));
  WriteModels({{"a", ""}, {"b", ""}});
  EXPECT_EQ(Reload()->code(), 201);
  EXPECT_TRUE(Serves("a") && Serves("b"));
}

TEST_F(ModelControlTest, ACallAboutOneModelTouchesNoOther) {
  WriteModels({{"a", ""}, {"b", ""}, {"g", R"("target_device": "GPU")"}});
  Start();
  // Its device is not there: it is not tried again by itself.
  const auto tries_of_g = [this] {
    const std::string page = manager_->metrics().Text();
    const std::string series = R"(switchyard_load_failures_total{model="g",reason="NOT_FOUND"} )";
    const size_t at = page.find(series);
    return at == page.npos ? "" : page.substr(at + series.size(), 1);
  };
  EXPECT_EQ(tries_of_g(), "1");
  const size_t loads = runtime_.loads();
  std::ofstream(repository_.path() / "a/1/model.onnx") << "changed";
  repository_.Add("x", {1});
  runtime_.Update("x", [](FakeRuntime::Script& script) { script.load_error = InvalidArgument("the file is broken"); });
  EXPECT_EQ(Load("x", R"({"base_path": "x"})")->code(), 400);
  EXPECT_EQ(Load("b")->code(), 201);
  EXPECT_EQ(Unload("b")->code(), 201);
  EXPECT_EQ(runtime_.loads(), loads + 1);
  EXPECT_EQ(tries_of_g(), "1");
  EXPECT_EQ(Reload()->code(), 201) << "which looks at all of them";
  EXPECT_EQ(runtime_.loads(), loads + 2);
  EXPECT_EQ(tries_of_g(), "2");
}

TEST_F(ModelControlTest, AnAliasStandsForItsModel) {
  WriteModels({{"a", R"("aliases": ["front"])"}});
  Start();
  EXPECT_EQ(Unload("front")->code(), 201);
  EXPECT_FALSE(Serves("a"));
  EXPECT_EQ(Load("front")->code(), 201);
  EXPECT_TRUE(Serves("a") && Serves("front"));
  repository_.Add("x", {1});
  const auto refused = Load("front", R"({"base_path": "x"})");
  EXPECT_EQ(refused->code(), 400);
  ASSERT_EQ(refused->outcome.faults.size(), 1u);
  EXPECT_EQ(refused->outcome.faults[0].pointer, "/name");
}

TEST_F(ModelControlTest, OnlyTheApiLoads) {
  WriteModels({{"a", ""}, {"b", ""}});
  Start({.mode = ModelControlMode::kExplicit, .poll = std::chrono::milliseconds(10)});
  EXPECT_FALSE(Serves("a"));
  EXPECT_EQ(StateOf("a"), "UNAVAILABLE");
  EXPECT_EQ(Load("a")->code(), 201);
  EXPECT_TRUE(Serves("a"));
  EXPECT_FALSE(Serves("b"));
}

TEST_F(ModelControlTest, NobodyChangesWhatIsFixed) {
  WriteModels({{"a", ""}});
  Start({.mode = ModelControlMode::kNone});
  EXPECT_TRUE(Serves("a"));
  EXPECT_EQ(Reload()->code(), 403);
  EXPECT_EQ(Load("a")->code(), 403);
  EXPECT_EQ(Unload("a")->code(), 403);
  EXPECT_TRUE(Serves("a"));
}

TEST_F(ModelControlTest, AListOfModelsReplacesWhatIsServed) {
  WriteModels({{"a", R"("nireq": 2)"}, {"b", ""}});
  Start();
  ModelSettings c = repository_.Add("c", {1, 2});
  VersionPolicy all{.kind = VersionPolicy::Kind::kAll};
  const auto replace = [&](std::vector<ModelControl::ListedModel> models) {
    return Wait(Ask([&](ModelControl::Done done) { control_->Replace(std::move(models), std::move(done)); }));
  };
  EXPECT_EQ(replace({{"a", (repository_.path() / "a").string(), all, {}}, {"c", c.base_path, all, {{"stable", 1}}}})->code(),
            201);
  EXPECT_TRUE(Serves("a") && Serves("c"));
  EXPECT_FALSE(Serves("b"));
  EXPECT_EQ((*manager_->Acquire("a", std::nullopt))->settings().nireq, 2u) << "the other settings stay";
  EXPECT_EQ((*manager_->Acquire("c", std::nullopt, {"stable"}))->number(), 1);
  const auto refused = replace({{"c", c.base_path, {}, {{"stable", 1}}}, {"d", "nowhere", {}, {}}});
  EXPECT_EQ(refused->code(), 400);
  EXPECT_EQ(refused->outcome.faults.size(), 2u);
  EXPECT_TRUE(Serves("a") && Serves("c"));
}

TEST_F(ModelControlTest, TheEndAnswersEveryCall) {
  Start();
  repository_.Add("x", {1});
  runtime_.Update("x", [](FakeRuntime::Script& script) { script.hold_load = true; });
  const auto waits = StartLoad("x", R"({"base_path": ")" + (repository_.path() / "x").string() + "\"}");
  ASSERT_TRUE(runtime_.WaitForLoads(1));
  control_->Stop();
  EXPECT_EQ(Wait(waits)->code(), 503);
  EXPECT_EQ(Load("x")->code(), 503);
  EXPECT_EQ(Reload()->code(), 503);
  runtime_.Update("x", [](FakeRuntime::Script& script) { script.hold_load = false; });
}

}  // namespace
}  // namespace switchyard
