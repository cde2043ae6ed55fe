#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "repository/source.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ListVersionsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string name = fs::temp_directory_path() / "sy_repository_XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    base = name;
  }
  void TearDown() override { fs::remove_all(base); }

  void Touch(const std::string& file) {
    fs::create_directories((base / file).parent_path());
    std::ofstream(base / file) << "x";
  }
  std::string At(const std::string& relative) const { return (base / relative).string(); }
  // The answer, which must be there.
  std::vector<VersionFiles> List(const std::string& relative = "") {
    auto versions = ListVersions(relative.empty() ? base.string() : At(relative));
    EXPECT_TRUE(versions.ok()) << versions.status();
    return versions.ok() ? *versions : std::vector<VersionFiles>();
  }
  static std::string Fault(const std::string& path, StatusCode code) {
    const auto versions = ListVersions(path);
    EXPECT_EQ(versions.status().code(), code) << versions.status();
    return std::string(Message(versions.status()));
  }

  fs::path base;
};

TEST_F(ListVersionsTest, VersionsComeInNumericOrder) {
  Touch("10/model.onnx");
  Touch("9/model.onnx");
  Touch("1/other_name.onnx");
  EXPECT_THAT(List(), ElementsAre(VersionFiles{1, At("1/other_name.onnx")}, VersionFiles{9, At("9/model.onnx")},
                                  VersionFiles{10, At("10/model.onnx")}));
}

TEST_F(ListVersionsTest, EveryFormatIsFound) {
  Touch("1/m.xml"), Touch("1/m.bin");
  Touch("2/m.onnx");
  Touch("3/inference.pdmodel"), Touch("3/inference.pdiparams");
  Touch("4/frozen.pb");
  Touch("5/saved_model.pb"), Touch("5/variables/variables.index");
  Touch("6/m.tflite");
  EXPECT_THAT(List(), ElementsAre(VersionFiles{1, At("1/m.xml")}, VersionFiles{2, At("2/m.onnx")},
                                  VersionFiles{3, At("3/inference.pdmodel")}, VersionFiles{4, At("4/frozen.pb")},
                                  VersionFiles{5, At("5")}, VersionFiles{6, At("6/m.tflite")}));
}

TEST_F(ListVersionsTest, TheFirstCompleteSetWins) {
  for (const char* file : {"m.tflite", "m.pb", "m.pdmodel", "m.pdiparams", "m.onnx", "m.xml", "m.bin"})
    Touch(std::string("1/") + file);
  EXPECT_EQ(List()[0].model_path, At("1/m.xml"));
  fs::remove(base / "1/m.bin");
  EXPECT_EQ(List()[0].model_path, At("1/m.onnx"));
  fs::remove(base / "1/m.onnx");
  EXPECT_EQ(List()[0].model_path, At("1/m.pdmodel"));
  fs::remove(base / "1/m.pdiparams");
  EXPECT_EQ(List()[0].model_path, At("1/m.pb"));
  fs::remove(base / "1/m.pb");
  EXPECT_EQ(List()[0].model_path, At("1/m.tflite"));
}

TEST_F(ListVersionsTest, AnIncompleteVersionHasNoPath) {
  Touch("1/m.xml"), Touch("1/other.bin");
  Touch("2/m.pdmodel");
  Touch("3/readme.txt");
  fs::create_directories(base / "4/m.onnx");
  EXPECT_THAT(List(),
              ElementsAre(VersionFiles{1, "", "m.bin beside m.xml"}, VersionFiles{2, "", "m.pdiparams beside m.pdmodel"},
                          VersionFiles{3, ""}, VersionFiles{4, ""}));
  EXPECT_THAT(std::string(Message(NoCompleteSet(List()[0], "models"))),
              HasSubstr("version 1 under models holds no complete set of model files: it lacks m.bin beside m.xml"));
}

