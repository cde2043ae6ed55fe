#include "repository/cloud/version_copy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace switchyard {
namespace {

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

TEST(ReadCopied, NothingWhereNothingIs) { EXPECT_THAT(ReadCopied("/nonexistent"), IsEmpty()); }

}  // namespace
}  // namespace switchyard
