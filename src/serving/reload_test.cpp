// Models come, change and go while calls are made.
#include <absl/strings/match.h>
#include <absl/strings/str_split.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <thread>

#include "config/setting_mark.h"
#include "runtime/fake/fake_runtime.h"
#include "serving/executor.h"
#include "serving/test_calls.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;
using std::chrono::hours;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::HasSubstr;

class ReloadTest : public testing::Test {
 protected:
  void Start(Manager::Options options = {}) { manager_ = std::make_unique<Manager>(runtime_, timer_, std::move(options)); }
  // The kernel tells of changes; polls are too far apart to help.
  void StartWatching(Duration settle = Duration::zero()) { Start({.watch_poll = hours(1), .settle = settle}); }
  void Want(std::vector<ModelSettings> models, std::vector<FaultyModel> faulty = {}) {
    manager_->SetWanted(std::move(models), std::move(faulty));
    manager_->WaitForLoads();
  }
  int64_t Serving(std::optional<int64_t> version = std::nullopt) {
    const auto handle = manager_->Acquire("dummy", version);
    return handle.ok() ? (*handle)->number() : -1;
  }
  VersionStatus StatusOf(int64_t version) {
    const ModelStatus model_status = *manager_->StatusOf("dummy");
    for (const VersionStatus& status : model_status.versions) {
      if (status.version == version) return status;
    }
    return {};
  }
  static bool Eventually(const std::function<bool()>& condition) {
    const auto end = std::chrono::steady_clock::now() + seconds(10);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) return false;
      std::this_thread::yield();
    }
    return true;
  }
  fs::path Folder() const { return repository_.path() / "dummy"; }
  // The whole version appears at once.
  void AddVersion(int number) const {
    repository_.Add("staging", {number});
    fs::rename(repository_.path() / "staging" / std::to_string(number), Folder() / std::to_string(number));
  }
  void Write(const std::string& file, const std::string& text) const { std::ofstream(Folder() / file) << text; }

  FakeRuntime runtime_;
  ManualTimer timer_;
  TempRepository repository_;
  std::unique_ptr<Manager> manager_;
};

// Threads that call the model without a pause, and count what fails.
class Callers {
 public:
  explicit Callers(Manager& manager) : manager_(manager) {
    for (int i = 0; i < 8; ++i) threads_.emplace_back([this, i] { Run(static_cast<float>(i)); });
  }
  ~Callers() { Stop(); }
  void Stop() {
    stopping_.store(true);
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }
  uint64_t answered() const { return answered_.load(); }
  std::string fault() const {
    MutexLock lock(&mutex_);
    return fault_;
  }

 private:
  void Run(float value) {
    while (!stopping_.load()) {
      TestCall test(value);
      auto handle = manager_.Acquire("dummy", std::nullopt);
      if (!handle.ok()) {
        Fail(handle.status().ToString());
        continue;
      }
      const std::shared_ptr<Answer> answer = test.answer;
      Infer(*std::move(handle), std::exchange(test.call, nullptr));
      answer->done.WaitForNotification();
      if (!answer->status.ok()) Fail(answer->status.ToString());
      if (answer->status.ok() && answer->values != std::vector<float>(10, value + 1)) Fail("a wrong answer");
      ++answered_;
    }
  }
  void Fail(const std::string& why) {
    MutexLock lock(&mutex_);
    fault_ = why;
  }

  Manager& manager_;
  std::atomic<bool> stopping_{false};
  std::atomic<uint64_t> answered_{0};
  mutable Mutex mutex_;
  std::string fault_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;
};

TEST_F(ReloadTest, ANewVersionIsNoticedAndTakesOver) {
  StartWatching();
  Want({repository_.Add("dummy", {1})});
  EXPECT_EQ(Serving(), 1);
  repository_.Add("dummy", {2});
  EXPECT_TRUE(Eventually([&] { return Serving() == 2; }));
  EXPECT_TRUE(Eventually([&] { return StatusOf(1).state == VersionState::kGone && runtime_.live_models() == 1; }));
  fs::remove_all(Folder() / "2");
  EXPECT_TRUE(Eventually([&] { return Serving() == 1; }));
}

