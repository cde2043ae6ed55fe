#include "tools/version_folder.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

#include "repository/source.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStaging = ".converting-";
constexpr auto kStale = std::chrono::hours(24);

Status SystemError(std::string_view what, const std::string& path, const std::error_code& error) {
  const StatusCode code = error == std::errc::permission_denied ? StatusCode::kPermissionDenied : StatusCode::kInvalidArgument;
  return Error(code, "{} {}: {}", what, path, error.message());
}

void RemoveStale(const fs::path& folder) {
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (!entry->path().filename().string().starts_with(kStaging)) continue;
    std::error_code ignored;
    const auto written = fs::last_write_time(entry->path(), ignored);
    if (!ignored && fs::file_time_type::clock::now() - written > kStale) fs::remove_all(entry->path(), ignored);
  }
}

int64_t HighestVersion(const fs::path& folder) {
  int64_t highest = 0;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    highest = std::max(highest, VersionNumber(entry->path().filename().string()).value_or(0));
  }
  return highest;
}

// What was written is on the disk before its name is.
bool Sync(const fs::path& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool good = fsync(fd) == 0;
  close(fd);
  return good;
}

}  // namespace

StatusOr<StagedVersion> StagedVersion::In(const std::string& model_folder) {
  std::error_code error;
  const bool made = fs::create_directories(model_folder, error);
  if (error) return SystemError("Cannot make the folder", model_folder, error);
  if (!fs::is_directory(model_folder, error))
    return InvalidArgument("{} is a file; expected a folder for version folders", model_folder);
  RemoveStale(model_folder);
  StagedVersion staged;
  staged.model_folder_ = model_folder;
  std::string path = (fs::path(model_folder) / (std::string(kStaging) + "XXXXXX")).string();
  if (mkdtemp(path.data()) == nullptr) {
    return SystemError("Cannot write to", model_folder, std::error_code(errno, std::generic_category()));
  }
  staged.path_ = path;
  staged.made_folder_ = made;
  return staged;
}

StagedVersion& StagedVersion::operator=(StagedVersion&& other) noexcept {
  std::swap(model_folder_, other.model_folder_);
  std::swap(path_, other.path_);
  std::swap(made_folder_, other.made_folder_);
  return *this;
}

StagedVersion::~StagedVersion() {
  std::error_code error;
  if (path_.empty()) return;
  fs::remove_all(path_, error);
  // Fails when somebody put something there meanwhile.
  if (made_folder_) fs::remove(model_folder_, error);
}

StatusOr<int64_t> StagedVersion::Commit() {
  SY_ASSIGN_OR_RETURN(const int64_t version, CommitVersion(path_, model_folder_));
  path_.clear();
  return version;
}

StatusOr<int64_t> CommitVersion(const std::string& staged, const std::string& model_folder) {
  const auto unwritten = [](const fs::path& path) {
    return Error(StatusCode::kInternal, "{} cannot be brought to the disk; is it full?", path.string());
  };
  std::error_code error;
  for (fs::recursive_directory_iterator entry(staged, error), end; !error && entry != end; entry.increment(error)) {
    if (!Sync(entry->path())) return unwritten(entry->path());
  }
  if (error) return SystemError("Cannot read what is to be a version,", staged, error);
  if (!Sync(staged)) return unwritten(staged);
  // mkdtemp's folder is its owner's alone; a version is as any folder that the user makes.
  const mode_t mask = umask(0);
  umask(mask);
  chmod(staged.c_str(), 0777 & ~mask);
  constexpr int kTries = 100;
  int64_t version = HighestVersion(model_folder);
  for (int i = 0; i < kTries; ++i) {
    const fs::path target = fs::path(model_folder) / std::to_string(++version);
    // An empty folder of that name would be replaced: it was made by somebody who means to fill it.
    if (fs::exists(fs::symlink_status(target, error))) continue;
    if (std::rename(staged.c_str(), target.c_str()) == 0) {
      Sync(model_folder);
      return version;
    }
    if (errno != EEXIST && errno != ENOTEMPTY && errno != ENOTDIR) break;
  }
  return SystemError("Cannot make a version folder in", model_folder, std::error_code(errno, std::generic_category()));
}

}  // namespace switchyard
