#include "repository/folder_watcher.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "base/mutex.h"
#include "repository/files_state.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

class FolderWatcherTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = fs::temp_directory_path() / "sy_watcher_XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    base_ = name;
  }
  void TearDown() override {
    watcher_.reset();
    fs::remove_all(base_);
  }

  // Polls are an hour apart, so that only the kernel can have told.
  void Start(FolderWatcher::Means means = FolderWatcher::Means::kNotify, Duration poll = std::chrono::hours(1)) {
    watcher_ = std::make_unique<FolderWatcher>(poll, means, [this](const std::string& path) {
      MutexLock lock(&mutex_);
      ++told_[path];
    });
  }
  std::string At(const std::string& name) const { return (base_ / name).string(); }
  void Write(const std::string& name, const std::string& text = "x") {
    fs::create_directories((base_ / name).parent_path());
    std::ofstream(base_ / name) << text;
  }
  int Told(const std::string& name) {
    MutexLock lock(&mutex_);
    return told_[At(name)];
  }
  bool WaitForMore(const std::string& name, int than) {
    MutexLock lock(&mutex_);
    return mutex_.AwaitFor(std::chrono::seconds(10), [&] { return told_[At(name)] > than; });
  }
  // Watches, and waits until that is so.
  void Watch(const std::string& name) {
    watcher_->Watch({At(name)});
    ASSERT_TRUE(WaitForMore(name, 0));
  }
  template <typename Change>
  void ExpectTold(const std::string& name, Change change) {
    const int before = Told(name);
    change();
    EXPECT_TRUE(WaitForMore(name, before));
  }

  fs::path base_;
  Mutex mutex_;
  std::map<std::string, int> told_;
  std::unique_ptr<FolderWatcher> watcher_;
};

TEST_F(FolderWatcherTest, ANewVersionAndAChangedFileAreTold) {
  Write("m/1/model.onnx");
  Start();
  Watch("m");
  ExpectTold("m", [&] { fs::create_directories(base_ / "m/2"); });
  ExpectTold("m", [&] { Write("m/2/model.onnx"); });
  ExpectTold("m", [&] { Write("m/1/model.onnx", "other"); });
  ExpectTold("m", [&] { fs::remove_all(base_ / "m/1"); });
}

TEST_F(FolderWatcherTest, AFileThatIsCutWithoutBeingOpenedIsTold) {
  Write("m/1/model.bin", "weights");
  Start();
  Watch("m");
  ExpectTold("m", [&] { fs::resize_file(base_ / "m/1/model.bin", 3); });
}

TEST_F(FolderWatcherTest, AFileThatStaysOpenIsToldWhenItIsQuiet) {
  Write("m/1/model.bin", "weights");
  Start();
  Watch("m");
  std::ofstream file(base_ / "m/1/model.bin", std::ios::app);
  ExpectTold("m", [&] { file << "more" << std::flush; });
}

TEST_F(FolderWatcherTest, APathThatIsNotThereIsToldOfWhenItComes) {
  Start();
  Watch("far/away/m");
  ExpectTold("far/away/m", [&] { fs::create_directories(base_ / "far"); });
  ExpectTold("far/away/m", [&] { Write("far/away/m/1/model.onnx"); });
  ExpectTold("far/away/m", [&] { fs::remove_all(base_ / "far"); });
}

TEST_F(FolderWatcherTest, AModelFileIsWatchedWithItsCompanionAlone) {
  Write("a.xml"), Write("a.bin");
  Start();
  Watch("a.xml");
  ExpectTold("a.xml", [&] { Write("a.bin", "other"); });
  const int before = Told("a.xml");
  Write("b.xml");
  watcher_->Watch({At("a.xml"), At("b.xml")});
  ASSERT_TRUE(WaitForMore("b.xml", 0));
  ExpectTold("b.xml", [&] { Write("b.xml", "other"); });
  EXPECT_EQ(Told("a.xml"), before);
}

TEST_F(FolderWatcherTest, ALinkThatPointsElsewhereIsAChange) {
  Write("old/1/model.onnx"), Write("new/1/model.onnx");
  fs::create_directory_symlink("old", base_ / "m");
  Start();
  Watch("m");
  ExpectTold("m", [&] {
    fs::create_directory_symlink("new", base_ / "next");
    fs::rename(base_ / "next", base_ / "m");
  });
  ExpectTold("m", [&] { Write("new/1/model.onnx", "other"); });
}

