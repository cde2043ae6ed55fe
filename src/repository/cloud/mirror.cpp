#include "repository/cloud/mirror.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <thread>
#include <utility>

#include "base/digest.h"
#include "base/log.h"
#include "repository/cloud/version_copy.h"
#include "repository/source.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::seconds kConnectTimeout{10};
constexpr std::chrono::seconds kSilence{30};

// "s3-bucket-resnet-1f2e3d4c5b6a7980": for people, and one for each URL.
std::string FolderName(const CloudUrl& url) {
  const std::string text = url.Text();
  std::string name = text.substr(0, text.find(':')) + "-" + url.bucket + "-" + fs::path(url.folder).filename().string();
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0 && c != '-' && c != '.' && c != '_') c = '_';
  }
  Digest digest = Digest::Sha256();
  digest.Add(text);
  return name.substr(0, 100) + "-" + digest.Hex().substr(0, 16);
}

bool HasVersion(const std::string& folder) {
  const auto versions = ListVersions(folder);
  return versions.ok() && !versions->empty();
}

}  // namespace

// One repository and its thread.
class CloudMirror::Follower {
 public:
  Follower(CloudUrl url, std::string folder, const Options& options, const OnChange& on_change)
      : url_(std::move(url)),
        name_(url_.Text()),
        folder_(std::move(folder)),
        options_(options),
        on_change_(on_change),
        client_({.connect_timeout = kConnectTimeout, .silence = kSilence, .cancelled = &stopping_}) {}

  ~Follower() {
    stopping_.store(true);
    {
      MutexLock lock(&mutex_);  // whoever waits looks again
    }
    if (thread_.joinable()) thread_.join();
  }

  void Want(std::vector<VersionPolicy> policies) {
    MutexLock lock(&mutex_);
    // A look that is under way finds what is new as well, and may fetch for long.
    if (!looking_ || policies != policies_) known_ = false;
    asked_ = true;
    policies_ = std::move(policies);
    if (!thread_.joinable()) thread_ = std::thread([this] { Run(); });
  }

  const std::string& folder() const { return folder_; }
  std::optional<StatusOr<std::string>> Folder() const {
    MutexLock lock(&mutex_);
    if (!known_) return std::nullopt;
    if (!fault_.ok()) return fault_;
    return folder_;
  }

 private:
  void Run() {
    std::chrono::milliseconds pause{0};
    while (!stopping_.load()) {
      std::vector<VersionPolicy> policies;
      {
        MutexLock lock(&mutex_);
        const auto asked = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return asked_ || stopping_.load(); };
        if (pause.count() == 0) {
          mutex_.Await(asked);
        } else {
          mutex_.AwaitFor(pause, asked);
        }
        if (stopping_.load()) return;
        asked_ = false;
        looking_ = true;
        policies = policies_;
      }
      const VersionCopies::Result result = Look(policies);
      if (stopping_.load()) return;
      if (Take(result, policies)) on_change_(name_);
      pause = Pause(result);
    }
  }

  VersionCopies::Result Look(const std::vector<VersionPolicy>& policies) {
    if (copies_ == nullptr) {
      auto store = options_.open(url_, client_);
      if (!store.ok()) return {.status = store.status()};
      store_ = *std::move(store);
      copies_ = std::make_unique<VersionCopies>(*store_, client_, folder_, name_);
    }
    return copies_->Update(policies);
  }

  // Says whether somebody should look.
  bool Take(const VersionCopies::Result& result, const std::vector<VersionPolicy>& policies) {
    const std::string why(Message(result.status));
    if (!result.status.ok() && why != told_) LogError("{} cannot be fetched: {}", name_, why);
    if (result.status.ok() && !told_.empty()) LogInfo("{} can be fetched again", name_);
    told_ = why;
    failures_ = result.status.ok() ? 0 : failures_ + 1;
    const bool here = HasVersion(folder_);
    const Status fault = result.status.ok() || here ? absl::OkStatus() : result.status;
    MutexLock lock(&mutex_);
    looking_ = false;
    const bool news = result.changed || !known_ || fault != fault_;
    fault_ = fault;
    // If more was asked for meanwhile, that look is still to come; and so is the one at what changes just now.
    if (policies == policies_ && (here || !fault.ok() || !result.moving)) known_ = true;
    return known_ && news;
  }

  std::chrono::milliseconds Pause(const VersionCopies::Result& result) const {
    if (failures_ > 0) {
      std::chrono::seconds wait = kFirstBackoff;
      for (int i = 1; i < failures_ && wait < kLongestBackoff; ++i) wait *= 2;
      return std::min(wait, kLongestBackoff);
    }
    return result.moving ? kWhileMoving : options_.poll;
  }

  const CloudUrl url_;
  const std::string name_;
  const std::string folder_;
  const Options& options_;
  const OnChange& on_change_;
  std::atomic<bool> stopping_{false};
  // Of the thread's own.
  HttpClient client_;
  std::unique_ptr<ObjectStore> store_;
  std::unique_ptr<VersionCopies> copies_;
  std::string told_;
  int failures_ = 0;

  mutable Mutex mutex_;
  std::vector<VersionPolicy> policies_ ABSL_GUARDED_BY(mutex_);
  bool asked_ ABSL_GUARDED_BY(mutex_) = false;
  bool looking_ ABSL_GUARDED_BY(mutex_) = false;
  bool known_ ABSL_GUARDED_BY(mutex_) = false;
  Status fault_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_ ABSL_GUARDED_BY(mutex_);
};

