#include "repository/folder_watcher.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <map>
#include <set>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "base/log.h"
#include "base/mutex.h"
#include "base/thread_name.h"
#include "repository/onnx_data.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kEvents = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB |
                             IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
constexpr int kWatchedLevels = 4;
constexpr size_t kMostFolders = 4096;  // of one path
constexpr int kMostLinks = 40;         // on the way to one file, as in the kernel
constexpr int kPollsBetweenChecks = 30;
constexpr auto kCalm = std::chrono::milliseconds(50);  // between two rounds of events
// A file that is being written is told of when it is closed; one that is cut without being opened, or stays open, when nothing
// was written for so long.
constexpr auto kQuiet = std::chrono::milliseconds(500);

// Changes that another machine makes are not told by this one's kernel.
bool OnNetwork(const std::string& path) {
  struct statfs facts {};
  if (statfs(path.c_str(), &facts) != 0) return false;
  // NFS, SMB, CIFS, SMB2, FUSE, 9P, Ceph, Lustre, AFS: see statfs(2).
  constexpr std::array<uint32_t, 9> kKinds = {0x6969,     0x517B,     0xFF534D42, 0xFE534D42, 0x65735546,
                                              0x01021997, 0x00C36400, 0x0BD00BD0, 0x5346414F};
  return std::find(kKinds.begin(), kKinds.end(), static_cast<uint32_t>(facts.f_type)) != kKinds.end();
}

// What in a folder concerns a path: names that begin with `prefix`; all when it is empty.
struct Interest {
  std::string path;
  std::string prefix;
  friend auto operator<=>(const Interest&, const Interest&) = default;
};

using Folders = std::vector<std::pair<std::string, Interest>>;

// The links on the way to `file`, each of which may be pointed elsewhere, and what they lead to, which may be written or
// replaced where it lies. Nothing where there are none: then it is told of in its folder.
void AddLinks(const fs::path& file, const std::string& path, Folders& folders) {
  struct Part {
    fs::path name;
    bool led_to = false;  // by a link
  };
  std::error_code error;
  const fs::path whole = fs::absolute(file, error);
  if (error) return;
  std::deque<Part> parts;
  for (const fs::path& name : whole.relative_path()) parts.push_back({name});
  fs::path at = whole.root_path();  // without links
  for (int links = 0; !parts.empty() && folders.size() < kMostFolders;) {
    const Part part = parts.front();
    parts.pop_front();
    if (part.name.empty() || part.name == ".") continue;
    if (part.name == "..") {
      at = at.parent_path();
      continue;
    }
    const fs::path next = at / part.name;
    const fs::file_type type = fs::symlink_status(next, error).type();
    const bool is_link = type == fs::file_type::symlink;
    const bool missing = type == fs::file_type::not_found;
    if (is_link || part.led_to || (links > 0 && (missing || parts.empty()))) {
      folders.push_back({at.string(), {path, part.name.string()}});
    }
    if (missing || (is_link && ++links > kMostLinks)) return;
    if (!is_link) {
      at = next;
      continue;
    }
    const fs::path target = fs::read_symlink(next, error);
    if (error) return;
    std::vector<Part> way;
    for (const fs::path& name : target.relative_path()) way.push_back({name});
    if (!way.empty()) way.back().led_to = true;
    parts.insert(parts.begin(), way.begin(), way.end());
    if (target.is_absolute()) at = target.root_path();
  }
}

void AddBelow(const fs::path& folder, const std::string& path, int level, Folders& folders) {
  if (folders.size() >= kMostFolders) return;
  folders.push_back({folder.string(), {path, ""}});
  if (level == kWatchedLevels) return;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    if (it->is_symlink(ignored)) AddLinks(it->path(), path, folders);
    if (it->is_directory(ignored)) AddBelow(it->path(), path, level + 1, folders);
  }
}