TEST_F(ReloadTest, PoliciesDecideOverWhatComesAndGoes) {
  StartWatching();
  ModelSettings settings = repository_.Add("dummy", {1, 2});
  settings.version_policy = {.kind = VersionPolicy::Kind::kSpecific, .versions = {1, 3}};
  Want({settings});
  EXPECT_EQ(Serving(), 1);
  AddVersion(4), AddVersion(3);
  EXPECT_TRUE(Eventually([&] { return Serving() == 3; }));
  EXPECT_EQ(Serving(1), 1);
  EXPECT_EQ(Serving(4), -1);
  const size_t loads = runtime_.loads();
  settings.version_policy = {.kind = VersionPolicy::Kind::kAll};
  Want({settings});
  EXPECT_EQ(Serving(), 4);
  EXPECT_EQ(runtime_.loads(), loads + 2) << "what serves already was loaded again";
}

TEST_F(ReloadTest, ChangedFilesAreANewVersion) {
  StartWatching();
  Want({repository_.Add("dummy", {1})});
  const Version* before = manager_->Acquire("dummy", 1)->operator->();
  Write("1/model.onnx", "changed");
  EXPECT_TRUE(Eventually([&] { return runtime_.loads() == 2 && manager_->Acquire("dummy", 1)->operator->() != before; }));
  EXPECT_TRUE(Eventually([&] { return runtime_.live_models() == 1; }));
  Want({repository_.Add("dummy", {})});
  EXPECT_EQ(runtime_.loads(), 2u) << "nothing has changed";
}

// What read some files before and some after a change is no model of anybody's. Nothing tells of the change here.
TEST_F(ReloadTest, FilesThatChangeWhileTheyAreLoadedAreLoadedAgainBeforeTheyServe) {
  Start();
  const auto hold = [this](bool held) {
    runtime_.Update("dummy", [held](FakeRuntime::Script& script) { script.hold_load = held; });
  };
  hold(true);
  manager_->SetWanted({repository_.Add("dummy", {1})}, {});
  ASSERT_TRUE(runtime_.WaitForLoads(1));
  Write("1/model.onnx", "changed");
  hold(false);
  manager_->WaitForLoads();
  EXPECT_EQ(Serving(), 1);
  EXPECT_EQ(runtime_.loads(), 2u);
  EXPECT_TRUE(Eventually([&] { return runtime_.live_models() == 1; }));
  // The same beside one that serves.
  ModelSettings settings = repository_.Add("dummy", {});
  settings.nireq = 3;
  hold(true);
  manager_->SetWanted({settings}, {});
  ASSERT_TRUE(runtime_.WaitForLoads(3));
  Write("1/model.onnx", "changed again");
  EXPECT_EQ(Serving(), 1);
  hold(false);
  manager_->WaitForLoads();
  EXPECT_EQ(Serving(), 1);
  EXPECT_EQ(runtime_.loads(), 4u);
}

TEST_F(ReloadTest, FilesThatChangeAreNotTakenBeforeTheyAreQuiet) {
  StartWatching(hours(1));
  const ModelSettings settings = repository_.Add("dummy", {1});
  manager_->SetWanted({settings}, {});
  ASSERT_TRUE(Eventually([&] { return timer_.pending() > 1; }));
  EXPECT_EQ(Serving(), -1);
  EXPECT_EQ(StatusOf(1).state, VersionState::kWanted);
  timer_.Advance(hours(1));
  EXPECT_TRUE(Eventually([&] { return timer_.Advance(seconds(1)), Serving() == 1; }));
  // Half of a copy: the old one serves; a marker says that all is there.
  AddVersion(2);
  EXPECT_TRUE(Eventually([&] { return StatusOf(2).version == 2; }));
  EXPECT_EQ(StatusOf(2).state, VersionState::kWanted);
  EXPECT_EQ(Serving(), 1);
  Write("2/.complete", "");
  EXPECT_TRUE(Eventually([&] { return Serving() == 2; }));
}

TEST_F(ReloadTest, AMarkerHoldsAVersionBackHoweverQuietItIs) {
  StartWatching();
  const ModelSettings settings = repository_.Add("dummy", {1, 2});
  Write("2/.incomplete", "");
  Want({settings});
  EXPECT_EQ(Serving(), 1);
  timer_.Advance(hours(2));
  manager_->WaitForLoads();
  EXPECT_EQ(Serving(), 1);
  fs::remove(Folder() / "2/.incomplete");
  EXPECT_TRUE(Eventually([&] { return Serving() == 2; }));
}

