#include "repository/cloud/files_identity.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/test_folder.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

class FilesIdentityTest : public ::testing::Test {
 protected:
  void Write(const std::string& name, const std::string& text = "x") {
    fs::create_directories((base_ / name).parent_path());
    std::ofstream(base_ / name) << text;
  }
  void SetBack(const std::string& name) {
    fs::last_write_time(base_ / name, fs::last_write_time(base_ / name) - std::chrono::hours(1));
  }
  std::string At(const std::string& name) const { return (base_ / name).string(); }
  std::string Local(const std::string& base, const std::string& model) const {
    return FilesIdentity(At(base), 1, At(model), ReadFilesState(At(base), At(model)).files);
  }
  // Of a copy of <folder>/1.
  std::string Cloud(const std::string& folder, const std::string& model, const std::string& url = "s3://bucket/m") const {
    return FilesIdentity(url, 1, At(folder + "/1/" + model), ReadFilesState(At(folder), At(folder + "/1/" + model)).files);
  }

  const TestFolder temporary_;
  const fs::path base_ = temporary_.path();
};

TEST_F(FilesIdentityTest, EveryFileOfAVersionCounts) {
  Write("m/1/model.onnx"), Write("m/1/weights.data"), Write("s/1/saved_model.pb"), Write("s/1/variables/variables.index");
  for (const auto& [base, model, file] :
       {std::tuple{"m", "m/1/model.onnx", "m/1/weights.data"}, std::tuple{"s", "s/1", "s/1/variables/variables.index"}}) {
    const std::string before = Local(base, model);
    EXPECT_EQ(Local(base, model), before);
    Write(file, "other");
    const std::string after = Local(base, model);
    EXPECT_NE(after, before);
    SetBack(file);
    EXPECT_NE(Local(base, model), after) << "a time alone";
  }
  fs::copy(base_ / "m", base_ / "copy", fs::copy_options::recursive);
  EXPECT_NE(Local("copy", "copy/1/model.onnx"), Local("m", "m/1/model.onnx"));
}

TEST_F(FilesIdentityTest, ACopyFromTheCloudIsTheSameWhereverItLies) {
  const std::string objects = "10 tag-a model.bin\n20 tag-b model.xml\n";
  for (const char* folder : {"a", "b"}) {
    Write(std::string(folder) + "/1/model.xml"), Write(std::string(folder) + "/1/model.bin");
    Write(std::string(folder) + "/1/.objects", objects);
  }
  SetBack("b/1/model.xml");
  const std::string a = Cloud("a", "model.xml");
  EXPECT_EQ(Cloud("b", "model.xml"), a);
  EXPECT_NE(Cloud("a", "model.xml", "s3://bucket/other"), a);
  Write("b/1/.objects", "10 tag-c model.bin\n20 tag-b model.xml\n");
  EXPECT_NE(Cloud("b", "model.xml"), a);
  // Without a word of what it is a copy of, it is what it looks like.
  fs::remove(base_ / "a/1/.objects"), fs::remove(base_ / "b/1/.objects");
  EXPECT_NE(Cloud("b", "model.xml"), Cloud("a", "model.xml"));
}

}  // namespace
}  // namespace switchyard