TEST_F(FolderWatcherTest, ALinkOnTheWayThatPointsElsewhereIsAChange) {
  Write("releases/a/m/1/model.onnx"), Write("releases/b/m/1/model.onnx");
  fs::create_directory_symlink("releases/a", base_ / "current");
  const auto point = [&](const fs::path& target) {
    fs::create_directory_symlink(target, base_ / "next");
    fs::rename(base_ / "next", base_ / "current");
  };
  Start();
  Watch("current/m");
  ExpectTold("current/m", [&] { point("releases/b"); });
  ExpectTold("current/m", [&] { Write("releases/b/m/1/model.onnx", "other"); });
  // To another link, which is pointed elsewhere then.
  ExpectTold("current/m", [&] {
    fs::create_directory_symlink(base_ / "releases/a", base_ / "newest");
    point("./releases/../newest");
  });
  ExpectTold("current/m", [&] {
    fs::remove(base_ / "newest");
    fs::create_directory_symlink(base_ / "releases/b", base_ / "newest");
  });
  // What a link leads to is replaced.
  ExpectTold("current/m", [&] { fs::rename(base_ / "releases/b", base_ / "releases/c"); });
  ExpectTold("current/m", [&] { fs::rename(base_ / "releases/a", base_ / "releases/b"); });
}

TEST_F(FolderWatcherTest, AFileThatIsALinkIsWatchedWhereItLies) {
  Write("store/x"), Write("store/y"), Write("m/1/model.xml");
  fs::create_symlink("../../store/x", base_ / "m/1/model.bin");
  Start();
  Watch("m");
  ExpectTold("m", [&] { Write("store/x", "other"); });
  ExpectTold("m", [&] {
    Write("store/new");
    fs::rename(base_ / "store/new", base_ / "store/x");
  });
  ExpectTold("m", [&] {
    fs::create_symlink("../../store/y", base_ / "m/1/next");
    fs::rename(base_ / "m/1/next", base_ / "m/1/model.bin");
  });
  ExpectTold("m", [&] { Write("store/y", "other"); });
  // One that leads nowhere, until that comes.
  ExpectTold("m", [&] { fs::create_symlink(base_ / "later/z", base_ / "m/1/more"); });
  ExpectTold("m", [&] { fs::create_directory(base_ / "later"); });
  ExpectTold("m", [&] { Write("later/z"); });
}

TEST_F(FolderWatcherTest, AModelFileThatIsALinkAndItsCompanionAreWatchedWhereTheyLie) {
  Write("store/x.xml"), Write("store/x.bin");
  fs::create_symlink("store/x.xml", base_ / "a.xml"), fs::create_symlink("store/x.bin", base_ / "a.bin");
  Start();
  Watch("a.xml");
  ExpectTold("a.xml", [&] { Write("store/x.xml", "other"); });
  ExpectTold("a.xml", [&] { Write("store/x.bin", "other"); });
}

TEST_F(FolderWatcherTest, LinksThatLeadInCirclesAreNoEnd) {
  fs::create_directory_symlink("b", base_ / "a"), fs::create_directory_symlink("a", base_ / "b");
  Write("m/1/model.onnx");
  fs::create_directory_symlink("..", base_ / "m/1/up"), fs::create_symlink("self", base_ / "m/1/self");
  Start();
  Watch("a/m");
  watcher_->Watch({At("m")});
  ASSERT_TRUE(WaitForMore("m", 0));
  ExpectTold("m", [&] { Write("m/1/model.onnx", "other"); });
}

TEST_F(FolderWatcherTest, PollingTellsAgainAndAgain) {
  Start(FolderWatcher::Means::kPoll, std::chrono::milliseconds(5));
  Watch("m");
  EXPECT_TRUE(WaitForMore("m", 3));
  watcher_->Watch({});
  watcher_->Watch({At("other")});
  ASSERT_TRUE(WaitForMore("other", 0));
  const int before = Told("m");
  ASSERT_TRUE(WaitForMore("other", Told("other") + 3));
  EXPECT_EQ(Told("m"), before);
}

