#include "repository/cloud/version_copy.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>
#include <system_error>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/whole_file.h"
#include "config/text.h"
#include "fetch/download.h"
#include "fetch/paths.h"
#include "repository/cloud/store_answers.h"
#include "repository/files_state.h"
#include "repository/source.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kObjects = ".objects";
constexpr std::string_view kFetching = ".fetch-";
constexpr std::string_view kReplaced = ".old-";
// What a file is called until it is whole. No object's path has a hidden part.
constexpr std::string_view kIncoming = ".incoming";
constexpr auto kBetweenReports = std::chrono::seconds(5);
constexpr int kTries = 3;

// What this machine's disk says, in a status.
Status DiskFault(std::string_view what, const std::error_code& error) {
  const bool full = error.value() == ENOSPC || error.value() == EDQUOT;
  return Error(full ? StatusCode::kResourceExhausted : StatusCode::kPermissionDenied, "{}: {}", what, error.message());
}

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
    return DiskFault("cannot write into " + folder_, {error_, std::generic_category()});
  }

 private:
  const std::string folder_;
  const int fd_;
  int error_;
};

// One line for each file: its bytes, its tag and its path, encoded.
Status WriteCopied(const std::string& folder, const std::vector<StoredObject>& files) {
  const std::string path = fmt::format("{}/{}", folder, kObjects);
  std::string text;
  for (const StoredObject& file : files) {
    text += fmt::format("{} {} {}\n", file.bytes, EncodeComponent(file.tag), EncodePath(file.key));
  }
  const int error = WriteWholeFile(path, text);
  return error == 0 ? absl::OkStatus() : DiskFault("cannot write " + path, {error, std::generic_category()});
}

bool HasFile(const std::string& folder, const StoredObject& file) {
  std::error_code error;
  const uint64_t size = fs::file_size(folder + "/" + file.key, error);
  return !error && size == file.bytes;
}

bool HasAll(const std::string& folder, const std::vector<StoredObject>& files) {
  return std::all_of(files.begin(), files.end(), [&](const StoredObject& file) { return HasFile(folder, file); });
}

// All that the copy says is there, and nothing else was asked for.
bool IsCopy(const std::string& folder, const std::vector<StoredObject>& files) {
  return ReadCopied(folder) == files && HasAll(folder, files);
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
    std::error_code undone;
    if (!error) fs::rename(staging, path, error);
    if (error) fs::rename(old, path, undone);
    fs::remove_all(old, undone);
  }
  return error ? DiskFault(fmt::format("cannot put {} in its place", path), error) : absl::OkStatus();
}

