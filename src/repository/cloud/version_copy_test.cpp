#include "repository/cloud/version_copy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <utility>

#include "base/test_http_server.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::IsEmpty;

TEST(ByVersion, GroupsFilesAndLeavesOutTheRest) {
  const StoredVersions found = ByVersion({{"2/model.xml", 10, "a"},
                                          {"2/model.bin", 20, "b"},
                                          {"2/variables/x", 1, "c"},
                                          {"2/", 0, "d"},
                                          {"2/.complete", 0, "e"},
                                          {"readme.txt", 5, "f"},
                                          {"02/model.xml", 5, "g"},
                                          {"old/model.xml", 5, "h"},
                                          {"3/model.onnx", 5, "i"},
                                          {"3/.incomplete", 0, "j"}});
  ASSERT_EQ(found.versions.size(), 1U);
  EXPECT_THAT(found.versions.at(2), ElementsAre(StoredObject{"model.bin", 20, "b"}, StoredObject{"model.xml", 10, "a"},
                                                StoredObject{"variables/x", 1, "c"}));
  EXPECT_EQ(found.refused, "");
  EXPECT_THAT(found.incomplete, ElementsAre(3));
}

TEST(ByVersion, NoPathLeavesItsFolder) {
  for (const char* key : {"1/../2/x", "1//etc/passwd", "1/a\\..\\b", "1/a/../../x", "1/a\nb", "1/a/.ssh/x"}) {
    const StoredVersions found = ByVersion({{key, 1, ""}, {"1/model.onnx", 1, ""}});
    EXPECT_EQ(found.refused, key);
    EXPECT_THAT(found.versions.at(1), ElementsAre(StoredObject{"model.onnx", 1, ""})) << key;
  }
}

TEST(ByVersion, AFoldersMarkerIsNoFile) {
  const StoredVersions markers = ByVersion({{"1/variables", 0, ""}, {"1/variables/x", 3, ""}, {"1/variables-2", 3, ""}});
  EXPECT_THAT(markers.versions.at(1), ElementsAre(StoredObject{"variables-2", 3, ""}, StoredObject{"variables/x", 3, ""}));
  EXPECT_EQ(markers.refused, "");
  EXPECT_EQ(ByVersion({{"1/a", 5, ""}, {"1/a/b", 3, ""}}).refused, "1/a");
}

// Storage of small files, all of them "x".
class SmallStore : public ObjectStore {
 public:
  explicit SmallStore(std::vector<StoredObject> objects) : objects_(std::move(objects)) {}
  StatusOr<std::vector<StoredObject>> List() override { return objects_; }
  FetchRequest Get(const StoredObject&) override { return {.url = files_.url()}; }

 private:
  const std::vector<StoredObject> objects_;
  TestHttpServer files_{[](const std::string&, const TestHttpServer::Send& send) { send(TestHttpServer::Text(200, "x")); }};
};

class VersionCopiesTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string folder = (fs::temp_directory_path() / "sy_copies_XXXXXX").string();
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    folder_ = folder;
  }
  void TearDown() override { fs::remove_all(folder_); }
  VersionCopies::Result Update(SmallStore& store) {
    HttpClient client({});
    return VersionCopies(store, client, folder_, "s3://b/m", [] { return std::set<int64_t>(); }).Update({{}});
  }

  fs::path folder_;
};

// What was fetched for an earlier listing may be in the way of a later one's.
TEST_F(VersionCopiesTest, AFileMayStandWhereAFolderWasAndTheOtherWayRound) {
  const fs::path staging = folder_ / ".fetch-1";
  fs::create_directories(staging / "m" / "deep");
  fs::create_directories(staging / "empty");
  std::ofstream(staging / "m" / "a") << "x";
  std::ofstream(staging / "n") << "x";
  SmallStore store({{"1/m", 1, "t"}, {"1/n/a", 1, "t"}, {"1/o/p/q", 1, "t"}});
  const auto result = Update(store);
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_TRUE(fs::is_regular_file(folder_ / "1" / "m"));
  EXPECT_TRUE(fs::is_regular_file(folder_ / "1" / "n" / "a"));
  EXPECT_TRUE(fs::is_regular_file(folder_ / "1" / "o" / "p" / "q"));
  EXPECT_FALSE(fs::exists(folder_ / "1" / "empty"));
}

TEST(ReadCopied, NothingWhereNothingIs) { EXPECT_THAT(ReadCopied("/nonexistent"), IsEmpty()); }

}  // namespace
}  // namespace switchyard
