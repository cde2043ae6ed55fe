// Copies of models that lie in cloud storage, in a folder of this machine, kept as the storage has them.
#pragma once

#include <absl/base/thread_annotations.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"
#include "config/cloud_url.h"
#include "config/settings.h"
#include "fetch/http.h"
#include "repository/cloud/object_store.h"

namespace switchyard {

// Thread-safe. Each repository has a thread, which lists it and fetches; nobody else waits for the storage.
class CloudMirror {
 public:
  // Between two looks while the storage is being written to, and how many of them a model without any version is waited for.
  static constexpr std::chrono::milliseconds kWhileMoving{1500};
  static constexpr int kMostMoving = 10;

  struct Options {
    std::string folder;              // where the copies lie and stay; empty: a private temporary one, removed at the end
    std::chrono::milliseconds poll;  // between two looks; 0: at Want alone, and after a fault
    // Versions of a URL that something here is made of: they stay until they are gone from the storage, or this says that they
    // are not. Called on the repository's thread, without a lock. May be empty: none.
    std::function<std::set<int64_t>(const std::string& url)> in_use;
    std::function<StatusOr<std::unique_ptr<ObjectStore>>(const CloudUrl&, HttpClient&)> open = OpenStore;
  };
  struct Wanted {
    std::string url;  // as CloudUrl::Text has it
    VersionPolicy policy;
    bool look = true;  // once more, also when nothing is new about it
  };
  // What FolderOf says of `url` may be another thing now. On the repository's thread; must not call back.
  using OnChange = std::function<void(const std::string& url)>;

  CloudMirror(Options options, OnChange on_change);
  // Breaks off what is being fetched: what came so far stays in Options::folder, and is gone on with.
  ~CloudMirror();

  // The whole set from now on; a URL may come several times. Each repository is looked at once more where one of its rows says
  // so, or where that is another set of policies. Returns at once, but for the moment that it takes to break off what is not
  // wanted any more. For one thread.
  void Want(std::vector<Wanted> wanted);

  // Where the copies lie: a folder as ListVersions takes it, whole versions alone. Nothing: it was not looked at yet since the
  // last Want that brought something new about it. An error: why there is no version; what was fetched before is served when
  // the storage cannot be reached.
  std::optional<StatusOr<std::string>> FolderOf(const std::string& url) const;

 private:
  class Follower;

  StatusOr<std::string> Root() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  const OnChange on_change_;
  mutable Mutex mutex_;
  std::string temporary_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::unique_ptr<Follower>> followers_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Status> unusable_ ABSL_GUARDED_BY(mutex_);  // of the last Want
};

// How long a check waits for storage that is slow to answer, or asks for patience.
inline constexpr std::chrono::seconds kLongestListing{20};
// The versions that storage has at `url`, ascending, by one listing. Blocks, until `deadline` at most: kUnavailable; and not
// any more once `cancelled` (which may be null) is set: kCancelled.
StatusOr<std::vector<int64_t>> ListCloudVersions(const std::string& url, const std::atomic<bool>* cancelled,
                                                 std::chrono::steady_clock::time_point deadline);

}  // namespace switchyard
