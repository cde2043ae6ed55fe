// Whether the files of a Version are still those that it was made of.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "repository/files_state.h"

namespace switchyard {

// All lanes of a Version have the same weights, whenever they are made: for a device that takes over, for a shape that comes
// first, or after the memory was given back. Whoever loads one asks afterwards, since files may change while they are read.
// Thread-safe.
class FilesGuard {
 public:
  // `folder`, `model_path`: as for ReadFilesState; `files`: what that said when the Version was to be made.
  FilesGuard(std::string model_name, int64_t version, std::string folder, std::string model_path, std::vector<FileStamp> files);

  // Of all files together, when the Version was to be made.
  uint64_t bytes() const;
  // Blocks on the disk. Unavailable: they are others now.
  Status Check();
  // What the last Check said.
  bool changed() const { return changed_.load(); }
  // Whether a Check found a change since this was asked last.
  bool TakeNews() { return news_.exchange(false); }

 private:
  const std::string model_name_;
  const int64_t version_;
  const std::string folder_;
  const std::string model_path_;
  const std::vector<FileStamp> files_;
  std::atomic<bool> changed_{false};
  std::atomic<bool> news_{false};
};

// What a call is answered with that has to wait for the changed files.
Status FilesChanged(const std::string& model_name, int64_t version);

}  // namespace switchyard
