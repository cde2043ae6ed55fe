// The folder in which OpenVINO keeps compiled models, made safe: a blob is imported only when its bytes are those that were
// written for this very model, settings and device. OpenVINO itself checks no more than a blob's outline, and computes wrong
// answers from one whose weights have changed.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "runtime/runtime.h"

namespace switchyard {

// For one load. On disk, in the folder: OpenVINO's blobs under its own names, and for each load a list of its blobs and their
// SHA-256 ("<key>.sha256", readable by sha256sum). What is compiled anew is written into a folder of its own and moved in when
// it is whole, so that several processes may share the cache; a lock on it tells that its process lives.
// A blob whose bytes have changed is set aside ("<name>.bad").
// Nothing here is an error: whatever is wrong with the folder, the model can be compiled without it; `reasons` say so.
class ModelCache {
 public:
  // No cache.
  ModelCache() = default;
  // Reads the blobs of this load. `identity` is everything that the compiled model depends on, as text.
  ModelCache(const std::string& folder, const std::string& identity);
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
  bool Stage();
  void Unstage();
  void Keep();
  void Complain(std::string reason);

  std::string folder_;
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
