#include "serving/files_guard.h"

#include <utility>

namespace switchyard {

FilesGuard::FilesGuard(std::string model_name, int64_t version, std::string folder, std::string model_path,
                       std::vector<FileStamp> files)
    : model_name_(std::move(model_name)),
      version_(version),
      folder_(std::move(folder)),
      model_path_(std::move(model_path)),
      files_(std::move(files)) {}

uint64_t FilesGuard::bytes() const {
  uint64_t sum = 0;
  for (const FileStamp& file : files_) sum += file.size;
  return sum;
}

Status FilesGuard::Check() {
  const bool changed = ReadFilesState(folder_, model_path_).files != files_;
  changed_.store(changed);
  if (!changed) return absl::OkStatus();
  news_.store(true);
  return FilesChanged(model_name_, version_);
}

Status FilesChanged(const std::string& model_name, int64_t version) {
  return Error(StatusCode::kUnavailable,
               "the files of model {} version {} have changed since it was loaded; the changed ones are loaded as soon as they "
               "are whole: try again",
               model_name, version);
}

}  // namespace switchyard