// A reload that is asked for waits for what a removed version leads to, as it does for files that settle.
TEST_F(ReloadTest, AnAskedForReloadWaitsUntilARemovedVersionHasGone) {
  Start({.settle = hours(1)});
  const ModelSettings settings = repository_.Add("dummy", {1, 2});
  Write("1/.complete", "");
  Write("2/.complete", "");
  Want({settings});
  ASSERT_EQ(Serving(), 2);
  fs::remove_all(Folder() / "2");
  manager_->SetWanted({settings}, {});
  ASSERT_TRUE(Eventually([&] { return timer_.Advance(seconds(60)), !manager_->LoadPending("dummy"); }));
  EXPECT_EQ(Serving(), 1);
  EXPECT_EQ(StatusOf(2).state, VersionState::kGone);
}

// mkdir, then copy: an ordinary deployment.
TEST_F(ReloadTest, AFolderThatIsStillEmptyIsNoFaultBeforeItIsQuiet) {
  StartWatching(hours(1));
  ModelSettings settings = repository_.Add("dummy", {1});
  Write("1/.complete", "");
  Want({settings});
  fs::create_directories(Folder() / "2");
  EXPECT_TRUE(Eventually([&] { return StatusOf(2).version == 2; }));
  EXPECT_EQ(StatusOf(2).state, VersionState::kWanted);
  EXPECT_TRUE(StatusOf(2).error.ok()) << StatusOf(2).error;
  Write("2/model.xml", "one of two");
  timer_.Advance(hours(1));
  EXPECT_TRUE(Eventually([&] { return timer_.Advance(hours(1)), StatusOf(2).state == VersionState::kFailed; }));
  EXPECT_THAT(std::string(Message(StatusOf(2).error)), HasSubstr("lacks model.bin beside model.xml"));
  EXPECT_EQ(Serving(), 1);
}

TEST_F(ReloadTest, APolicyThatAsksForWhatIsNotThereSaysWhatIs) {
  Start();
  ModelSettings settings = repository_.Add("dummy", {1, 2, 3});
  settings.version_policy = {.kind = VersionPolicy::Kind::kSpecific, .versions = {9}};
  Want({settings});
  EXPECT_THAT(std::string(Message(StatusOf(0).error)), AllOf(HasSubstr("asks for 9"), HasSubstr("there are 1, 2, 3")));
}

TEST_F(ReloadTest, AnIncompleteVersionLeavesTheOneBeforeItServing) {
  StartWatching();
  Want({repository_.Add("dummy", {1})});
  fs::create_directories(Folder() / "2");
  EXPECT_TRUE(Eventually([&] { return StatusOf(2).state == VersionState::kFailed; }));
  EXPECT_THAT(std::string(Message(StatusOf(2).error)), HasSubstr("no complete set"));
  EXPECT_EQ(Serving(), 1);
  Write("2/model.onnx", "now it is there");
  EXPECT_TRUE(Eventually([&] { return Serving() == 2; }));
}

TEST_F(ReloadTest, AHigherFolderWithoutACompleteSetKeepsNoVersionThatWasReplaced) {
  StartWatching();
  const ModelSettings settings = repository_.Add("dummy", {1});
  fs::create_directories(Folder() / "9");
  Want({settings});
  EXPECT_EQ(Serving(), 1);
  EXPECT_TRUE(StatusOf(9).untaken);
  EXPECT_FALSE(StatusOf(1).untaken);
  const auto takes_over = [this](int number) {
    AddVersion(number);
    return Eventually([&] { return Serving() == number && StatusOf(number - 1).state == VersionState::kGone; });
  };
  EXPECT_TRUE(takes_over(2));
  EXPECT_TRUE(Eventually([&] { return runtime_.live_models() == 1; }));
  Write("9/.incomplete", "");
  Write("9/model.onnx", "half of it");
  EXPECT_TRUE(takes_over(3));
  // Where nothing else is there to be loaded, what serves goes on.
  for (const char* version : {"1", "2", "3"}) fs::remove_all(Folder() / version);
  Want({settings});
  EXPECT_EQ(Serving(), 3);
  EXPECT_TRUE(StatusOf(9).untaken);
}

