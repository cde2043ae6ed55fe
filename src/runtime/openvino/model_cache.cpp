#include "runtime/openvino/model_cache.h"

#include <fcntl.h>
#include <fmt/ranges.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <set>
#include <sstream>
#include <thread>

#include "base/digest.h"
#include "base/log.h"
#include "base/whole_file.h"
#include "runtime/openvino/name_mapping.h"
#include "runtime/openvino/openvino_runtime.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxListBytes = 65536;
constexpr std::string_view kStaging = ".staging-";
constexpr std::string_view kBlob = ".blob";
constexpr std::string_view kList = ".sha256";
constexpr std::string_view kAside = ".bad";
constexpr int kStagingTries = 8;
// A blob that no list names is somebody's work for so long.
constexpr auto kYoung = std::chrono::hours(1);
// What a process left that ended while it compiled, where no lock can tell.
constexpr auto kStale = std::chrono::hours(24);

// Of a regular file; nothing when it cannot be read.
std::optional<std::string> DigestOf(const fs::path& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return std::nullopt;
  Digest digest = Digest::Sha256();
  struct stat status;
  bool good = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
  std::string buffer(size_t{1} << 20, '\0');
  while (good) {
    const ssize_t count = read(fd, buffer.data(), buffer.size());
    if (count == 0) break;
    if (count < 0 && errno == EINTR) continue;
    good = count > 0;
    if (good) digest.Add({buffer.data(), static_cast<size_t>(count)});
  }
  close(fd);
  if (!good) return std::nullopt;
  return digest.Hex();
}

struct Entry {
  std::string digest;
  std::string name;
};

// Whoever can write the list names files with it: only names within the folder are taken.
std::vector<Entry> ReadList(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxListBytes, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  std::vector<Entry> entries;
  std::istringstream lines(text);
  for (Entry entry; lines >> entry.digest >> entry.name;) {
    if (entry.name.find('/') != std::string::npos || entry.name.starts_with(".")) return {};
    entries.push_back(entry);
  }
  return entries;
}

bool IsFull(const std::string& folder) {
  struct statvfs status;
  return statvfs(folder.c_str(), &status) == 0 && status.f_blocks > 0 && status.f_bavail == 0;
}

// A folder, and whether this process alone has it. Where there are no locks, nobody has any.
int LockFolder(const std::string& folder) {
  const int descriptor = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0 || flock(descriptor, LOCK_EX | LOCK_NB) == 0) return descriptor;
  const int error = errno;
  close(descriptor);
  errno = error;
  return -1;
}

void AddFile(std::string& text, const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  if (error) return;
  const auto written = fs::last_write_time(path, error).time_since_epoch().count();
  text += fmt::format("\nfile {} {} {}", path.string(), size, written);
}

// Several servers may share the folder: one at a time changes what belongs together. Given up after a while, when somebody sits
// on it.
class FolderLock {
 public:
  explicit FolderLock(const std::string& folder) : fd_(open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    for (int i = 0; fd_ >= 0 && !held_ && i < 1000; ++i) {
      held_ = flock(fd_, LOCK_EX | LOCK_NB) == 0;
      if (!held_) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
  ~FolderLock() {
    if (fd_ >= 0) close(fd_);
  }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  bool held() const { return held_; }

 private:
  const int fd_;
  bool held_ = false;
};

std::vector<fs::path> FilesIn(const std::string& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    std::error_code ignored;
    if (fs::is_regular_file(entry->symlink_status(ignored))) files.push_back(entry->path());
  }
  return files;
}

// The names of all blobs that a list has.
std::set<std::string> NamedByLists(const std::string& folder) {
  std::set<std::string> names;
  for (const fs::path& path : FilesIn(folder)) {
    if (path.extension() != kList) continue;
    for (const Entry& entry : ReadList(path)) names.insert(entry.name);
  }
  return names;
}

uint64_t SizeOf(const fs::path& path) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  return error ? 0 : size;
}

struct Removable {
  bool model = false;  // a list with its blobs; otherwise one file that nobody needs
  fs::file_time_type used;
  std::vector<fs::path> files;
  uint64_t bytes = 0;
};