TEST_F(ListVersionsTest, OnlyPositiveDecimalNumbersAreVersions) {
  for (const char* name : {"0", "-1", "+2", "01", "12abc", "1.5", " 3", "0x4", "99999999999999999999", "docs"}) {
    Touch(std::string(name) + "/m.onnx");
  }
  Touch("7");
  Touch("9223372036854775807/m.onnx");
  EXPECT_THAT(List(), ElementsAre(VersionFiles{9223372036854775807, At("9223372036854775807/m.onnx")}));
}

TEST_F(ListVersionsTest, AnEmptyFolderHasNoVersions) { EXPECT_THAT(List(), IsEmpty()); }

TEST_F(ListVersionsTest, SymbolicLinksAreFollowed) {
  Touch("real/m.onnx");
  fs::create_directories(base / "models/2");
  fs::create_symlink(base / "real", base / "models/1");
  fs::create_symlink(base / "real/m.onnx", base / "models/2/m.onnx");
  fs::create_symlink(base / "models", base / "link");
  fs::create_symlink(base / "nowhere", base / "models/3");
  EXPECT_THAT(List("link"), ElementsAre(VersionFiles{1, At("link/1/m.onnx")}, VersionFiles{2, At("link/2/m.onnx")}));
}

TEST_F(ListVersionsTest, OneFileIsVersionOne) {
  Touch("m.onnx"), Touch("m.xml"), Touch("m.bin"), Touch("m.pdmodel"), Touch("m.pdiparams"), Touch("frozen.pb"),
      Touch("m.tflite");
  for (const char* file : {"m.onnx", "m.xml", "m.pdmodel", "frozen.pb", "m.tflite"}) {
    EXPECT_THAT(List(file), ElementsAre(VersionFiles{1, At(file)}));
  }
  EXPECT_THAT(List("m.pdiparams"), ElementsAre(VersionFiles{1, At("m.pdmodel")}));
}

TEST_F(ListVersionsTest, ASavedModelIsGivenAsItsFolder) {
  Touch("resnet/saved_model.pb");
  EXPECT_THAT(List("resnet"), ElementsAre(VersionFiles{1, At("resnet")}));
  EXPECT_THAT(List("resnet/"), ElementsAre(VersionFiles{1, At("resnet")}));
  EXPECT_THAT(List("resnet/saved_model.pb"), ElementsAre(VersionFiles{1, At("resnet")}));
}

TEST_F(ListVersionsTest, FaultsSayWhatIsWrong) {
  EXPECT_THAT(Fault(At("nowhere"), StatusCode::kNotFound), HasSubstr(At("nowhere") + " is not there"));
  Touch("m.txt");
  EXPECT_THAT(Fault(At("m.txt"), StatusCode::kInvalidArgument), HasSubstr(".onnx"));
  Touch("m.xml");
  EXPECT_THAT(Fault(At("m.xml"), StatusCode::kNotFound), HasSubstr(At("m.bin")));
  Touch("flat/m.onnx");
  EXPECT_THAT(Fault(At("flat"), StatusCode::kNotFound), HasSubstr("move its files to " + At("flat/1")));
}

TEST(WantedVersionsTest, FollowsThePolicy) {
  const std::vector<int64_t> available = {1, 3, 7};
  using Kind = VersionPolicy::Kind;
  EXPECT_THAT(WantedVersions({}, available), ElementsAre(7));
  EXPECT_THAT(WantedVersions({.kind = Kind::kLatest, .latest_count = 2}, available), ElementsAre(3, 7));
  EXPECT_THAT(WantedVersions({.kind = Kind::kLatest, .latest_count = 9}, available), ElementsAre(1, 3, 7));
  EXPECT_THAT(WantedVersions({.kind = Kind::kAll}, available), ElementsAre(1, 3, 7));
  EXPECT_THAT(WantedVersions({.kind = Kind::kSpecific, .versions = {1, 2, 7}}, available), ElementsAre(1, 7));
  EXPECT_THAT(WantedVersions({}, {}), IsEmpty());
}

}  // namespace
}  // namespace switchyard