TEST_F(ReloadTest, AVersionThatIsTakenOutGoesAlsoWhileAnotherFails) {
  runtime_.Update("dummy/3", [](FakeRuntime::Script& script) { script.load_error = absl::InternalError("corrupt"); });
  StartWatching();
  ModelSettings settings = repository_.Add("dummy", {1, 2, 3});
  settings.version_policy = {.kind = VersionPolicy::Kind::kAll};
  Want({settings});
  EXPECT_EQ(Serving(1), 1);
  EXPECT_EQ(Serving(), 2);
  fs::remove_all(Folder() / "1");
  EXPECT_TRUE(Eventually([&] { return Serving(1) == -1; }));
  EXPECT_EQ(Serving(), 2);
  // And one that the policy names no more, but not before there is another to call, or as long as a label has no other.
  AddVersion(4);
  settings.version_policy = {.kind = VersionPolicy::Kind::kSpecific, .versions = {3, 4}};
  settings.labels = {{"stable", 4}};
  Want({settings});
  EXPECT_EQ(Serving(), 4);
  EXPECT_TRUE(Eventually([&] { return Serving(2) == -1; }));
  settings.version_policy.versions = {3};
  settings.labels = {{"stable", 3}};
  Want({settings});
  EXPECT_EQ(Serving(), 4);
  AddVersion(5);
  settings.version_policy.versions = {3, 5};
  Want({settings});
  EXPECT_EQ(Serving(), 5);
  EXPECT_EQ(Serving(4), 4);
  settings.labels = {};
  Want({settings});
  EXPECT_TRUE(Eventually([&] { return Serving(4) == -1; }));
}

TEST_F(ReloadTest, AVersionThatDoesNotLoadLeavesTheOneBeforeItServingAndIsTriedAgainMoreAndMoreSeldom) {
  StartWatching();
  Want({repository_.Add("dummy", {1})});
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.load_error = absl::InternalError("corrupt"); });
  AddVersion(2);
  ASSERT_TRUE(Eventually([&] { return StatusOf(2).state == VersionState::kFailed; }));
  EXPECT_EQ(Message(StatusOf(2).error), "corrupt");
  EXPECT_EQ(Serving(), 1);
  EXPECT_EQ(StatusOf(1).state, VersionState::kAvailable);
  size_t loads = runtime_.loads();
  std::vector<int> waits;
  for (int wait = 1; waits.size() < 10; wait = std::min(2 * wait, 300)) {
    timer_.Advance(seconds(wait) - std::chrono::milliseconds(1));
    manager_->WaitForLoads();
    EXPECT_EQ(runtime_.loads(), loads) << "sooner than " << wait << " s";
    timer_.Advance(std::chrono::milliseconds(1));
    manager_->WaitForLoads();
    EXPECT_EQ(runtime_.loads(), ++loads) << "not after " << wait << " s";
    waits.push_back(wait);
  }
  EXPECT_THAT(waits, ElementsAre(1, 2, 4, 8, 16, 32, 64, 128, 256, 300));
  EXPECT_EQ(Serving(), 1);
  // Other files are tried at once, and from one second on when they fail too.
  Write(".other", "other");
  fs::rename(Folder() / ".other", Folder() / "2/model.onnx");
  ASSERT_TRUE(Eventually([&] { return runtime_.loads() == loads + 1 && StatusOf(2).state == VersionState::kFailed; }));
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.load_error = absl::OkStatus(); });
  timer_.Advance(seconds(1));
  EXPECT_TRUE(Eventually([&] { return Serving() == 2; }));
  EXPECT_TRUE(Eventually([&] { return StatusOf(1).state == VersionState::kGone; }));
}