struct CacheContents {
  uint64_t total = 0;      // bytes of everything that the limit counts
  uint64_t own_bytes = 0;  // of the blobs of `own_list`
  std::vector<Removable> removable;
};

CacheContents ReadContents(const std::string& folder, const std::string& own_list) {
  CacheContents contents;
  std::set<std::string> own, named = NamedByLists(folder);
  for (const Entry& entry : ReadList(own_list)) own.insert(entry.name);
  const auto now = fs::file_time_type::clock::now();
  for (const fs::path& path : FilesIn(folder)) {
    const std::string name = path.filename().string();
    std::error_code error;
    Removable each{.used = fs::last_write_time(path, error), .files = {path}, .bytes = 0};
    const uint64_t bytes = SizeOf(path);
    if (name.ends_with(kBlob) || name.ends_with(kAside)) {
      contents.total += bytes;
      if (own.count(name) != 0) contents.own_bytes += bytes;
      // A young blob without a list may be in the making by somebody else.
      const bool nobodys = name.ends_with(kAside) || (named.count(name) == 0 && now - each.used > kYoung);
      each.bytes = bytes;
      if (nobodys) contents.removable.push_back(std::move(each));
    } else if (name.ends_with(kList) && path.string() != own_list) {
      each.model = true;
      for (const Entry& entry : ReadList(path)) {
        if (own.count(entry.name) != 0) continue;
        each.files.push_back(path.parent_path() / entry.name);
        each.bytes += SizeOf(each.files.back());
      }
      contents.removable.push_back(std::move(each));
    }
  }
  return contents;
}

}  // namespace

ModelCache::ModelCache(const std::string& folder, const std::string& identity, uint64_t max_bytes)
    : folder_(folder), max_bytes_(max_bytes) {
  std::error_code error;
  fs::create_directories(folder_, error);
  if (error || !fs::is_directory(folder_, error)) {
    Complain(fmt::format("the cache folder {} cannot be used ({}); compiled without a cache", folder_,
                         error ? error.message() : "it is no folder"));
    return;
  }
  Digest digest = Digest::Sha256();
  digest.Add(identity);
  key_ = digest.Hex().substr(0, 32);
  list_ = (fs::path(folder_) / (key_ + std::string(kList))).string();
  Verify();
  ready_ = ready_ && LinkBlobs();
  if (ready_ || Stage()) return;
  Complain(fmt::format("the cache folder {} cannot be written ({}); compiled without a cache", folder_, strerror(errno)));
}

ModelCache& ModelCache::operator=(ModelCache&& other) noexcept {
  std::swap(folder_, other.folder_);
  std::swap(max_bytes_, other.max_bytes_);
  std::swap(key_, other.key_);
  std::swap(list_, other.list_);
  std::swap(directory_, other.directory_);
  std::swap(staging_, other.staging_);
  std::swap(lock_, other.lock_);
  std::swap(ready_, other.ready_);
  std::swap(reasons_, other.reasons_);
  return *this;
}

ModelCache::~ModelCache() { Unstage(); }

// Of this load, those that are not what the list says; `ready_` when there is a list and all of it is well.
std::vector<std::string> ModelCache::ChangedBlobs() {
  const std::vector<Entry> entries = ReadList(list_);
  ready_ = !entries.empty();
  std::vector<std::string> changed;
  for (const Entry& entry : entries) {
    const fs::path path = fs::path(folder_) / entry.name;
    const bool own = entry.name.starts_with(key_ + '.');
    if (own && DigestOf(path) == entry.digest) continue;
    ready_ = false;
    if (!own) return {};  // not a list of ours
    std::error_code error;
    // What is not there was cleared by somebody.
    if (fs::exists(fs::symlink_status(path, error))) changed.push_back(entry.name);
  }
  return changed;
}

void ModelCache::Verify() {
  ChangedBlobs();
  if (ready_) return;
  // Another server may have been in the middle of replacing blobs and their list. Again, with nobody at it.
  const FolderLock lock(folder_);
  const std::vector<std::string> changed = ChangedBlobs();
  std::error_code error;
  for (const std::string& name : changed) {
    const fs::path path = fs::path(folder_) / name;
    fs::rename(path, path.string() + std::string(kAside), error);
    Complain(
        fmt::format("the cached model {} is not what was written; it is set aside as {}.bad, and the model is compiled anew",
                    path.string(), name));
  }
  if (!ready_) fs::remove(list_, error);
}

