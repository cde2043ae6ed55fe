#include "runtime/openvino/model_cache.h"

#include <signal.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "runtime/openvino/test_models.h"

namespace switchyard {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

namespace fs = std::filesystem;

constexpr size_t kWidth = 64;

// Sums of the input with constant weights, large enough that most of a blob are weights.
std::shared_ptr<ov::Model> SumModel() {
  auto input = Input("x", {1, kWidth});
  std::vector<float> weights(kWidth * kWidth, 1);
  auto product = std::make_shared<ops::MatMul>(
      input, ops::Constant::create(ov::element::f32, ov::Shape{kWidth, kWidth}, weights), false, false);
  return std::make_shared<ov::Model>(ov::OutputVector{Named(product->output(0), "y")}, ov::ParameterVector{input});
}

class ModelCacheTest : public OpenVinoTest {
 protected:
  void SetUp() override {
    OpenVinoTest::SetUp();
    cache_ = folder_ / "cache";
    request_ = Request(Save(SumModel()), {.plugin_config = {{"INFERENCE_PRECISION_HINT", {std::string("f32")}}}});
    request_.cache_dir = cache_;
  }
  // Loads, checks the answer, and gives what came of it.
  LoadFacts Serve() {
    const auto loaded = runtime_->Load(request_);
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    if (!loaded.ok()) return {};
    const auto request = (*loaded)->CreateInferRequest();
    const std::vector<float> ones(kWidth, 1);
    EXPECT_EQ(Values<float>(Run(**request, {View(ones, {1, static_cast<int64_t>(kWidth)})})[0]),
              std::vector<float>(kWidth, kWidth));
    return (*loaded)->facts();
  }
  // Nothing can be written into the cache folder meanwhile.
  LoadFacts ServeWithoutWriting() {
    fs::permissions(folder_, fs::perms(0755));
    fs::permissions(cache_, fs::perms(0555));
    // Root may write everywhere.
    const uid_t user = geteuid();
    EXPECT_TRUE(user != 0 || seteuid(65534) == 0);
    EXPECT_FALSE(std::ofstream(cache_ / "x").good());
    const LoadFacts facts = Serve();
    EXPECT_TRUE(user != 0 || seteuid(0) == 0);
    fs::permissions(cache_, fs::perms(0755));
    return facts;
  }
  std::vector<fs::path> Files(const std::string& ending) const {
    std::vector<fs::path> files;
    for (const auto& entry : fs::directory_iterator(cache_)) {
      if (entry.path().string().ends_with(ending)) files.push_back(entry.path());
    }
    return files;
  }
  fs::path Blob() const {
    const auto blobs = Files(".blob");
    EXPECT_EQ(blobs.size(), 1u);
    return blobs.empty() ? fs::path() : blobs.front();
  }
  static std::string ReadFile(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static void WriteFile(const fs::path& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

  fs::path cache_;
  LoadRequest request_;
};

TEST_F(ModelCacheTest, ASecondLoadImports) {
  EXPECT_EQ(Serve().cache, LoadFacts::Cache::kMiss);
  EXPECT_EQ(Files("").size(), 2u) << "a blob and its list, nothing that was in the making";
  const LoadFacts second = Serve();
  EXPECT_EQ(second.cache, LoadFacts::Cache::kHit);
  EXPECT_THAT(second.reasons, IsEmpty());
}

TEST_F(ModelCacheTest, ChangedBlobsAreSetAsideAndNeverUsed) {
  Serve();
  const fs::path blob = Blob();
  const std::string good = ReadFile(blob);
  std::string flipped = good;
  for (size_t i = good.size() / 2; i < good.size() / 2 + 64; ++i) flipped[i] ^= 0x11;
  const std::string half = good.substr(0, good.size() / 2);
  for (const std::string& bad : {flipped, half, std::string(), std::string(good.size(), 'x'), good + "more"}) {
    WriteFile(blob, bad);
    const LoadFacts facts = Serve();
    EXPECT_EQ(facts.cache, LoadFacts::Cache::kMiss);
    EXPECT_THAT(facts.reasons, ElementsAre(AllOf(HasSubstr(blob.string()), HasSubstr("set aside"))));
    EXPECT_EQ(ReadFile(blob.string() + ".bad"), bad);
    EXPECT_EQ(Serve().cache, LoadFacts::Cache::kHit) << "made anew";
  }
}

TEST_F(ModelCacheTest, BlobsOfUnknownOriginAreNotUsed) {
  Serve();
  const fs::path blob = Blob();
  std::string foreign = ReadFile(blob);
  for (size_t i = foreign.size() / 2; i < foreign.size() / 2 + 64; ++i) foreign[i] ^= 0x11;
  fs::remove(Files(".sha256").front());
  WriteFile(blob, foreign);
  EXPECT_EQ(Serve().cache, LoadFacts::Cache::kMiss);
  EXPECT_EQ(Serve().cache, LoadFacts::Cache::kHit);
  fs::remove(Blob());
  const LoadFacts cleared = Serve();
  EXPECT_EQ(cleared.cache, LoadFacts::Cache::kMiss);
  EXPECT_THAT(cleared.reasons, IsEmpty()) << "a cleared cache is no fault";
}

TEST_F(ModelCacheTest, HostileListsAreNoWayOut) {
  Serve();
  const fs::path list = Files(".sha256").front(), outside = folder_ / "outside";
  WriteFile(outside, "precious");
  for (const std::string& text : {std::string("00  ../outside\n"), "00  " + list.stem().string() + "./../../outside\n",
                                  std::string("00  .\n"), std::string(1000000, 'a')}) {
    WriteFile(list, text);
    EXPECT_EQ(Serve().cache, LoadFacts::Cache::kMiss);
    EXPECT_EQ(ReadFile(outside), "precious");
  }
  fs::remove(Blob());
  const std::string name = list.stem().string() + ".1.blob";
  fs::create_symlink("/dev/zero", cache_ / name);
  WriteFile(list, "00  " + name + "\n");
  EXPECT_EQ(Serve().cache, LoadFacts::Cache::kMiss) << "endless files are not read";
}

TEST_F(ModelCacheTest, FoldersThatCannotBeUsed) {
  const fs::path file = folder_ / "file";
  WriteFile(file, "x");
  for (const std::string& folder : {file.string(), (file / "below").string(), std::string("/proc/nowhere")}) {
    request_.cache_dir = folder;
    const LoadFacts facts = Serve();
    EXPECT_EQ(facts.cache, LoadFacts::Cache::kOff);
    EXPECT_THAT(facts.reasons, ElementsAre(AllOf(HasSubstr(folder), HasSubstr("without a cache"))));
  }
}

TEST_F(ModelCacheTest, ADiskWithoutRoom) {
  // Files beyond this size fail as those on a full disk do.
  const auto old = signal(SIGXFSZ, SIG_IGN);
  rlimit before;
  getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{8192, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const LoadFacts facts = Serve();
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, old);
  EXPECT_EQ(facts.cache, LoadFacts::Cache::kMiss);
  EXPECT_THAT(facts.reasons, ElementsAre(AllOf(HasSubstr(cache_.string()), HasSubstr("full"))));
  EXPECT_EQ(Serve().cache, LoadFacts::Cache::kMiss) << "half a file is not used";
  EXPECT_EQ(Serve().cache, LoadFacts::Cache::kHit);
}

TEST_F(ModelCacheTest, AFolderThatCannotBeWrittenIsReadAllTheSame) {
  Serve();
  const LoadFacts facts = ServeWithoutWriting();
  EXPECT_EQ(facts.cache, LoadFacts::Cache::kHit);
  EXPECT_THAT(facts.reasons, IsEmpty());
}

TEST_F(ModelCacheTest, AMissingTemporaryFolderCostsTheCacheAtMost) {
  Serve();
  const char* const set = getenv("TMPDIR");
  const std::string before = set == nullptr ? "" : set;
  setenv("TMPDIR", (folder_ / "nowhere").c_str(), 1);
  const LoadFacts writable = Serve();
  const LoadFacts readable = ServeWithoutWriting();
  set == nullptr ? unsetenv("TMPDIR") : setenv("TMPDIR", before.c_str(), 1);
  EXPECT_EQ(writable.cache, LoadFacts::Cache::kHit);
  EXPECT_EQ(readable.cache, LoadFacts::Cache::kOff);
  EXPECT_THAT(readable.reasons, ElementsAre(AllOf(HasSubstr(cache_.string()), HasSubstr("without a cache"))));
}

TEST_F(ModelCacheTest, OtherSettingsAreOtherModels) {
  Serve();
  request_.properties["NUM_STREAMS"] = PropertyValue{int64_t{2}};
  EXPECT_EQ(Serve().cache, LoadFacts::Cache::kMiss);
  EXPECT_EQ(Serve().cache, LoadFacts::Cache::kHit);
}

TEST_F(ModelCacheTest, TheFilesAreThoseThatTheCallerNames) {
  request_.files = "object 1 a model.xml";
  EXPECT_EQ(Serve().cache, LoadFacts::Cache::kMiss);
  // A copy at another place, with other times.
  fs::create_directories(folder_ / "copy");
  for (const char* kind : {".xml", ".bin"}) {
    const fs::path from = fs::path(request_.model_path).replace_extension(kind);
    fs::copy_file(from, folder_ / "copy" / from.filename());
    fs::last_write_time(from, fs::last_write_time(from) - std::chrono::hours(1));
  }
  request_.model_path = folder_ / "copy" / fs::path(request_.model_path).filename();
  EXPECT_EQ(Serve().cache, LoadFacts::Cache::kHit);
  request_.files = "object 1 b model.xml";
  EXPECT_EQ(Serve().cache, LoadFacts::Cache::kMiss);
  EXPECT_EQ(Serve().cache, LoadFacts::Cache::kHit);
  WriteFile(folder_ / "copy/mapping_config.json", R"({"inputs": {"x": "x"}})");
  EXPECT_EQ(Serve().cache, LoadFacts::Cache::kMiss);
}

TEST_F(ModelCacheTest, DevicesWithSeveralBlobs) {
  request_.target = "BATCH:CPU(4)";
  request_.properties["AUTO_BATCH_TIMEOUT"] = PropertyValue{int64_t{1}};
  EXPECT_EQ(Serve().cache, LoadFacts::Cache::kMiss);
  EXPECT_EQ(Files(".blob").size(), 2u);
  EXPECT_EQ(Serve().cache, LoadFacts::Cache::kHit);
  WriteFile(Files(".blob").front(), "changed");
  EXPECT_EQ(Serve().cache, LoadFacts::Cache::kMiss);
  request_.target = "HETERO:CPU";
  EXPECT_EQ(Serve().cache, LoadFacts::Cache::kMiss);
  EXPECT_EQ(Serve().cache, LoadFacts::Cache::kHit);
}

TEST_F(ModelCacheTest, AForeignBlobIsSetAside) {
  Serve();
  const fs::path blob = Blob();
  fs::remove(Files(".sha256").front());
  WriteFile(blob, "foreign");
  EXPECT_THAT(Serve().reasons, ElementsAre(AllOf(HasSubstr(blob.string()), HasSubstr("unknown origin"))));
  EXPECT_EQ(ReadFile(blob.string() + ".bad"), "foreign");
  EXPECT_EQ(Serve().cache, LoadFacts::Cache::kHit);
}

class FullModelCacheTest : public ModelCacheTest {
 protected:
  // The blobs of three models, of about the same size, used in this order; room for a little more than two.
  void Fill() {
    for (const int streams : {1, 2, 3}) Use(streams);
    const uint64_t size = fs::file_size(Files(".blob").front());
    request_.cache_max_bytes = 2 * size + size / 2;
  }
  LoadFacts Use(int64_t streams) {
    request_.properties["NUM_STREAMS"] = PropertyValue{streams};
    // Times of files may be coarse: what was used before is an hour older.
    fs::create_directories(cache_);
    for (const fs::path& path : Files("")) fs::last_write_time(path, fs::last_write_time(path) - std::chrono::hours(1));
    return Serve();
  }
};

TEST_F(FullModelCacheTest, WhatWasUsedLongestAgoGoes) {
  Fill();
  EXPECT_EQ(Files(".blob").size(), 3u);
  EXPECT_EQ(Use(1).cache, LoadFacts::Cache::kHit) << "and is the youngest from now on";
  EXPECT_EQ(Files(".blob").size(), 2u);
  EXPECT_EQ(Files(".sha256").size(), 2u);
  EXPECT_EQ(Use(3).cache, LoadFacts::Cache::kHit);
  EXPECT_EQ(Use(2).cache, LoadFacts::Cache::kMiss);
  EXPECT_EQ(Files(".blob").size(), 2u);
  EXPECT_EQ(Use(3).cache, LoadFacts::Cache::kHit);
}

TEST_F(FullModelCacheTest, WhatNobodyNeedsGoesFirst) {
  Fill();
  request_.cache_max_bytes = 3 * fs::file_size(Files(".blob").front()) + 600;
  WriteFile(cache_ / "1.blob.bad", std::string(1000, 'x'));
  WriteFile(cache_ / "2.blob", std::string(1000, 'x'));
  WriteFile(cache_ / "precious.txt", std::string(1000000, 'x'));
  for (int i = 0; i < 2; ++i) EXPECT_EQ(Use(1).cache, LoadFacts::Cache::kHit);
  EXPECT_FALSE(fs::exists(cache_ / "1.blob.bad"));
  EXPECT_FALSE(fs::exists(cache_ / "2.blob"));
  EXPECT_TRUE(fs::exists(cache_ / "precious.txt")) << "no blob: not ours to count or remove";
}

TEST_F(FullModelCacheTest, AModelThatIsTooLargeIsNotKept) {
  request_.cache_max_bytes = 100;
  EXPECT_THAT(Serve().reasons, ElementsAre(AllOf(HasSubstr("--cache_max_bytes"), HasSubstr("not kept"))));
  EXPECT_THAT(Files(".blob"), IsEmpty());
  EXPECT_EQ(Serve().cache, LoadFacts::Cache::kMiss);
}

TEST_F(ModelCacheTest, ServersShareAFolderWhileBlobsComeAndGo) {
  constexpr int kServers = 4, kRounds = 12;
  std::atomic<int> complaints{0};
  std::vector<std::thread> servers;
  for (int server = 0; server < kServers; ++server) {
    servers.emplace_back([&, server] {
      LoadRequest request = request_;
      // No more than one of the models has room.
      request.cache_max_bytes = 60000;
      for (int round = 0; round < kRounds; ++round) {
        request.properties["NUM_STREAMS"] = PropertyValue{int64_t{1 + (server + round) % 3}};
        const auto loaded = runtime_->Load(request);
        ASSERT_TRUE(loaded.ok()) << loaded.status();
        const auto infer = (*loaded)->CreateInferRequest();
        const std::vector<float> ones(kWidth, 1);
        EXPECT_EQ(Values<float>(Run(**infer, {View(ones, {1, static_cast<int64_t>(kWidth)})})[0]),
                  std::vector<float>(kWidth, kWidth));
        for (const std::string& reason : (*loaded)->facts().reasons) {
          if (reason.find("set aside") == std::string::npos) continue;
          ++complaints;
          ADD_FAILURE() << reason;
        }
      }
    });
  }
  for (std::thread& server : servers) server.join();
  EXPECT_EQ(complaints, 0) << "what another server wrote is not taken for damage";
  for (const fs::path& path : Files("")) EXPECT_NE(path.filename().string().rfind(".staging-", 0), 0u) << path;
}

TEST_F(ModelCacheTest, WhatACrashLeftIsRemovedAndWhatIsBeingMadeIsNot) {
  const fs::path left = cache_ / ".staging-left", used = cache_ / ".staging-used";
  fs::create_directories(left / "below");
  fs::create_directories(used);
  const int lock = open(used.c_str(), O_RDONLY | O_DIRECTORY);
  ASSERT_EQ(flock(lock, LOCK_EX), 0);
  Serve();
  EXPECT_FALSE(fs::exists(left));
  EXPECT_TRUE(fs::exists(used));
  close(lock);
  RemoveAbandoned(cache_);
  EXPECT_FALSE(fs::exists(used));
}

}  // namespace
}  // namespace switchyard
