#include "repository/cloud/version_copy.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>
#include <utility>

#include "base/log.h"
#include "fetch/download.h"
#include "fetch/paths.h"
#include "repository/source.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kObjects = ".objects";
constexpr std::string_view kComplete = ".complete";
constexpr std::string_view kFetching = ".fetch-";
constexpr std::string_view kReplaced = ".old-";
constexpr auto kBetweenReports = std::chrono::seconds(5);
constexpr int kTries = 3;

// Of the folder, for whoever changes it.
class FolderLock {
 public:
  explicit FolderLock(const std::string& folder)
      : folder_(folder),
        fd_(open((folder + "/.lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)),
        error_(fd_ < 0 ? errno : 0) {}
  ~FolderLock() {
    if (fd_ >= 0) close(fd_);
  }
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

  Status Take(const HttpClient& client) {
    bool told = false;
    while (error_ == 0 && flock(fd_, LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK && errno != EINTR) error_ = errno;
      if (client.Cancelled()) return Error(StatusCode::kCancelled, "the server stops");
      if (!std::exchange(told, true)) LogInfo("Another server is fetching into {}; waiting for it", folder_);
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    if (error_ == 0) return absl::OkStatus();
    return Error(StatusCode::kPermissionDenied, "cannot write into {}: {}", folder_, std::strerror(error_));
  }

 private:
  const std::string folder_;
  const int fd_;
  int error_;
};

// One line for each file: its bytes, its tag and its path, encoded.
Status WriteCopied(const std::string& folder, const std::vector<StoredObject>& files) {
  const std::string path = fmt::format("{}/{}", folder, kObjects);
  {
    std::ofstream out(path + ".tmp", std::ios::trunc);
    for (const StoredObject& file : files) {
      out << file.bytes << ' ' << EncodeComponent(file.tag) << ' ' << EncodePath(file.key) << '\n';
    }
    if (!out.flush()) return Error(StatusCode::kResourceExhausted, "cannot write {}", path);
  }
  std::error_code error;
  fs::rename(path + ".tmp", path, error);
  if (error) return Error(StatusCode::kPermissionDenied, "cannot write {}: {}", path, error.message());
  return absl::OkStatus();
}

bool HasFile(const std::string& folder, const StoredObject& file) {
  std::error_code error;
  const uint64_t size = fs::file_size(folder + "/" + file.key, error);
  return !error && size == file.bytes;
}

// All that the copy says is there, and nothing else was asked for.
bool IsCopy(const std::string& folder, const std::vector<StoredObject>& files) {
  return ReadCopied(folder) == files &&
         std::all_of(files.begin(), files.end(), [&](const StoredObject& file) { return HasFile(folder, file); });
}

// What stands at `path` is `staging` from now on, in one step where the file system can.
Status Exchange(const std::string& staging, const std::string& path) {
  std::error_code error;
  if (!fs::exists(path, error)) {
    fs::rename(staging, path, error);
  } else if (renameat2(AT_FDCWD, staging.c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE) == 0) {
    fs::remove_all(staging, error);
    error.clear();
  } else {
    const fs::path old = fs::path(path).parent_path() / fmt::format("{}{}", kReplaced, fs::path(path).filename().string());
    fs::remove_all(old, error);
    fs::rename(path, old, error);
    if (!error) fs::rename(staging, path, error);
    std::error_code ignored;
    fs::remove_all(old, ignored);
  }
  if (error) return Error(StatusCode::kPermissionDenied, "cannot put {} in its place: {}", path, error.message());
  return absl::OkStatus();
}

std::string Megabytes(uint64_t bytes) { return fmt::format("{:.1f} MB", static_cast<double>(bytes) / 1e6); }

// Says now and then how far it is.
class Reporter {
 public:
  Reporter(std::string what, uint64_t total) : what_(std::move(what)), total_(total) {}
  void Add(uint64_t done_before, uint64_t done) {
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < kBetweenReports) return;
    last_ = now;
    LogInfo("{}: {} of {}", what_, Megabytes(done_before + done), Megabytes(total_));
  }

 private:
  const std::string what_;
  const uint64_t total_;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

}  // namespace

std::vector<StoredObject> ReadCopied(const std::string& version_folder) {
  std::vector<StoredObject> files;
  std::ifstream in(fmt::format("{}/{}", version_folder, kObjects));
  for (std::string line; std::getline(in, line);) {
    const size_t first = line.find(' ');
    const size_t second = first == line.npos ? first : line.find(' ', first + 1);
    if (second == line.npos) return {};
    StoredObject file{DecodeComponent(line.substr(second + 1)), 0, DecodeComponent(line.substr(first + 1, second - first - 1))};
    std::from_chars(line.data(), line.data() + first, file.bytes);
    files.push_back(std::move(file));
  }
  return files;
}

StoredVersions ByVersion(const std::vector<StoredObject>& objects) {
  StoredVersions found;
  std::set<int64_t> incomplete;
  for (const StoredObject& object : objects) {
    const size_t slash = object.key.find('/');
    if (slash == object.key.npos || object.key.ends_with('/')) continue;
    const auto version = VersionNumber(std::string_view(object.key).substr(0, slash));
    if (!version) continue;
    const std::string path = object.key.substr(slash + 1);
    if (path == ".incomplete") incomplete.insert(*version);
    if (path.starts_with('.') && path.find('/') == path.npos) continue;  // as in a folder of this machine
    if (!StaysInside(path)) {
      found.refused = object.key;
    } else {
      found.versions[*version].push_back({path, object.bytes, object.tag});
    }
  }
  for (const int64_t version : incomplete) found.versions.erase(version);
  for (auto& [version, files] : found.versions) {
    std::sort(files.begin(), files.end(), [](const StoredObject& a, const StoredObject& b) { return a.key < b.key; });
  }
  return found;
}

StatusOr<StoredVersions> VersionCopies::List() {
  SY_ASSIGN_OR_RETURN(const std::vector<StoredObject> objects, store_.List());
  if (objects.size() >= ObjectStore::kMostObjects) {
    return Error(StatusCode::kResourceExhausted, "{} has more than {} objects, which is no model's folder", name_,
                 ObjectStore::kMostObjects);
  }
  StoredVersions found = ByVersion(objects);
  if (!found.refused.empty()) {
    LogWarning("{}: its object {} would leave the model's folder, or hide in it; it is left out", name_, found.refused);
  }
  if (found.versions.empty()) {
    return Error(StatusCode::kNotFound, "no version is there: expected {}/<number>/ with a model's files; {}", name_,
                 objects.empty() ? "there is nothing at all" : fmt::format("there is {}, for one", objects.front().key));
  }
  return found;
}

VersionCopies::Result VersionCopies::Update(const std::vector<VersionPolicy>& policies) {
  Result result;
  std::error_code error;
  fs::create_directories(folder_, error);
  FolderLock lock(folder_);
  if (result.status = lock.Take(client_); !result.status.ok()) return result;
  StatusOr<StoredVersions> found = List();
  if (result.status = found.status(); !found.ok()) return result;
  std::vector<int64_t> there;
  for (const auto& [version, files] : found->versions) there.push_back(version);
  std::vector<int64_t> wanted;
  for (const VersionPolicy& policy : policies) {
    for (const int64_t version : WantedVersions(policy, there)) wanted.push_back(version);
  }
  std::map<int64_t, std::vector<StoredObject>> seen = std::exchange(seen_, {});
  std::map<int64_t, std::vector<StoredObject>> copied;
  for (const int64_t version : std::set<int64_t>(wanted.begin(), wanted.end())) {
    const std::vector<StoredObject>& files = found->versions[version];
    if (IsCopy(PathOf(version), files)) {
      copied[version] = files;
      continue;
    }
    // Somebody may be in the middle of writing there.
    if (updated_before_ && seen[version] != files) {
      seen_[version] = files;
      result.moving = true;
      continue;
    }
    Status fetched = Fetch(version, files);
    if (fetched.ok()) {
      copied[version] = files;
    } else if (fetched.code() == StatusCode::kAborted) {
      result.moving = true;
      LogInfo("{}", Message(fetched));
    } else if (result.status.ok()) {
      result.status = std::move(fetched);
    }
  }
  result.changed = copied != std::exchange(copied_, copied);
  if (result.status.ok() && !result.moving) result.changed |= Remove(found->versions, wanted);
  updated_before_ = true;
  return result;
}

Status VersionCopies::CheckRoom(uint64_t bytes) const {
  std::error_code error;
  const fs::space_info space = fs::space(folder_, error);
  if (error || space.available > bytes) return absl::OkStatus();
  return Error(StatusCode::kResourceExhausted,
               "no room in {}: {} bytes are free, {} are to be fetched; make room, or name another folder by --cloud_cache_dir",
               folder_, space.available, bytes);
}

Status VersionCopies::FetchFiles(int64_t version, const std::vector<StoredObject>& files, const std::string& staging) {
  const std::vector<StoredObject> staged = ReadCopied(staging);
  const std::vector<StoredObject> served = ReadCopied(PathOf(version));
  const auto has = [](const std::vector<StoredObject>& list, const StoredObject& file) {
    return std::find(list.begin(), list.end(), file) != list.end();
  };
  std::vector<StoredObject> done, missing;
  uint64_t bytes = 0;
  std::error_code error;
  for (const StoredObject& file : files) {
    const std::string path = staging + "/" + file.key;
    fs::create_directories(fs::path(path).parent_path(), error);
    bool here = has(staged, file) && HasFile(staging, file);
    if (!here && has(served, file) && HasFile(PathOf(version), file)) {
      fs::remove(path, error);
      fs::create_hard_link(PathOf(version) + "/" + file.key, path, error);
      here = !error;
    }
    if (!here) bytes += file.bytes;
    (here ? done : missing).push_back(file);
  }
  SY_RETURN_IF_ERROR(CheckRoom(bytes));
  const std::string what = fmt::format("{} version {}", name_, version);
  LogInfo("{}: fetching {} of {} files, {}", what, missing.size(), files.size(), Megabytes(bytes));
  const auto begin = std::chrono::steady_clock::now();
  Reporter reporter(what, bytes);
  uint64_t before = 0;
  const DownloadEvents events{.progress = [&](uint64_t now, uint64_t) { reporter.Add(before, now); },
                              .say = [&](const std::string& text) { LogWarning("{}", text); }};
  for (const StoredObject& file : missing) {
    const DownloadRequest request{.http = store_.Get({fmt::format("{}/{}", version, file.key), file.bytes, file.tag}),
                                  .path = staging + "/" + file.key,
                                  .bytes = file.bytes,
                                  .expected = {},
                                  .tries = kTries};
    const StatusOr<Downloaded> got = Download(client_, request, events);
    if (!got.ok()) return got.status();
    before += file.bytes;
    done.push_back(file);
    SY_RETURN_IF_ERROR(WriteCopied(staging, done));
  }
  SY_RETURN_IF_ERROR(WriteCopied(staging, files));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  LogInfo("{}: fetched, {} in {:.1f} s", what, Megabytes(bytes), took.count());
  return absl::OkStatus();
}

Status VersionCopies::Fetch(int64_t version, const std::vector<StoredObject>& files) {
  const std::string staging = fmt::format("{}/{}{}", folder_, kFetching, version);
  std::error_code error;
  // What another listing had there.
  std::set<std::string> keep = {std::string(kObjects)};
  for (const StoredObject& file : files) keep.insert({file.key, file.key + ".part", file.key + ".tag"});
  std::vector<fs::path> stale;
  for (fs::recursive_directory_iterator it(staging, error), end; !error && it != end; it.increment(error)) {
    if (!it->is_directory() && !keep.contains(it->path().lexically_relative(staging).string())) stale.push_back(it->path());
  }
  for (const fs::path& path : stale) fs::remove(path, error);
  error.clear();
  fs::create_directories(staging, error);
  if (error) return Error(StatusCode::kPermissionDenied, "cannot make {}: {}", staging, error.message());
  const Status fetched = FetchFiles(version, files, staging);
  // An object that was replaced meanwhile is not given out any more as it was listed (404, 412).
  if (!fetched.ok() && fetched.code() != StatusCode::kNotFound && fetched.code() != StatusCode::kFailedPrecondition)
    return fetched;
  // Whatever came must be of one state of the storage.
  SY_ASSIGN_OR_RETURN(StoredVersions now, List());
  if (now.versions[version] != files) {
    return Error(StatusCode::kAborted, "{} version {} has changed while it was fetched; looking again", name_, version);
  }
  SY_RETURN_IF_ERROR(fetched);
  std::ofstream(fmt::format("{}/{}", staging, kComplete));
  return Exchange(staging, PathOf(version));
}

bool VersionCopies::Remove(const std::map<int64_t, std::vector<StoredObject>>& there,
                           const std::vector<int64_t>& wanted) const {
  // The newest of those that were wanted before goes on serving until what is wanted now does.
  std::optional<int64_t> spare;
  std::vector<fs::path> stale;
  std::error_code error;
  for (fs::directory_iterator it(folder_, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    const std::optional<int64_t> version = VersionNumber(name);
    if (name.starts_with(kFetching) || name.starts_with(kReplaced)) stale.push_back(it->path());
    if (!version || std::find(wanted.begin(), wanted.end(), *version) != wanted.end()) continue;
    stale.push_back(it->path());
    if (there.contains(*version)) spare = std::max(spare.value_or(0), *version);
  }
  bool changed = false;
  for (const fs::path& path : stale) {
    if (spare && path.filename() == std::to_string(*spare)) continue;
    changed |= VersionNumber(path.filename().string()).has_value();
    fs::remove_all(path, error);
  }
  return changed;
}

}  // namespace switchyard