bool ModelCache::Stage() {
  RemoveAbandoned(folder_);
  // Between the making and the lock another process may take the folder for an abandoned one.
  for (int i = 0; i < kStagingTries; ++i) {
    std::string name = (fs::path(folder_) / (std::string(kStaging) + "XXXXXX")).string();
    if (mkdtemp(name.data()) == nullptr) return false;
    const int lock = LockFolder(name);
    const bool taken = lock < 0 && errno == EWOULDBLOCK;
    std::error_code error;
    if (!taken && fs::exists(name, error)) {
      staging_ = directory_ = name;
      lock_ = lock;
      return true;
    }
    if (lock >= 0) close(lock);
  }
  errno = EBUSY;
  return false;
}

void ModelCache::Unstage() {
  std::error_code error;
  if (!staging_.empty()) fs::remove_all(std::exchange(staging_, ""), error);
  if (lock_ >= 0) close(std::exchange(lock_, -1));
}

// Into a folder of this load, so that they stay as they are until it is over. False, with nothing changed, when they cannot.
bool ModelCache::LinkBlobs() {
  const bool writable = Stage();
  std::error_code error;
  if (!writable) {
    // A folder that cannot be written is good for reading all the same.
    std::string name = (fs::temp_directory_path(error) / "switchyard-cache-XXXXXX").string();
    if (error || mkdtemp(name.data()) == nullptr) return false;
    staging_ = name;
  }
  for (const Entry& entry : ReadList(list_)) {
    const fs::path from = fs::absolute(fs::path(folder_) / entry.name),
                   to = fs::path(staging_) / entry.name.substr(key_.size() + 1);
    if (writable) fs::create_hard_link(from, to, error);
    if (!writable || error) fs::create_symlink(from, to, error);
    if (!error) continue;
    Unstage();
    directory_.clear();
    return false;
  }
  directory_ = staging_;
  return true;
}

void ModelCache::Finish(bool hit) {
  if (staging_.empty()) return;
  if (hit && ready_) {
    utimensat(AT_FDCWD, list_.c_str(), nullptr, AT_SYMLINK_NOFOLLOW);
  } else {
    Keep();
  }
  Unstage();
  if (max_bytes_ > 0) Evict();
}

void ModelCache::MakeWay(const std::string& name) {
  const fs::path to = fs::path(folder_) / name;
  std::error_code error;
  if (!fs::exists(fs::symlink_status(to, error))) return;
  if (NamedByLists(folder_).count(name) != 0) {
    fs::remove(to, error);
    return;
  }
  fs::rename(to, to.string() + std::string(kAside), error);
  Complain(fmt::format("the file {} in the cache folder is of unknown origin; it is set aside as {}.bad", to.string(), name));
}

void ModelCache::Keep() {
  std::string list;
  std::vector<fs::path> made;
  std::error_code error;
  // OpenVINO does not notice that a disk is full: it leaves half a file.
  bool good = !IsFull(folder_);
  for (fs::directory_iterator entry(staging_, error), end; good && !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    const std::optional<std::string> digest = DigestOf(entry->path());
    if (!name.ends_with(kBlob) || !digest.has_value() || name.find_first_of(" \n\t") != std::string::npos) continue;
    made.push_back(entry->path());
    list += fmt::format("{}  {}.{}\n", *digest, key_, name);
  }
  if (good && list.empty()) {
    Complain(
        fmt::format("nothing came into the cache folder {}: the disk is full, or the device's models cannot be kept", folder_));
    return;
  }
  const FolderLock lock(folder_);
  if (good && lock.held()) {
    // OpenVINO's name is the same for some settings with which the device makes different blobs.
    const auto name_of = [this](const fs::path& path) { return fmt::format("{}.{}", key_, path.filename().string()); };
    for (const fs::path& path : made) MakeWay(name_of(path));
    // The list first: who is killed in between leaves a list of blobs that are not there, not blobs that nobody knows.
    const bool kept = WriteWholeFile(list_, list) == 0 && std::ranges::all_of(made, [&](const fs::path& path) {
                        return std::rename(path.c_str(), (fs::path(folder_) / name_of(path)).c_str()) == 0;
                      });
    if (kept) return;
    for (const fs::path& path : made) fs::remove(fs::path(folder_) / name_of(path), error);
    fs::remove(list_, error);
  }
  Complain(fmt::format("the compiled model could not be kept in the cache folder {}; is the disk full?", folder_));
}