// A model's file, those that share its name (a.xml, a.bin), and an ONNX model's data.
void AddFiles(const fs::path& model, const std::string& path, Folders& folders) {
  for (const std::string& name : OnnxDataFiles(model.string())) {
    const fs::path file = model.parent_path() / name;
    folders.push_back({file.parent_path().string(), {path, file.filename().string()}});
    AddLinks(file, path, folders);
    if (folders.size() >= kMostFolders) break;
  }
  std::error_code error;
  for (fs::directory_iterator it(model.parent_path(), error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    const bool shares = it->path().filename().string().starts_with(model.stem().string() + ".");
    if (shares && it->is_symlink(ignored)) AddLinks(it->path(), path, folders);
  }
}

// Where to listen for `path`: its parent, whose entry may come, go, or be a link that changes; all folders below; and where
// links lead. Where the parent is missing itself, the nearest ancestor that is there.
Folders FoldersOf(const std::string& path) {
  Folders folders;
  fs::path child = fs::path(path).lexically_normal();
  if (!child.has_filename()) child = child.parent_path();
  std::error_code error;
  AddLinks(child, path, folders);
  if (fs::is_directory(child, error)) {
    AddBelow(child, path, 0, folders);
  } else if (fs::is_directory(child.parent_path(), error)) {
    AddFiles(child, path, folders);
  }
  std::string prefix =
      !fs::is_directory(child, error) && child.has_extension() ? child.stem().string() : child.filename().string();
  while (child.has_parent_path() && child.parent_path() != child) {
    child = child.parent_path();
    if (fs::is_directory(child, error)) {
      folders.push_back({child.string(), {path, prefix}});
      break;
    }
    prefix = child.filename().string();
  }
  return folders;
}

}  // namespace

