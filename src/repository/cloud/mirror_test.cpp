#include "repository/cloud/mirror.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>
#include <utility>

#include "base/mutex.h"
#include "base/test_http_server.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// Storage that lists what it is told to.
struct Listing {
  Mutex mutex;
  StatusOr<std::vector<StoredObject>> answer = std::vector<StoredObject>();
  int lists = 0;
  std::string files = "http://127.0.0.1:1/";        // where all of them are; there is nobody
  std::map<std::string, int> lists_before_fetches;  // by the key of the first file that was asked for since Answer
};

class ScriptedStore : public ObjectStore {
 public:
  explicit ScriptedStore(Listing& listing) : listing_(listing) {}
  StatusOr<std::vector<StoredObject>> List() override {
    MutexLock lock(&listing_.mutex);
    ++listing_.lists;
    return listing_.answer;
  }
  FetchRequest Get(const StoredObject& object) override {
    MutexLock lock(&listing_.mutex);
    listing_.lists_before_fetches.emplace(object.key, listing_.lists);
    return {.url = listing_.files};
  }

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
    listing_.lists = 0;
    listing_.lists_before_fetches.clear();
  }
  // Says whether there were so many lists since Answer, within a while.
  bool AwaitLists(int count) {
    MutexLock lock(&listing_.mutex);
    return listing_.mutex.AwaitFor(std::chrono::seconds(20),
                                   [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(listing_.mutex) { return listing_.lists >= count; });
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

// A refusal, after which the keys are looked up again, does not make a running server take half an upload.
TEST_F(CloudMirrorTest, WhatIsNewIsSeenTwiceAlsoAfterARefusal) {
  TestHttpServer files([](const std::string&, const TestHttpServer::Send& send) { send(TestHttpServer::Text(200, "x")); });
  listing_.files = files.url();
  Answer(std::vector<StoredObject>{{"1/model.onnx", 1, "t"}});
  CloudMirror mirror(Options(), Count());
  mirror.Want({{"s3://b/m", {.kind = VersionPolicy::Kind::kAll}}});
  ASSERT_TRUE(AwaitChanges(1));
  Answer(Error(StatusCode::kPermissionDenied, "no"));
  ASSERT_TRUE(AwaitLists(2));  // the second by the new keys
  Answer(std::vector<StoredObject>{{"1/model.onnx", 1, "t"}, {"2/model.onnx", 1, "t"}});
  ASSERT_TRUE(AwaitChanges(2));
  MutexLock lock(&listing_.mutex);
  EXPECT_EQ(listing_.lists_before_fetches["2/model.onnx"], 2);
}

class ListCloudVersionsTest : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* name :
         {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_EC2_METADATA_SERVICE_ENDPOINT"}) {
      unsetenv(name);
    }
  }
  static std::string UrlAt(const TestHttpServer& server) { return "s3://" + server.address() + "/b/m"; }
  static std::chrono::steady_clock::time_point In(std::chrono::milliseconds time) {
    return std::chrono::steady_clock::now() + time;
  }
};

TEST_F(ListCloudVersionsTest, StorageThatAsksForPatienceIsNotWaitedFor) {
  std::atomic<int> requests{0};
  TestHttpServer server([&](const std::string&, const TestHttpServer::Send& send) {
    ++requests;
    send(TestHttpServer::Text(503, "", "Retry-After: 300\r\n"));
  });
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(ListCloudVersions(UrlAt(server), nullptr, In(kLongestListing)).status().code(), StatusCode::kUnavailable);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, kLongestListing);
  EXPECT_EQ(requests, 2);
}

TEST_F(ListCloudVersionsTest, AnAnswerThatDripsEndsAtTheDeadlineOrWhenItIsCancelled) {
  std::atomic<bool> cancelled{false}, cancels{false};
  TestHttpServer server([&](const std::string&, const TestHttpServer::Send& send) {
    send("HTTP/1.1 200 X\r\nConnection: close\r\n\r\n");
    cancelled = cancels.load();
    while (send("..")) std::this_thread::sleep_for(std::chrono::milliseconds(50));
  });
  EXPECT_EQ(ListCloudVersions(UrlAt(server), &cancelled, In(std::chrono::milliseconds(300))).status().code(),
            StatusCode::kUnavailable);
  cancels = true;
  EXPECT_EQ(ListCloudVersions(UrlAt(server), &cancelled, In(std::chrono::seconds(60))).status().code(), StatusCode::kCancelled);
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
