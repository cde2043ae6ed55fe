#include "repository/files_state.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "repository/onnx_data.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

// A folder that holds more is no model's: links may lead in circles.
constexpr size_t kMostFiles = 10000;
constexpr int kMostLevels = 8;

int64_t Nanoseconds(const timespec& time) { return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec; }

void AddFile(const fs::path& path, const std::string& name, const struct stat& facts, FilesState& state) {
  state.changed_ns = std::max(state.changed_ns, Nanoseconds(facts.st_ctim));
  if (path.filename().native().front() == '.') return;
  const auto size = static_cast<uint64_t>(facts.st_size);
  state.files.push_back({name, size, Nanoseconds(facts.st_mtim), facts.st_ino});
  state.bytes += size;
}

void AddFolder(const fs::path& folder, const std::string& prefix, int level, FilesState& state) {
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (state.files.size() >= kMostFiles) return;
    const std::string name = it->path().filename().string();
    struct stat facts {};
    if (stat(it->path().c_str(), &facts) != 0) continue;
    if (level == 0 && (name == kCompleteMark || name == kIncompleteMark)) {
      (name == kCompleteMark ? state.marked_complete : state.marked_incomplete) = true;
    } else if (S_ISDIR(facts.st_mode)) {
      state.changed_ns = std::max(state.changed_ns, Nanoseconds(facts.st_ctim));
      if (name.front() != '.' && level < kMostLevels) AddFolder(it->path(), prefix + name + "/", level + 1, state);
    } else if (S_ISREG(facts.st_mode)) {
      AddFile(it->path(), prefix + name, facts, state);
    }
  }
}

void AddBeside(const fs::path& model, FilesState& state) {
  const std::string stem = model.stem().string() + ".";
  std::error_code error;
  for (fs::directory_iterator it(model.parent_path(), error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    struct stat facts {};
    if (!name.starts_with(stem) || stat(it->path().c_str(), &facts) != 0 || !S_ISREG(facts.st_mode)) continue;
    if (state.files.size() < kMostFiles) AddFile(it->path(), name, facts, state);
  }
  for (const std::string& name : OnnxDataFiles(model.string())) {
    const fs::path file = model.parent_path() / name;
    struct stat facts {};
    if (name.starts_with(stem) || stat(file.c_str(), &facts) != 0 || !S_ISREG(facts.st_mode)) continue;
    if (state.files.size() < kMostFiles) AddFile(file, name, facts, state);
  }
}

}  // namespace

FilesState ReadFilesState(const std::string& base_path, const std::string& model_path) {
  FilesState state;
  std::error_code error;
  const fs::path model = model_path;
  if (fs::is_directory(model, error)) {
    AddFolder(model, "", 0, state);
  } else if (fs::is_directory(base_path, error)) {
    AddFolder(model.parent_path(), "", 0, state);
  } else {
    AddBeside(model, state);
  }
  std::sort(state.files.begin(), state.files.end(), [](const FileStamp& a, const FileStamp& b) { return a.path < b.path; });
  return state;
}

FilesState ReadFolderState(const std::string& folder) {
  FilesState state = ReadFilesState(folder, folder);
  struct stat facts {};
  if (stat(folder.c_str(), &facts) == 0) state.changed_ns = std::max(state.changed_ns, Nanoseconds(facts.st_ctim));
  return state;
}

}  // namespace switchyard
