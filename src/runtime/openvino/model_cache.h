// The folder in which OpenVINO keeps compiled models, made safe: a blob is imported only when its bytes are those that were
// written for this very model, settings and device. OpenVINO itself checks no more than a blob's outline, and computes wrong
// answers from one whose weights have changed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "runtime/runtime.h"

namespace switchyard {

// For one load. On disk, in the folder: OpenVINO's blobs ("<key>.<OpenVINO's name>"), and for each load a list of them and
// their SHA-256 ("<key>.sha256", readable by sha256sum). OpenVINO works in a folder of this load's own, into which the blobs
// are linked: nobody can take or change them under its hands. What is compiled anew is written there and moved in when it is
// whole, under a lock of the cache's folder, so that several processes may share it; a lock on a load's own folder tells that
// its process lives. A blob whose bytes have changed, or that no list names where one is to be written, is set aside
// ("<name>.bad"). With a limit, what was used longest ago goes: first what was set aside or belongs to nobody, then other
// models. A list's time is that of its last use. Nothing here is an error: whatever is wrong with the folder, the model can be
// compiled without it; `reasons` say so.
class ModelCache {
 public:
  // No cache.
  ModelCache() = default;
  // Reads the blobs of this load. `identity` is everything that the compiled model depends on, as text. `max_bytes`: of all
  // blobs in the folder; 0: any.
  ModelCache(const std::string& folder, const std::string& identity, uint64_t max_bytes = 0);
  ModelCache(ModelCache&& other) noexcept { *this = std::move(other); }
  ModelCache& operator=(ModelCache&& other) noexcept;
  ~ModelCache();

  // What OpenVINO is given as CACHE_DIR; empty: compile without.
  const std::string& directory() const { return directory_; }
  // Blobs of this load are there and whole.
  bool ready() const { return ready_; }
  // After compiling with directory(): keeps what was written. `hit` says whether the blobs were used.
  void Finish(bool hit);
  // Sentences for people.
  const std::vector<std::string>& reasons() const { return reasons_; }

 private:
  void Verify();
  std::vector<std::string> ChangedBlobs();
  bool Stage();
  bool LinkBlobs();
  void Unstage();
  void Keep();
  void MakeWay(const std::string& name);
  void Evict();
  void Complain(std::string reason);

  std::string folder_;
  uint64_t max_bytes_ = 0;
  std::string key_;   // of this load
  std::string list_;  // the path of the list of blobs
  std::string directory_;
  std::string staging_;  // empty: nothing to be removed
  int lock_ = -1;        // on staging_
  bool ready_ = false;
  std::vector<std::string> reasons_;
};

// Removes what processes left in the cache folder that ended while they compiled.
void RemoveAbandoned(const std::string& folder);

// Everything that the result of this load depends on. `properties` are what OpenVINO compiles with, as text.
std::string CacheIdentity(const LoadRequest& request, const std::string& properties);

}  // namespace switchyard
