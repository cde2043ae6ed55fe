// Copies of a model's versions on this machine, brought to what cloud storage has.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "config/settings.h"
#include "fetch/http.h"
#include "repository/cloud/object_store.h"

namespace switchyard {

// A listing by versions: of each its files, with their paths below the version's folder in `key`, sorted. Objects that lie
// elsewhere, and folders' markers, are left out.
struct StoredVersions {
  std::map<int64_t, std::vector<StoredObject>> versions;
  std::set<int64_t> incomplete;  // marked as such, and not among `versions`: not to be fetched
  std::string refused;  // an object whose path would leave its folder, hide in it, or be a folder's; empty: there is none
};
StoredVersions ByVersion(const std::vector<StoredObject>& objects);

// <folder>/<n>/ with the files, `.complete`, and `.objects`, which says what they are copies of; <folder>/.fetch-<n>/ while
// they come. A version is exchanged as a whole; what did not change is linked, not fetched. Servers may share the folder: one
// at a time changes it.
// For one thread.
class VersionCopies {
 public:
  // Versions that something here is made of, or is being made of.
  using InUse = std::function<std::set<int64_t>()>;

  // `name` is the repository, for messages. All outlive this object; the store, until there is another.
  VersionCopies(ObjectStore& store, HttpClient& client, std::string folder, std::string name, InUse in_use)
      : store_(&store), client_(client), folder_(std::move(folder)), name_(std::move(name)), in_use_(std::move(in_use)) {}

  // The same storage, with other keys.
  void Use(ObjectStore& store) { store_ = &store; }

  struct Result {
    Status status;         // the first fault; what could be brought about was
    bool changed = false;  // something in the folder, by whomever
    bool moving = false;   // the storage changes just now: to be looked at again soon
  };
  // Blocks: lists, fetches what any of the policies wants, and lets go of what is gone from the storage, and of what is neither
  // wanted nor in use once something that is wanted is here. A listing without any version lets nothing go.
  // Errors: those of the store; NotFound: no version is there; ResourceExhausted: no room; PermissionDenied: also of the
  // folder; kCancelled.
  Result Update(const std::vector<VersionPolicy>& policies);

 private:
  using Versions = std::map<int64_t, std::vector<StoredObject>>;

  StatusOr<StoredVersions> List();
  Status Fetch(int64_t version, const std::vector<StoredObject>& files);
  Status FetchFiles(int64_t version, const std::vector<StoredObject>& files, const std::string& staging);
  Status MakeRoom(uint64_t bytes, int64_t for_version);
  // What was begun for a version that is not wanted any more, or stands in the way after a crash.
  void RemoveLeftovers() const;
  // What is neither wanted nor in use.
  bool RemoveUnused() const;
  // Says whether there was any.
  bool RemoveVersions(const std::function<bool(int64_t version)>& stale) const;
  std::string PathOf(int64_t version) const { return folder_ + "/" + std::to_string(version); }

  ObjectStore* store_;
  HttpClient& client_;
  const std::string folder_;
  const std::string name_;
  const InUse in_use_;
  std::string refused_;       // told already
  std::set<int64_t> wanted_;  // of the update that runs
  bool updated_before_ = false;
  Versions copied_;  // what was here, of what was wanted, when it was looked last
  // What was new or changed at the last look: it is fetched when it looks the same a second time.
  Versions seen_;
};

// What a version's copy says that it is a copy of; empty when there is none.
std::vector<StoredObject> ReadCopied(const std::string& version_folder);

}  // namespace switchyard