class FolderWatcher::Thread {
 public:
  Thread(Duration poll, Means means, OnChange on_change)
      : poll_(poll), on_change_(std::move(on_change)), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (means == Means::kNotify) {
      inotify_ = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
      if (inotify_ < 0) {
        LogWarning("Model folders are polled: inotify is not available: {}",
                   std::error_code(errno, std::generic_category()).message());
      }
    }
    thread_ = std::thread([this] { Run(); });
  }
  ~Thread() {
    {
      MutexLock lock(&mutex_);
      stopping_ = true;
    }
    Wake();
    thread_.join();
    if (inotify_ >= 0) close(inotify_);
    close(wake_);
  }

  void Watch(std::vector<std::string> paths) {
    {
      MutexLock lock(&mutex_);
      wanted_ = std::set<std::string>(paths.begin(), paths.end());
      changed_ = true;
    }
    Wake();
  }

 private:
  struct Path {
    bool polled = true;
    std::set<int> watches;
  };

  void Wake() const {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(wake_, &one, sizeof(one));
  }

  void Run() {
    NameThread("sy-watch");
    TimePoint next_poll = std::chrono::steady_clock::now() + poll_;
    int polls = 0;
    bool calm = false;
    while (true) {
      TimePoint next = next_poll;
      for (const auto& [name, quiet_at] : written_) next = std::min(next, quiet_at);
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - std::chrono::steady_clock::now());
      std::array<pollfd, 2> waits = {{{wake_, POLLIN, 0}, {inotify_, POLLIN, 0}}};
      if (calm) waits[1].fd = -1;  // what comes in a burst is read at once
      const auto longest = calm ? std::min<std::chrono::milliseconds>(left, kCalm) : left;
      poll(waits.data(), waits.size(), static_cast<int>(std::clamp<int64_t>(longest.count(), 0, 3'600'000)));
      calm = false;
      uint64_t count = 0;
      [[maybe_unused]] const ssize_t drained = read(wake_, &count, sizeof(count));
      if (!TakeWanted()) return;
      if ((waits[1].revents & POLLIN) != 0) {
        TellAndFollow(ReadEvents());
        calm = true;
      }
      TellAndFollow(Quiet());
      if (std::chrono::steady_clock::now() < next_poll) continue;
      next_poll = std::chrono::steady_clock::now() + poll_;
      const bool all = ++polls % kPollsBetweenChecks == 0;
      std::set<std::string> due;
      for (const auto& [name, path] : paths_) {
        if (path.polled || all) due.insert(name);
      }
      TellAndFollow(due);
    }
  }

  // False: it is time to end.
  bool TakeWanted() {
    std::set<std::string> wanted;
    {
      MutexLock lock(&mutex_);
      if (stopping_) return false;
      if (!std::exchange(changed_, false)) return true;
      wanted = wanted_;
    }
    for (auto it = paths_.begin(); it != paths_.end();) {
      if (wanted.contains(it->first)) {
        ++it;
        continue;
      }
      for (const int watch : it->second.watches) Forget(watch, it->first);
      it = paths_.erase(it);
    }
    std::set<std::string> fresh;
    for (const std::string& name : wanted) {
      if (paths_.try_emplace(name).second) fresh.insert(name);
    }
    TellAndFollow(fresh);
    return true;
  }

  // Followed first: what changes after somebody looked is told again.
  void TellAndFollow(const std::set<std::string>& names) {
    for (const std::string& name : names) {
      const auto path = paths_.find(name);
      written_.erase(name);
      if (path == paths_.end()) continue;
      Follow(name, path->second);
      on_change_(name);
    }
  }

  void Follow(const std::string& name, Path& path) {
    path.polled = inotify_ < 0 || OnNetwork(name);
    if (inotify_ < 0) return;
    std::set<int> watches;
    for (const auto& [folder, interest] : FoldersOf(name)) {
      // A link may lead there.
      path.polled = path.polled || OnNetwork(folder);
      const int watch = inotify_add_watch(inotify_, folder.c_str(), kEvents);
      if (watch < 0) {
        // A folder that is gone already was told of by its parent.
        if (errno == ENOENT || errno == ENOTDIR) continue;
        path.polled = true;
        if (errno == ENOSPC && !std::exchange(told_full_, true)) {
          LogWarning(
              "Some model folders are polled: there are no inotify watches left; raise the sysctl fs.inotify.max_user_watches");
        }
        continue;
      }
      watches.insert(watch);
      interests_[watch].insert(interest);
    }
    for (const int watch : path.watches) {
      if (!watches.contains(watch)) Forget(watch, name);
    }
    path.watches = std::move(watches);
  }

  void Forget(int watch, const std::string& name) {
    const auto found = interests_.find(watch);
    if (found == interests_.end()) return;
    std::erase_if(found->second, [&](const Interest& interest) { return interest.path == name; });
    if (!found->second.empty()) return;
    inotify_rm_watch(inotify_, watch);
    interests_.erase(found);
  }

  // Where writing has ended, as it seems.
  std::set<std::string> Quiet() const {
    std::set<std::string> quiet;
    const TimePoint now = std::chrono::steady_clock::now();
    for (const auto& [name, quiet_at] : written_) {
      if (quiet_at <= now) quiet.insert(name);
    }
    return quiet;
  }

  // The paths that they concern, but for those that are only being written.
  std::set<std::string> ReadEvents() {
    std::set<std::string> concerned;
    alignas(inotify_event) std::array<char, 1 << 16> buffer;
    ssize_t length = 0;
    while ((length = read(inotify_, buffer.data(), buffer.size())) > 0) {
      for (ssize_t at = 0; at < length;) {
        const auto* event = reinterpret_cast<const inotify_event*>(buffer.data() + at);
        at += static_cast<ssize_t>(sizeof(inotify_event) + event->len);
        if ((event->mask & IN_Q_OVERFLOW) != 0) {
          for (const auto& [name, path] : paths_) concerned.insert(name);
        }
        const auto found = interests_.find(event->wd);
        if (found == interests_.end()) continue;
        const std::string_view entry = event->len > 0 ? std::string_view(event->name) : std::string_view();
        for (const Interest& interest : found->second) {
          if (!entry.empty() && !entry.starts_with(interest.prefix)) continue;
          if ((event->mask & IN_MODIFY) != 0) {
            written_[interest.path] = std::chrono::steady_clock::now() + kQuiet;
          } else {
            concerned.insert(interest.path);
          }
        }
        if ((event->mask & IN_IGNORED) != 0) {
          for (auto& [name, path] : paths_) path.watches.erase(event->wd);
          interests_.erase(found);
        }
      }
    }
    return concerned;
  }

  const Duration poll_;
  const OnChange on_change_;
  const int wake_;
  int inotify_ = -1;
  // Of the thread alone.
  std::map<std::string, Path> paths_;
  std::map<int, std::set<Interest>> interests_;
  std::map<std::string, TimePoint> written_;  // by path: when to tell of it, if nothing is written until then
  bool told_full_ = false;

  Mutex mutex_;
  std::set<std::string> wanted_ ABSL_GUARDED_BY(mutex_);
  bool changed_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

FolderWatcher::FolderWatcher(Duration poll, Means means, OnChange on_change)
    : thread_(std::make_unique<Thread>(poll, means, std::move(on_change))) {}

FolderWatcher::~FolderWatcher() = default;

void FolderWatcher::Watch(std::vector<std::string> paths) { thread_->Watch(std::move(paths)); }

}  // namespace switchyard