TEST_F(ReloadTest, OfTheLatestVersionsOneThatDoesNotLoadHasAnOlderOneInItsPlaceUntilItDoes) {
  const auto corrupt = [this](int version, const Status& error = absl::InternalError("corrupt")) {
    runtime_.Update(fmt::format("dummy/{}", version), [&](FakeRuntime::Script& script) { script.load_error = error; });
  };
  corrupt(3), corrupt(4);
  Start();
  ModelSettings settings = repository_.Add("dummy", {1, 2, 3, 4});
  Want({settings});
  EXPECT_EQ(Serving(), 2);
  EXPECT_TRUE(manager_->Ready());
  for (const int version : {3, 4}) EXPECT_EQ(StatusOf(version).state, VersionState::kFailed);
  EXPECT_EQ(Serving(1), -1);
  EXPECT_EQ(runtime_.loads(), 3u);
  timer_.Advance(seconds(1));
  manager_->WaitForLoads();
  EXPECT_EQ(runtime_.loads(), 5u) << "those that failed are tried again";
  EXPECT_EQ(Serving(), 2);
  corrupt(4, absl::OkStatus());
  timer_.Advance(seconds(2));
  EXPECT_TRUE(Eventually([&] { return Serving() == 4 && StatusOf(2).state == VersionState::kGone; }));
  EXPECT_TRUE(Eventually([&] { return runtime_.live_models() == 1; }));
  // Of two, one for each that fails.
  settings.version_policy.latest_count = 2;
  Want({settings});
  EXPECT_EQ(Serving(4), 4);
  EXPECT_EQ(Serving(2), 2) << "for 3";
  AddVersion(5);
  Want({settings});
  EXPECT_EQ(Serving(5), 5);
  EXPECT_EQ(Serving(4), 4);
  EXPECT_TRUE(Eventually([&] { return Serving(2) == -1 && runtime_.live_models() == 2; }));
  // What was replaced goes also while one fails.
  corrupt(6);
  AddVersion(6), AddVersion(7);
  Want({settings});
  EXPECT_EQ(StatusOf(6).state, VersionState::kFailed);
  EXPECT_EQ(Serving(7), 7);
  EXPECT_EQ(Serving(5), 5);
  EXPECT_TRUE(Eventually([&] { return Serving(4) == -1 && runtime_.live_models() == 2; }));
}

TEST_F(ReloadTest, AFaultOfTheSettingsIsNotTriedWithOlderVersions) {
  runtime_.Update("dummy", [](FakeRuntime::Script& script) {
    script.load_error = MarkSetting(InvalidArgument("layout: no input has four dimensions"), "layout");
  });
  Start();
  Want({repository_.Add("dummy", {1, 2})});
  EXPECT_EQ(runtime_.loads(), 1u);
  EXPECT_EQ(StatusOf(2).state, VersionState::kFailed);
  // Nor what a caller takes back if it fails.
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.load_error = absl::InternalError("corrupt"); });
  manager_->SetWanted({repository_.Add("dummy", {1, 2})}, {}, {"dummy"});
  manager_->WaitForLoads();
  EXPECT_EQ(runtime_.loads(), 2u);
}

TEST_F(ReloadTest, WhatFailsOnTrialIsNotTriedAgainByItself) {
  Start();
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.load_error = absl::InternalError("no"); });
  const ModelSettings settings = repository_.Add("dummy", {1});
  manager_->SetWanted({settings}, {}, {"dummy"});
  manager_->WaitForLoads();
  EXPECT_EQ(StatusOf(1).state, VersionState::kFailed);
  timer_.Advance(hours(1));
  manager_->WaitForLoads();
  EXPECT_EQ(runtime_.loads(), 1u);
  Want({settings});
  EXPECT_EQ(runtime_.loads(), 2u);
  timer_.Advance(hours(1));
  EXPECT_TRUE(Eventually([&] { return runtime_.loads() > 2; }));
}

TEST_F(ReloadTest, AnAskedForReloadTriesAtOnceWhatFailed) {
  Start();
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.load_error = absl::InternalError("no"); });
  const ModelSettings settings = repository_.Add("dummy", {1});
  Want({settings});
  EXPECT_EQ(Serving(), -1);
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.load_error = absl::OkStatus(); });
  Want({settings});
  EXPECT_EQ(Serving(), 1);
}