CloudMirror::CloudMirror(Options options, OnChange on_change)
    : options_(std::move(options)), on_change_(std::move(on_change)) {}

CloudMirror::~CloudMirror() {
  std::map<std::string, std::unique_ptr<Follower>> followers;
  std::string temporary;
  {
    MutexLock lock(&mutex_);
    followers.swap(followers_);
    temporary.swap(temporary_);
  }
  followers.clear();
  std::error_code error;
  if (!temporary.empty()) fs::remove_all(temporary, error);
}

StatusOr<std::string> CloudMirror::Root() {
  if (!options_.folder.empty()) return options_.folder;
  if (!temporary_.empty()) return temporary_;
  std::error_code error;
  std::string path = (fs::temp_directory_path(error) / "switchyard-cloud-XXXXXX").string();
  if (error || mkdtemp(path.data()) == nullptr) {
    return Error(StatusCode::kPermissionDenied,
                 "no folder for copies of cloud repositories can be made at {}: {}; name one by --cloud_cache_dir", path,
                 error ? error.message() : std::strerror(errno));
  }
  temporary_ = path;
  return path;
}

void CloudMirror::Want(std::vector<Wanted> wanted) {
  std::vector<std::unique_ptr<Follower>> gone;  // joined without the mutex
  {
    MutexLock lock(&mutex_);
    std::map<std::string, std::vector<VersionPolicy>> policies;
    for (Wanted& one : wanted) policies[one.url].push_back(std::move(one.policy));
    for (auto it = followers_.begin(); it != followers_.end();) {
      const auto next = std::next(it);
      if (!policies.contains(it->first)) gone.push_back(std::move(followers_.extract(it).mapped()));
      it = next;
    }
    unusable_.clear();
    for (auto& [url, of_url] : policies) {
      const auto root = Root();
      const auto parsed = ParseCloudUrl(url);
      if (!root.ok() || !parsed.ok()) {
        unusable_[url] = root.ok() ? parsed.status() : root.status();
        continue;
      }
      std::unique_ptr<Follower>& follower = followers_[url];
      if (follower == nullptr) {
        const std::string folder = (fs::path(*root) / FolderName(*parsed)).string();
        follower = std::make_unique<Follower>(*parsed, folder, options_, on_change_);
      }
      follower->Want(std::move(of_url));
    }
  }
  for (std::unique_ptr<Follower>& follower : gone) {
    const std::string folder = follower->folder();
    follower.reset();
    std::error_code error;
    if (options_.folder.empty()) fs::remove_all(folder, error);
  }
}

std::optional<StatusOr<std::string>> CloudMirror::FolderOf(const std::string& url) const {
  MutexLock lock(&mutex_);
  if (const auto fault = unusable_.find(url); fault != unusable_.end()) return fault->second;
  const auto found = followers_.find(url);
  if (found == followers_.end()) return std::nullopt;
  return found->second->Folder();
}

StatusOr<std::vector<int64_t>> ListCloudVersions(const std::string& url) {
  SY_ASSIGN_OR_RETURN(const CloudUrl parsed, ParseCloudUrl(url));
  HttpClient client({.connect_timeout = kConnectTimeout, .silence = kSilence});
  SY_ASSIGN_OR_RETURN(const std::unique_ptr<ObjectStore> store, OpenStore(parsed, client));
  SY_ASSIGN_OR_RETURN(const std::vector<StoredObject> objects, store->List());
  std::vector<int64_t> versions;
  for (const auto& [version, files] : ByVersion(objects).versions) versions.push_back(version);
  return versions;
}

}  // namespace switchyard
