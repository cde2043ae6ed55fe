#include "control/wanted_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "control/config_watch.h"

namespace switchyard {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

ModelSettings Model(const std::string& name, uint32_t nireq = 0) {
  ModelSettings settings;
  settings.name = name;
  settings.base_path = "/models/" + name;
  settings.nireq = nireq;
  return settings;
}

std::vector<std::string> Served(const WantedSet& wanted) {
  std::vector<std::string> served;
  for (const ModelSettings& model : wanted.Models()) {
    served.push_back(model.name + (model.nireq > 0 ? std::to_string(model.nireq) : ""));
  }
  return served;
}

TEST(WantedSet, TheFilesModelsAndTheApisWord) {
  WantedSet wanted;
  EXPECT_THAT(wanted.SetFile({Model("a"), Model("b")}, {{"c", "broken"}}), UnorderedElementsAre("a", "b", "c"));
  EXPECT_THAT(Served(wanted), ElementsAre("a", "b"));
  EXPECT_EQ(wanted.FaultyModels().size(), 1u);
  wanted.Unload("a");
  wanted.Load(Model("x", 7));
  wanted.Load(Model("b", 2));
  EXPECT_THAT(Served(wanted), ElementsAre("b2", "x7"));
  wanted.Unload("x");
  EXPECT_THAT(Served(wanted), ElementsAre("b2"));
  wanted.LoadKnown("x");
  EXPECT_THAT(Served(wanted), ElementsAre("b2", "x7")) << "what it was loaded with is remembered";
  wanted.Unload("c");
  EXPECT_THAT(wanted.FaultyModels(), IsEmpty());
}

TEST(WantedSet, OfAnEntryThatChangesTheFileHasTheLastWord) {
  WantedSet wanted;
  wanted.SetFile({Model("a"), Model("b"), Model("c")}, {});
  for (const char* name : {"a", "b", "c"}) wanted.Load(Model(name, 9));
  wanted.Load(Model("x"));
  EXPECT_THAT(wanted.SetFile({Model("a"), Model("b", 1)}, {}), UnorderedElementsAre("b", "c"));
  EXPECT_THAT(Served(wanted), ElementsAre("a9", "b1", "x"));
  EXPECT_THAT(wanted.SetFile({Model("a"), Model("b", 1)}, {}), IsEmpty());
}

TEST(WantedSet, WhereOnlyTheApiLoads) {
  WantedSet wanted(true);
  wanted.SetFile({Model("a"), Model("b")}, {});
  EXPECT_THAT(Served(wanted), IsEmpty());
  EXPECT_THAT(wanted.Names(), ElementsAre("a", "b"));
  wanted.LoadKnown("a");
  EXPECT_THAT(Served(wanted), ElementsAre("a"));
  wanted.SetFile({Model("a", 3)}, {});
  EXPECT_THAT(Served(wanted), ElementsAre("a3"));
  wanted.SetFile({}, {});
  EXPECT_THAT(Served(wanted), IsEmpty());
}

TEST(WantedSet, NoNameTwice) {
  WantedSet wanted;
  ModelSettings a = Model("a");
  a.aliases = {"x"};
  wanted.SetFile({a, Model("b")}, {});
  const auto told = [&](const ModelSettings& asked) {
    const auto fault = wanted.Conflict({{.settings = asked, .pointer = "/at", .faulty_keys = {}}}, "/list");
    return fault ? ToText(*fault) : "";
  };
  EXPECT_EQ(told(a), "");
  wanted.Load(Model("x"));
  const std::string rest =
      ": expected names that no other model has, got the alias \"x\" of model \"a\", and the same name of model \"x\", which a "
      "call loaded; give one of them another, or unload a model";
  EXPECT_EQ(told(Model("x")), "/at/name" + rest);
  EXPECT_EQ(told(a), "/at/aliases/0" + rest);
  EXPECT_EQ(told(Model("b")), "/list" + rest);
}

TEST(ConfigWatch, ReadsAChangeThatIsQuiet) {
  using std::chrono::milliseconds;
  using std::chrono::seconds;
  const ConfigStamp old{.is_there = true, .size = 1}, half{.is_there = true, .size = 2}, whole{.is_there = true, .size = 3};
  ConfigWatch watch(seconds(1));
  const TimePoint start{};
  watch.Read(old, false, start);
  EXPECT_EQ(watch.next_look(), start + seconds(1));
  EXPECT_FALSE(watch.Look(old, start + seconds(1)));
  EXPECT_FALSE(watch.Look(half, start + seconds(2)));
  EXPECT_EQ(watch.next_look(), start + seconds(2) + ConfigWatch::kQuiet);
  EXPECT_FALSE(watch.Look(whole, start + milliseconds(2200))) << "it was being written";
  EXPECT_TRUE(watch.Look(whole, start + milliseconds(2400)));
}

TEST(ConfigWatch, TriesARefusedFileAgainMoreAndMoreSeldom) {
  using std::chrono::milliseconds;
  using std::chrono::seconds;
  const ConfigStamp file{.is_there = true, .size = 1};
  ConfigWatch watch(milliseconds(500));
  TimePoint now{};
  watch.Read(file, true, now);
  EXPECT_FALSE(watch.Look(file, now + milliseconds(900)));
  EXPECT_TRUE(watch.Look(file, now + seconds(1)));
  watch.Read(file, true, now);
  EXPECT_FALSE(watch.Look(file, now + milliseconds(1900)));
  EXPECT_TRUE(watch.Look(file, now + seconds(2)));
  for (int i = 0; i < 20; ++i) watch.Read(file, true, now);
  EXPECT_FALSE(watch.Look(file, now + seconds(299)));
  EXPECT_TRUE(watch.Look(file, now + seconds(300)));
  watch.Read(file, false, now);
  EXPECT_FALSE(watch.Look(file, now + std::chrono::hours(1)));
}

}  // namespace
}  // namespace switchyard