// What another listing had in `staging`: files, and folders in whose place there may be a file by now.
void RemoveForeign(const std::string& staging, const std::vector<StoredObject>& files) {
  std::set<std::string> keep = {std::string(kObjects), fmt::format("{}.part", kIncoming), fmt::format("{}.tag", kIncoming)};
  std::set<std::string> folders;
  for (const StoredObject& file : files) {
    keep.insert(file.key);
    for (fs::path folder = fs::path(file.key).parent_path(); !folder.empty(); folder = folder.parent_path()) {
      folders.insert(folder.string());
    }
  }
  std::vector<fs::path> foreign;
  std::error_code error;
  for (fs::recursive_directory_iterator it(staging, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    const bool is_folder = it->is_directory(ignored);
    if (!(is_folder ? folders : keep).contains(it->path().lexically_relative(staging).string())) foreign.push_back(it->path());
  }
  for (const fs::path& path : foreign) fs::remove_all(path, error);
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
  for (const StoredObject& object : objects) {
    const size_t slash = object.key.find('/');
    if (slash == object.key.npos || object.key.ends_with('/')) continue;
    const auto version = VersionNumber(std::string_view(object.key).substr(0, slash));
    if (!version) continue;
    const std::string path = object.key.substr(slash + 1);
    if (path == kIncompleteMark) found.incomplete.insert(*version);
    if (path.starts_with('.') && path.find('/') == path.npos) continue;  // as in a folder of this machine
    if (!StaysInside(path)) {
      found.refused = object.key;
    } else {
      found.versions[*version].push_back({path, object.bytes, object.tag});
    }
  }
  for (const int64_t version : found.incomplete) found.versions.erase(version);
  for (auto& [version, files] : found.versions) {
    std::sort(files.begin(), files.end(), [](const StoredObject& a, const StoredObject& b) { return a.key < b.key; });
    // Some services have markers for folders, which are objects of no bytes with a folder's name.
    std::set<std::string> folders;
    for (const StoredObject& file : files) {
      for (size_t slash = file.key.find('/'); slash != file.key.npos; slash = file.key.find('/', slash + 1)) {
        folders.insert(file.key.substr(0, slash));
      }
    }
    std::erase_if(files, [&](const StoredObject& file) {
      if (!folders.contains(file.key)) return false;
      if (file.bytes > 0) found.refused = fmt::format("{}/{}", version, file.key);
      return true;
    });
  }
  return found;
}

StatusOr<StoredVersions> VersionCopies::List() {
  SY_ASSIGN_OR_RETURN(const std::vector<StoredObject> objects, store_->List());
  StoredVersions found = ByVersion(objects);
  if (found.refused != std::exchange(refused_, found.refused) && !found.refused.empty()) {
    LogWarning("{}: its object {} would leave the model's folder, hide in it, or is a folder's name; it is left out", name_,
               Quote(Short(found.refused)));
  }
  if (found.versions.empty()) {
    return Error(
        StatusCode::kNotFound, "no version is there: expected {}/<number>/ with a model's files; {}", name_,
        objects.empty() ? "there is nothing at all" : fmt::format("there is {}, for one", Quote(Short(objects.front().key))));
  }
  return found;
}

VersionCopies::Result VersionCopies::Update(const std::vector<VersionPolicy>& policies) {
  Result result;
  std::error_code error;
  if (fs::create_directories(folder_, error)) fs::permissions(folder_, fs::perms::owner_all, error);
  FolderLock lock(folder_);
  if (result.status = lock.Take(client_); !result.status.ok()) return result;
  StatusOr<StoredVersions> found = List();
  if (result.status = found.status(); !found.ok()) return result;
  std::vector<int64_t> there;
  for (const auto& [version, files] : found->versions) there.push_back(version);
  // One that is being written anew goes on as it was copied.
  std::map<int64_t, std::vector<StoredObject>> kept;
  for (const int64_t version : found->incomplete) {
    std::vector<StoredObject> files = ReadCopied(PathOf(version));
    if (files.empty()) continue;
    there.push_back(version);
    kept.emplace(version, std::move(files));
  }
  std::sort(there.begin(), there.end());
  wanted_.clear();
  for (const VersionPolicy& policy : policies) {
    for (const int64_t version : WantedVersions(policy, there)) wanted_.insert(version);
  }
  RemoveLeftovers();
  const bool gone =
      RemoveVersions([&](int64_t version) { return !found->versions.contains(version) && !kept.contains(version); });
  Versions seen = std::exchange(seen_, {});
  Versions copied;
  for (const int64_t version : wanted_) {
    if (const auto one = kept.find(version); one != kept.end()) {
      copied[version] = one->second;
      continue;
    }
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
  result.changed = gone || copied != copied_;
  copied_ = std::move(copied);
  if (!copied_.empty()) result.changed |= RemoveUnused();
  updated_before_ = true;
  return result;
}

Status VersionCopies::MakeRoom(uint64_t bytes, int64_t for_version) {
  std::error_code error;
  const auto fits = [&] {
    const fs::space_info space = fs::space(folder_, error);
    return error || space.available > bytes;
  };
  if (fits()) return absl::OkStatus();
  RemoveUnused();
  if (fits()) return absl::OkStatus();
  return Error(StatusCode::kResourceExhausted,
               "no room in {} for version {}: {} bytes are free, {} are to be fetched; make room, or name another folder by "
               "--cloud_cache_dir",
               folder_, for_version, fs::space(folder_, error).available, bytes);
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
  const std::string incoming = fmt::format("{}/{}", staging, kIncoming);
  const uint64_t begun = fs::file_size(incoming + ".part", error);
  SY_RETURN_IF_ERROR(MakeRoom(error ? bytes : bytes - std::min(bytes, begun), version));
  const std::string what = fmt::format("{} version {}", name_, version);
  LogInfo("{}: fetching {} of {} files, {}", what, missing.size(), files.size(), Megabytes(bytes));
  const auto begin = std::chrono::steady_clock::now();
  Reporter reporter(what, bytes);
  uint64_t before = 0;
  const DownloadEvents events{.progress = [&](uint64_t now, uint64_t) { reporter.Add(before, now); },
                              .say = [&](const std::string& text) { LogWarning("{}", text); }};
  for (const StoredObject& file : missing) {
    const DownloadRequest request{.http = store_->Get({fmt::format("{}/{}", version, file.key), file.bytes, file.tag}),
                                  .path = incoming,
                                  .bytes = file.bytes,
                                  .expected = {},
                                  .hash = false,
                                  .tries = kTries};
    const StatusOr<Downloaded> got = Download(client_, request, events);
    if (!got.ok()) return got.status();
    fs::rename(incoming, staging + "/" + file.key, error);
    if (error) return DiskFault(fmt::format("cannot write {}/{}", staging, file.key), error);
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
  RemoveForeign(staging, files);
  fs::create_directories(staging, error);
  if (error) return DiskFault("cannot make " + staging, error);
  const Status fetched = FetchFiles(version, files, staging);
  // An object that was replaced meanwhile is not given out any more as it was listed (404, 412), or has another size.
  const bool replaced = fetched.code() == StatusCode::kNotFound || fetched.code() == StatusCode::kFailedPrecondition ||
                        fetched.code() == StatusCode::kDataLoss;
  if (!fetched.ok() && !replaced) return fetched;
  // Whatever came must be of one state of the storage.
  SY_ASSIGN_OR_RETURN(StoredVersions now, List());
  if (now.versions[version] != files) {
    return Error(StatusCode::kAborted, "{} version {} has changed while it was fetched; looking again", name_, version);
  }
  SY_RETURN_IF_ERROR(fetched);
  if (!HasAll(staging, files)) return Error(StatusCode::kInternal, "{} is not whole; somebody else writes there", staging);
  std::ofstream(fmt::format("{}/{}", staging, kCompleteMark));
  return Exchange(staging, PathOf(version));
}

void VersionCopies::RemoveLeftovers() const {
  std::vector<fs::path> stale;
  std::error_code error;
  for (fs::directory_iterator it(folder_, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    const bool fetching = name.starts_with(kFetching);
    const auto version = fetching ? VersionNumber(std::string_view(name).substr(kFetching.size())) : std::nullopt;
    if (name.starts_with(kReplaced) || (fetching && !(version && wanted_.contains(*version)))) stale.push_back(it->path());
  }
  for (const fs::path& path : stale) fs::remove_all(path, error);
}

bool VersionCopies::RemoveUnused() const {
  const std::set<int64_t> in_use = in_use_();
  return RemoveVersions([&](int64_t version) { return !wanted_.contains(version) && !in_use.contains(version); });
}

bool VersionCopies::RemoveVersions(const std::function<bool(int64_t version)>& stale) const {
  std::vector<fs::path> removed;
  std::error_code error;
  for (fs::directory_iterator it(folder_, error), end; !error && it != end; it.increment(error)) {
    const auto version = VersionNumber(it->path().filename().string());
    if (version && stale(*version)) removed.push_back(it->path());
  }
  for (const fs::path& path : removed) fs::remove_all(path, error);
  return !removed.empty();
}

}  // namespace switchyard