class FilesStateTest : public FolderWatcherTest {};

TEST_F(FilesStateTest, AnyChangeOfAFileIsSeen) {
  Write("m/1/model.xml"), Write("m/1/model.bin"), Write("m/1/sub/more");
  const auto read = [&] { return ReadFilesState(At("m"), At("m/1/model.xml")).files; };
  auto before = read();
  ASSERT_EQ(before.size(), 3u);
  EXPECT_EQ(before[2].path, "sub/more");
  EXPECT_EQ(read(), before);
  Write("m/1/.hidden");
  EXPECT_EQ(read(), before);
  // A time alone.
  fs::last_write_time(base_ / "m/1/model.bin", fs::last_write_time(base_ / "m/1/model.bin") + std::chrono::seconds(5));
  EXPECT_NE(read(), before);
  before = read();
  // An inode alone.
  const auto time = fs::last_write_time(base_ / "m/1/model.bin");
  Write("m/1/.new");
  fs::last_write_time(base_ / "m/1/.new", time);
  fs::rename(base_ / "m/1/.new", base_ / "m/1/model.bin");
  EXPECT_NE(read(), before);
}

TEST_F(FilesStateTest, MarkersAndSizesAreRead) {
  Write("m/1/model.onnx", "12345");
  FilesState state = ReadFilesState(At("m"), At("m/1/model.onnx"));
  EXPECT_EQ(state.bytes, 5u);
  EXPECT_FALSE(state.marked_complete || state.marked_incomplete);
  Write("m/1/.incomplete");
  EXPECT_TRUE(ReadFilesState(At("m"), At("m/1/model.onnx")).marked_incomplete);
  Write("m/1/.complete");
  EXPECT_TRUE(ReadFilesState(At("m"), At("m/1/model.onnx")).marked_complete);
}

TEST_F(FilesStateTest, OfAModelFileOnlyWhatSharesItsNameCounts) {
  Write("a.xml"), Write("a.bin"), Write("ab.xml"), Write("b.bin");
  const FilesState state = ReadFilesState(At("a.xml"), At("a.xml"));
  ASSERT_EQ(state.files.size(), 2u);
  EXPECT_EQ(state.files[0].path, "a.bin");
}

// A field of a message, as protobuf writes it.
std::string Field(int number, const std::string& text) {
  std::string head(1, static_cast<char>(number << 3 | 2));
  size_t length = text.size();
  for (; length > 127; length >>= 7) head += static_cast<char>((length & 127) | 128);
  return head + static_cast<char>(length) + text;
}
std::string Tensor(const std::string& location) {
  return Field(9, "weights") + Field(13, Field(1, "location") + Field(2, location)) +
         Field(13, Field(1, "offset") + Field(2, "4096"));
}

TEST_F(FilesStateTest, AnOnnxModelsDataCountsWhateverItsName) {
  const std::string node = Field(5, Field(5, Tensor("in/constant.bin")));
  Write("a.onnx", Field(7, Field(1, node) + Field(5, Tensor("weights.data")) + Field(5, Tensor("../outside"))));
  Write("weights.data"), Write("in/constant.bin"), Write("other.data");
  const auto read = [&] { return ReadFilesState(At("a.onnx"), At("a.onnx")).files; };
  const auto before = read();
  ASSERT_EQ(before.size(), 3u);
  EXPECT_EQ(before[0].path, "a.onnx");
  EXPECT_EQ(before[1].path, "in/constant.bin");
  EXPECT_EQ(before[2].path, "weights.data");
  Write("weights.data", "others");
  EXPECT_NE(read(), before);
  Write("a.onnx", "garbage");
  EXPECT_EQ(read().size(), 1u);
}

TEST_F(FolderWatcherTest, AnOnnxModelsDataIsWatchedWhateverItsName) {
  Write("a.onnx", Field(7, Field(5, Tensor("weights.data")) + Field(5, Tensor("in/more.bin"))));
  Write("weights.data"), Write("in/more.bin"), Write("other.data");
  Start();
  Watch("a.onnx");
  ExpectTold("a.onnx", [&] { Write("weights.data", "changed"); });
  ExpectTold("a.onnx", [&] { Write("in/more.bin", "changed"); });
}

}  // namespace
}  // namespace switchyard
