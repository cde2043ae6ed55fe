#include "repository/cloud/mirror.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <utility>

#include "base/mutex.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// Storage that lists what it is told to. Its files have no bytes: nothing is fetched.
struct Listing {
  Mutex mutex;
  StatusOr<std::vector<StoredObject>> answer = std::vector<StoredObject>();
  int lists = 0;
};

class ScriptedStore : public ObjectStore {
 public:
  explicit ScriptedStore(Listing& listing) : listing_(listing) {}
  StatusOr<std::vector<StoredObject>> List() override {
    MutexLock lock(&listing_.mutex);
    ++listing_.lists;
    return listing_.answer;
  }
  FetchRequest Get(const StoredObject&) override { return {.url = "http://127.0.0.1:1/"}; }

 private:
  Listing& listing_;
};

class CloudMirrorTest : public testing::Test {
 protected:
  CloudMirrorTest() {
    std::string path = (fs::temp_directory_path() / "mirror_test-XXXXXX").string();
    folder_ = mkdtemp(path.data());
  }
  ~CloudMirrorTest() override { fs::remove_all(folder_); }

  CloudMirror::Options Options() {
    return {.folder = folder_.string(), .poll = std::chrono::milliseconds(10), .open = [this](const CloudUrl&, HttpClient&) {
              return StatusOr<std::unique_ptr<ObjectStore>>(std::make_unique<ScriptedStore>(listing_));
            }};
  }
  void Answer(StatusOr<std::vector<StoredObject>> answer) {
    MutexLock lock(&listing_.mutex);
    listing_.answer = std::move(answer);
  }
  // The next change is told of within a while.
  CloudMirror::OnChange Count() {
    return [this](const std::string&) {
      MutexLock lock(&mutex_);
      ++changes_;
    };
  }
  bool AwaitChanges(int count) {
    MutexLock lock(&mutex_);
    return mutex_.AwaitFor(std::chrono::seconds(20), [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return changes_ >= count; });
  }

  fs::path folder_;
  Listing listing_;
  Mutex mutex_;
  int changes_ = 0;
};

TEST_F(CloudMirrorTest, WhatCannotBeListedIsTheFaultOfTheModelUntilItCan) {
  Answer(Error(StatusCode::kPermissionDenied, "no"));
  CloudMirror mirror(Options(), Count());
  EXPECT_FALSE(mirror.FolderOf("s3://b/m").has_value());
  mirror.Want({{"s3://b/m", {}}});
  ASSERT_TRUE(AwaitChanges(1));
  auto folder = mirror.FolderOf("s3://b/m");
  ASSERT_TRUE(folder.has_value());
  EXPECT_EQ(folder->status().code(), StatusCode::kPermissionDenied);
  // Nothing below it that could be a version.
  Answer(std::vector<StoredObject>{{"readme", 1, "t"}});
  mirror.Want({{"s3://b/m", {}}});
  ASSERT_TRUE(AwaitChanges(2));
  folder = mirror.FolderOf("s3://b/m");
  ASSERT_TRUE(folder.has_value());
  EXPECT_THAT(std::string(Message(folder->status())), HasSubstr("there is \"readme\", for one"));
}

TEST_F(CloudMirrorTest, WhatWasCopiedBeforeIsServedWhileTheStorageIsAway) {
  Answer(Error(StatusCode::kUnavailable, "away"));
  std::string lies;
  {
    CloudMirror mirror(Options(), Count());
    mirror.Want({{"gs://b/m", {}}});
    ASSERT_TRUE(AwaitChanges(1));
    EXPECT_FALSE(mirror.FolderOf("gs://b/m")->ok());
  }
  for (const auto& entry : fs::directory_iterator(folder_)) lies = entry.path();
  fs::create_directories(lies + "/3");
  std::ofstream(lies + "/3/model.onnx") << "x";
  CloudMirror mirror(Options(), Count());
  mirror.Want({{"gs://b/m", {}}});
  ASSERT_TRUE(AwaitChanges(2));
  const auto folder = mirror.FolderOf("gs://b/m");
  ASSERT_TRUE(folder.has_value() && folder->ok());
  EXPECT_EQ(**folder, lies);
}

TEST_F(CloudMirrorTest, WhatIsNotWantedAnyMoreIsNotAskedFor) {
  CloudMirror mirror(Options(), Count());
  mirror.Want({{"s3://b/m", {}}, {"s3://b/m", {.kind = VersionPolicy::Kind::kAll}}});
  ASSERT_TRUE(AwaitChanges(1));
  mirror.Want({});
  EXPECT_FALSE(mirror.FolderOf("s3://b/m").has_value());
  int lists = 0;
  {
    MutexLock lock(&listing_.mutex);
    lists = listing_.lists;
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  MutexLock lock(&listing_.mutex);
  EXPECT_EQ(listing_.lists, lists);
}

TEST_F(CloudMirrorTest, WhatNobodyAsksAboutIsNotListedAgain) {
  Answer(Error(StatusCode::kPermissionDenied, "no"));
  CloudMirror mirror(Options(), Count());
  mirror.Want({{"s3://b/m", {}}});
  ASSERT_TRUE(AwaitChanges(1));
  MutexLock lock(&listing_.mutex);  // the storage does not answer
  mirror.Want({{"s3://b/m", {}, /*look=*/false}});
  EXPECT_TRUE(mirror.FolderOf("s3://b/m").has_value());
  mirror.Want({{"s3://b/m", {.kind = VersionPolicy::Kind::kAll}, /*look=*/false}});
  EXPECT_FALSE(mirror.FolderOf("s3://b/m").has_value()) << "other versions are wanted";
}

TEST_F(CloudMirrorTest, AFolderThatCannotBeMadeIsTold) {
  CloudMirror::Options options = Options();
  options.folder = (folder_ / "file").string();
  std::ofstream(options.folder) << "x";
  CloudMirror mirror(options, Count());
  mirror.Want({{"s3://b/m", {}}});
  ASSERT_TRUE(AwaitChanges(1));
  EXPECT_THAT(std::string(Message(mirror.FolderOf("s3://b/m")->status())), HasSubstr("cannot write into"));
}

}  // namespace
}  // namespace switchyard