void ModelCache::Evict() {
  const FolderLock lock(folder_);
  if (!lock.held()) return;
  CacheContents contents = ReadContents(folder_, list_);
  uint64_t total = contents.total;
  size_t removed = 0;
  std::ranges::sort(contents.removable, [](const Removable& a, const Removable& b) {
    return std::pair(a.model, a.used) < std::pair(b.model, b.used);
  });
  std::error_code error;
  for (const Removable& each : contents.removable) {
    if (total <= max_bytes_) break;
    for (const fs::path& path : each.files) fs::remove(path, error);
    total -= std::min(total, each.bytes);
    ++removed;
  }
  if (removed > 0) {
    LogInfo("Cache folder {}: what was used longest ago made room ({} of {} bytes, {} removed)", folder_, total, max_bytes_,
            removed);
  }
  if (contents.own_bytes <= max_bytes_) return;
  for (const Entry& entry : ReadList(list_)) fs::remove(fs::path(folder_) / entry.name, error);
  fs::remove(list_, error);
  Complain(fmt::format("the compiled model takes {} bytes, more than the {} of --cache_max_bytes; it is not kept",
                       contents.own_bytes, max_bytes_));
}

void ModelCache::Complain(std::string reason) { reasons_.push_back(std::move(reason)); }

void RemoveAbandoned(const std::string& folder) {
  std::error_code error;
  const auto now = fs::file_time_type::clock::now();
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (!entry->path().filename().string().starts_with(kStaging)) continue;
    std::error_code ignored;
    const int lock = LockFolder(entry->path());
    const bool in_use = lock < 0 && errno == EWOULDBLOCK;
    const auto written = fs::last_write_time(entry->path(), ignored);
    const bool old = !in_use && !ignored && now - written > kStale;
    if (lock >= 0 || old) fs::remove_all(entry->path(), ignored);
    if (lock >= 0) close(lock);
  }
}

std::string CacheIdentity(const LoadRequest& request, const std::string& properties) {
  const ModelSettings& settings = request.settings;
  std::string text = fmt::format("{}\ntarget {}\n{}", OpenVinoVersion(), request.target, properties);
  if (settings.low_latency_transformation) text += "\nlow latency";
  if (settings.batch_size.has_value()) text += fmt::format("\nbatch {}:{}", settings.batch_size->min, settings.batch_size->max);
  if (settings.dynamic_batching.has_value()) text += fmt::format("\nbatching {}", settings.dynamic_batching->max_batch_size);
  for (const auto& [name, shape] : settings.shapes) text += fmt::format("\nshape {} {}", name, shape.ToString());
  for (const auto& [name, layout] : settings.layouts)
    text += fmt::format("\nlayout {} {}:{}", name, layout.tensor, layout.model);
  for (const auto& [name, color] : settings.color_formats)
    text += fmt::format("\ncolor {} {}:{}", name, color.model, color.tensor);
  for (const auto& [name, type] : settings.precisions)
    text += fmt::format("\nprecision {} {}:{}", name, PrecisionName(type.tensor), PrecisionName(type.model));
  for (const auto& [name, values] : settings.means) text += fmt::format("\nmean {} {}", name, fmt::join(values, ","));
  for (const auto& [name, values] : settings.scales) text += fmt::format("\nscale {} {}", name, fmt::join(values, ","));
  const fs::path path = request.model_path;
  if (request.files.empty()) {
    text += "\nmodel " + path.string();
    AddFile(text, path);
    AddFile(text, fs::path(path).replace_extension(".bin"));
  } else {
    text += "\n" + request.files;
  }
  // By its contents: beside a model that is a file by itself, it is none of that one's.
  std::ifstream mapping(MappingPath(path), std::ios::binary);
  if (mapping) text.append("\nmapping ").append(std::istreambuf_iterator<char>(mapping), std::istreambuf_iterator<char>());
  return text;
}

}  // namespace switchyard