TEST_F(ReloadTest, AChangeOfOneModelTouchesNoOther) {
  Start();
  runtime_.Update("bad", [](FakeRuntime::Script& script) { script.load_error = absl::InternalError("no"); });
  ModelSettings dummy = repository_.Add("dummy", {1});
  ModelSettings missing{.name = "missing"};
  missing.base_path = (repository_.path() / "missing").string();
  const ModelSettings bad = repository_.Add("bad", {1}), other = repository_.Add("other", {1});
  const FaultyModel ugly{"ugly", "shape: expected (1,2)"};
  Want({dummy, bad, missing}, {ugly});
  const size_t loads = runtime_.loads();
  Write("1/model.onnx", "changed");
  repository_.Add("missing", {1});
  const auto set = [&](std::vector<ModelSettings> models, const std::set<std::string>& asked) {
    manager_->SetWanted(std::move(models), {ugly}, {}, asked);
    manager_->WaitForLoads();
  };
  set({dummy, bad, missing, other}, {"other"});
  EXPECT_TRUE(manager_->ModelReady("other", std::nullopt));
  set({dummy, bad, missing}, {});
  EXPECT_FALSE(manager_->ModelReady("other", std::nullopt));
  EXPECT_EQ(runtime_.loads(), loads + 1);
  EXPECT_FALSE(manager_->ModelReady("missing", std::nullopt));
  EXPECT_EQ(manager_->StatusOf("ugly")->versions[0].state, VersionState::kFailed);
  // But what is changed, or asked for.
  dummy.nireq = 3;
  set({dummy, bad, missing}, {});
  EXPECT_EQ((*manager_->Acquire("dummy", std::nullopt))->settings().nireq, 3u);
  EXPECT_EQ(runtime_.loads(), loads + 2);
  set({dummy, bad, missing}, {"bad", "missing"});
  EXPECT_EQ(runtime_.loads(), loads + 4);
  EXPECT_TRUE(manager_->ModelReady("missing", std::nullopt));
}

TEST_F(ReloadTest, WhatCannotBeLoadedIsCountedWhenThatIsNews) {
  Start();
  ModelSettings missing{.name = "missing"};
  missing.base_path = (repository_.path() / "missing").string();
  ModelSettings none = repository_.Add("dummy", {1});
  none.version_policy = {.kind = VersionPolicy::Kind::kSpecific, .versions = {9}};
  const FaultyModel ugly{"ugly", "shape: expected (1,2)"};
  Want({missing, none}, {ugly});
  const auto failures = [this] {
    std::vector<std::string> lines;
    for (const absl::string_view line : absl::StrSplit(manager_->metrics().Text(), '\n')) {
      if (absl::StartsWith(line, "switchyard_load_failures_total{")) lines.emplace_back(line.substr(line.find('{')));
    }
    return lines;
  };
  const auto once = ElementsAre(R"({model="dummy",reason="NOT_FOUND"} 1)", R"({model="missing",reason="NOT_FOUND"} 1)",
                                R"({model="ugly",reason="INVALID_ARGUMENT"} 1)");
  EXPECT_THAT(failures(), once);
  for (int i = 0; i < 3; ++i) {
    timer_.Advance(seconds(10));
    manager_->WaitForLoads();
  }
  manager_->SetWanted({missing, none}, {ugly}, {}, std::set<std::string>());
  manager_->WaitForLoads();
  EXPECT_THAT(failures(), once) << "it was found as it was before";
}

TEST_F(ReloadTest, AModelWhoseFolderIsMissingIsTakenWhenItComes) {
  StartWatching();
  ModelSettings settings{.name = "dummy"};
  settings.base_path = Folder().string();
  Want({settings});
  EXPECT_THAT(std::string(Message(StatusOf(0).error)), HasSubstr("is not there"));
  repository_.Add("dummy", {1});
  EXPECT_TRUE(Eventually([&] { return Serving() == 1; }));
}

TEST_F(ReloadTest, WithoutWatchingAMissingFolderIsLookedForFromTimeToTime) {
  Start();
  ModelSettings settings{.name = "dummy"};
  settings.base_path = Folder().string();
  Want({settings});
  repository_.Add("dummy", {1});
  EXPECT_EQ(Serving(), -1);
  timer_.Advance(seconds(1));
  manager_->WaitForLoads();
  EXPECT_EQ(Serving(), 1);
}

