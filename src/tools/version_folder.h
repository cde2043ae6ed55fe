// Writes a new version of a model so that a server that watches sees it whole or not at all.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace switchyard {

// A folder beside the version folders, under a name that is no version. Commit gives it the next number in one step; otherwise
// it is removed, and so is a model folder that was made for it. What a process that was killed left behind is removed after a
// day by the next one.
class StagedVersion {
 public:
  // Makes `model_folder` if it is not there. InvalidArgument or PermissionDenied: it cannot be written to.
  static StatusOr<StagedVersion> In(const std::string& model_folder);
  StagedVersion(StagedVersion&& other) noexcept { *this = std::move(other); }
  StagedVersion& operator=(StagedVersion&& other) noexcept;
  ~StagedVersion();

  const std::string& path() const { return path_; }
  // The number after the highest version there.
  StatusOr<int64_t> Commit();

 private:
  StagedVersion() = default;

  std::string model_folder_;
  std::string path_;  // empty: committed, or moved from
  bool made_folder_ = false;
};

// Brings the files of the folder `staged`, which lies in `model_folder`, to the disk and makes it the version after the highest
// one there, in one step.
StatusOr<int64_t> CommitVersion(const std::string& staged, const std::string& model_folder);

}  // namespace switchyard
