#include "repository/cloud/mirror.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <set>
#include <thread>
#include <utility>

#include "base/backoff.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/thread_name.h"
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

// Is anything here that one of the policies would serve?
bool HasWanted(const std::string& folder, const std::vector<VersionPolicy>& policies) {
  const auto found = ListVersions(folder);
  if (!found.ok()) return false;
  std::vector<int64_t> versions;
  for (const VersionFiles& files : *found) versions.push_back(files.version);
  return std::any_of(policies.begin(), policies.end(),
                     [&](const VersionPolicy& policy) { return !WantedVersions(policy, versions).empty(); });
}

// Times and ports differ each time, where the fault is the same.
std::string WithoutDigits(std::string text) {
  std::erase_if(text, [](unsigned char c) { return std::isdigit(c) != 0; });
  return text;
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
        client_({.connect_timeout = kConnectTimeout, .silence = kSilence, .cancelled = &break_off_}) {}

  ~Follower() {
    Stop();
    if (thread_.joinable()) thread_.join();
  }

  // Returns at once.
  void Stop() {
    stopping_.store(true);
    break_off_.store(true);
    MutexLock lock(&mutex_);  // whoever waits looks again
  }

  void Want(std::vector<VersionPolicy> policies, bool look) {
    MutexLock lock(&mutex_);
    if (!look && policies == policies_) return;
    // A look that is under way finds what is new as well, and may fetch for long.
    if (!looking_ || policies != policies_) known_ = false;
    if (looking_ && policies != policies_) break_off_.store(true);  // it may be fetching what nobody wants any more
    asked_ = true;
    policies_ = std::move(policies);
    if (!thread_.joinable()) thread_ = std::thread([this] { Run(); });
  }

  const std::string& folder() const { return folder_; }
  const std::string& name() const { return name_; }
  std::optional<StatusOr<std::string>> Folder() const {
    MutexLock lock(&mutex_);
    if (!known_) return std::nullopt;
    if (!fault_.ok()) return fault_;
    return folder_;
  }

 private:
  void Run() {
    NameThread("sy-cloud");
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
        break_off_.store(false);
        policies = policies_;
      }
      if (stopping_.load()) return;  // it was told before it was forgotten
      const VersionCopies::Result result = Look(policies);
      if (stopping_.load()) return;
      if (result.status.code() != StatusCode::kCancelled && Take(result, policies)) on_change_(name_);
      pause = Pause(result);
    }
  }

  VersionCopies::Result Look(const std::vector<VersionPolicy>& policies) {
    // The keys may have been changed since: where they come from is looked up again. What was seen of the storage is still so.
    if (copies_ == nullptr || refused_) {
      auto store = options_.open(url_, client_);
      if (!store.ok()) return {.status = store.status()};
      if (copies_ == nullptr) {
        copies_ = std::make_unique<VersionCopies>(**store, client_, folder_, name_, [this] {
          return options_.in_use ? options_.in_use(name_) : std::set<int64_t>();
        });
      } else {
        copies_->Use(**store);
      }
      store_ = *std::move(store);
    }
    VersionCopies::Result result = copies_->Update(policies);
    refused_ = result.status.code() == StatusCode::kPermissionDenied;
    return result;
  }

  // Says whether somebody should look.
  bool Take(const VersionCopies::Result& result, const std::vector<VersionPolicy>& policies) {
    Status status = result.status;
    moving_ = result.moving ? moving_ + 1 : 0;
    const bool here = HasWanted(folder_, policies);
    if (status.ok() && !here && moving_ >= kMostMoving) {
      status = Error(StatusCode::kUnavailable, "{}: its files go on changing", name_);
    }
    const std::string why = WithoutDigits(std::string(Message(status)));
    if (!status.ok() && why != told_) LogError("{} cannot be fetched: {}", name_, Message(status));
    if (status.ok() && !told_.empty()) LogInfo("{} can be fetched again", name_);
    const bool other = why != std::exchange(told_, why);
    failures_ = status.ok() ? 0 : failures_ + 1;
    const Status fault = here ? absl::OkStatus() : status;
    MutexLock lock(&mutex_);
    looking_ = false;
    const bool news = result.changed || !known_ || (other && !here);
    if (news) fault_ = fault;
    // If more was asked for meanwhile, that look is still to come; and so is the one at what changes just now.
    if (policies == policies_ && (here || !fault.ok() || !result.moving)) known_ = true;
    return known_ && news;
  }

  std::chrono::milliseconds Pause(const VersionCopies::Result& result) const {
    if (failures_ > 0) return Backoff(failures_);
    return result.moving ? kWhileMoving : options_.poll;
  }

  const CloudUrl url_;
  const std::string name_;
  const std::string folder_;
  const Options& options_;
  const OnChange& on_change_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> break_off_{false};  // what is under way
  // Of the thread's own.
  HttpClient client_;
  std::unique_ptr<ObjectStore> store_;
  std::unique_ptr<VersionCopies> copies_;
  std::string told_;
  int failures_ = 0;
  int moving_ = 0;
  bool refused_ = false;

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
  for (const auto& [url, follower] : followers) follower->Stop();
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
    std::set<std::string> look;
    for (Wanted& one : wanted) {
      policies[one.url].push_back(std::move(one.policy));
      if (one.look) look.insert(one.url);
    }
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
      follower->Want(std::move(of_url), look.contains(url));
    }
  }
  for (const std::unique_ptr<Follower>& follower : gone) follower->Stop();
  for (std::unique_ptr<Follower>& follower : gone) {
    const std::string folder = follower->folder();
    const bool in_use = options_.in_use && !options_.in_use(follower->name()).empty();
    follower.reset();
    std::error_code error;
    // What is in use goes at the end.
    if (options_.folder.empty() && !in_use) fs::remove_all(folder, error);
  }
}

std::optional<StatusOr<std::string>> CloudMirror::FolderOf(const std::string& url) const {
  MutexLock lock(&mutex_);
  if (const auto fault = unusable_.find(url); fault != unusable_.end()) return fault->second;
  const auto found = followers_.find(url);
  if (found == followers_.end()) return std::nullopt;
  return found->second->Folder();
}

StatusOr<std::vector<int64_t>> ListCloudVersions(const std::string& url, const std::atomic<bool>* cancelled,
                                                 std::chrono::steady_clock::time_point deadline) {
  SY_ASSIGN_OR_RETURN(const CloudUrl parsed, ParseCloudUrl(url));
  HttpClient client({.connect_timeout = std::chrono::seconds(5),
                     .silence = std::chrono::seconds(10),
                     .cancelled = cancelled,
                     .longest_pause = std::chrono::seconds(2),
                     .deadline = deadline});
  SY_ASSIGN_OR_RETURN(const std::unique_ptr<ObjectStore> store, OpenStore(parsed, client));
  SY_ASSIGN_OR_RETURN(const std::vector<StoredObject> objects, store->List());
  std::vector<int64_t> versions;
  for (const auto& [version, files] : ByVersion(objects).versions) versions.push_back(version);
  return versions;
}

}  // namespace switchyard