TEST_F(ReloadTest, WhatServesGoesOnWhenTheWholeFolderVanishes) {
  StartWatching();
  Want({repository_.Add("dummy", {1})});
  fs::rename(Folder(), repository_.path() / "elsewhere");
  EXPECT_TRUE(Eventually([&] { return !StatusOf(1).error.ok(); }));
  EXPECT_THAT(std::string(Message(StatusOf(1).error)), HasSubstr("is not there"));
  EXPECT_EQ(StatusOf(1).state, VersionState::kAvailable);
  EXPECT_EQ(Serving(), 1);
  fs::rename(repository_.path() / "elsewhere", Folder());
  EXPECT_TRUE(Eventually([&] { return StatusOf(1).error.ok(); }));
  EXPECT_EQ(runtime_.loads(), 1u);
}

TEST_F(ReloadTest, AFolderThatComesBackEmptyIsGivenAMoment) {
  StartWatching(seconds(1));
  const ModelSettings settings = repository_.Add("dummy", {1});
  Write("1/.complete", "");
  Want({settings});
  ASSERT_EQ(Serving(), 1);
  // As `rm -r` goes about it: the version first, then the folder.
  fs::rename(Folder() / "1", repository_.path() / "kept");
  ASSERT_TRUE(Eventually([&] { return timer_.pending() > 1; })) << "it is missing, and looked for again";
  fs::remove(Folder());
  ASSERT_TRUE(Eventually([&] { return !StatusOf(1).error.ok(); }));
  timer_.Advance(seconds(5));
  fs::create_directory(Folder());
  ASSERT_TRUE(Eventually([&] { return StatusOf(1).error.ok(); }));
  EXPECT_EQ(Serving(), 1) << "what is to come may just be on its way";
}

TEST_F(ReloadTest, ARemovedVersionGoesButNotWhileAnotherTakesItsPlace) {
  StartWatching(hours(1));
  ModelSettings settings = repository_.Add("dummy", {1});
  Write("1/.complete", "");
  Want({settings});
  ASSERT_EQ(Serving(), 1);
  fs::rename(Folder() / "1", Folder() / "old");
  ASSERT_TRUE(Eventually([&] { return timer_.pending() > 1; }));
  EXPECT_EQ(Serving(), 1);
  fs::rename(Folder() / "old", Folder() / "1");
  timer_.Advance(hours(1));
  manager_->WaitForLoads();
  EXPECT_EQ(Serving(), 1);
  EXPECT_EQ(runtime_.loads(), 1u);
  fs::rename(Folder() / "1", Folder() / "old");
  EXPECT_TRUE(Eventually([&] { return timer_.Advance(hours(1)), Serving() == -1; }));
  EXPECT_TRUE(Eventually([&] { return runtime_.live_models() == 0; }));
}

TEST_F(ReloadTest, NoCallFailsWhileSettingsFilesAndVersionsChange) {
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.async = FakeRuntime::Async::kThread; });
  StartWatching();
  ModelSettings settings = repository_.Add("dummy", {1});
  Want({settings});
  Callers callers(*manager_);
  for (uint32_t i = 1; i <= 50; ++i) {
    settings.nireq = i;
    Want({settings});
    EXPECT_EQ((*manager_->Acquire("dummy", 1))->settings().nireq, i);
  }
  for (int i = 2; i <= 25; ++i) {
    AddVersion(i);
    ASSERT_TRUE(Eventually([&] { return Serving() == i; }));
    fs::remove_all(Folder() / std::to_string(i - 1));
    const size_t loads = runtime_.loads();
    Write(std::to_string(i) + "/model.onnx", "changed");
    ASSERT_TRUE(Eventually([&] { return runtime_.loads() > loads; }));
  }
  runtime_.Update("dummy", [](FakeRuntime::Script& script) { script.load_error = absl::InternalError("corrupt"); });
  for (uint32_t i = 1; i <= 20; ++i) {
    settings.nireq = 100 + i;
    Want({settings}, {});
  }
  callers.Stop();
  EXPECT_EQ(callers.fault(), "");
  EXPECT_GT(callers.answered(), 100u);
  EXPECT_EQ(Serving(), 25);
  EXPECT_THAT(runtime_.violations(), ElementsAre());
}

}  // namespace
}  // namespace switchyard
