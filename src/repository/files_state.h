// What the files of one version look like from outside: how a change of them is noticed, and whether they are still changing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard {

// The marks of whoever copies a version: see FilesState.
inline constexpr std::string_view kCompleteMark = ".complete";
inline constexpr std::string_view kIncompleteMark = ".incomplete";

struct FileStamp {
  std::string path;  // below the version's folder
  uint64_t size = 0;
  int64_t modified_ns = 0;
  uint64_t inode = 0;
  friend bool operator==(const FileStamp&, const FileStamp&) = default;
};

struct FilesState {
  // Sorted by path. Files whose names begin with a dot are none of a model's (rsync's unfinished ones, say).
  std::vector<FileStamp> files;
  uint64_t bytes = 0;      // all of them together
  int64_t changed_ns = 0;  // the latest change of any file or folder, the hidden ones included, on the file system's clock
  // Somebody who copies may say where they are: `.incomplete` lies in the folder until all is there, or `.complete` from when
  // all is there. Without either, files are whole when they have been quiet for a moment.
  bool marked_complete = false;
  bool marked_incomplete = false;
};

// Of the version of `base_path` that ListVersions found at `model_path`: all in its folder, or, when base_path is a model file,
// the files beside it that share its name up to the extension, and those in which an ONNX model keeps its tensors. What
// vanishes meanwhile is left out.
FilesState ReadFilesState(const std::string& base_path, const std::string& model_path);

// Of a version's folder that holds no complete set of model files; the folder itself counts as well, which may be empty.
FilesState ReadFolderState(const std::string& folder);

}  // namespace switchyard
