#include "base/whole_file.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "base/log.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

// A file beside `path`; who does not commit it leaves nothing. Every step returns errno's value.
class Beside {
 public:
  explicit Beside(const std::string& path) : path_(path) {}
  ~Beside() {
    Close();
    if (!name_.empty()) unlink(name_.c_str());
  }
  Beside(const Beside&) = delete;
  Beside& operator=(const Beside&) = delete;

  int Make() {
    constexpr int kTries = 100;
    constexpr size_t kMostOfName = 200;
    const fs::path path(path_);
    const std::string stem = (path.parent_path() / ("." + path.filename().string().substr(0, kMostOfName))).string();
    for (int i = 0; i < kTries; ++i) {
      // Processes of several machines or containers may write into one folder: a process id tells none from another.
      uint32_t random = 0;
      if (getrandom(&random, sizeof(random), 0) != sizeof(random)) return errno;
      std::string name = fmt::format("{}.{:08x}", stem, random);
      file_ = open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
      if (file_ >= 0) {
        name_ = std::move(name);
        return 0;
      }
      if (errno != EEXIST) return errno;
    }
    return EEXIST;
  }

  int KeepMode() {
    struct stat before {};
    if (stat(path_.c_str(), &before) != 0) return 0;
    // An owner that cannot be kept is no reason to refuse. First, as it may take bits of the mode away.
    if (fchown(file_, before.st_uid, before.st_gid) != 0) LogDebug("{}: its owner cannot be kept, errno {}", path_, errno);
    return fchmod(file_, before.st_mode & 07777) == 0 ? 0 : errno;
  }

  int Write(std::string_view text) {
    while (!text.empty()) {
      const ssize_t written = write(file_, text.data(), text.size());
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return written < 0 ? errno : EIO;
      text.remove_prefix(static_cast<size_t>(written));
    }
    return 0;
  }

  int Sync() { return fsync(file_) == 0 ? 0 : errno; }

  int Duplicate(int* descriptor) {
    *descriptor = fcntl(file_, F_DUPFD_CLOEXEC, 0);
    return *descriptor >= 0 ? 0 : errno;
  }

  int Commit() {
    // Only now does a network's file system say whether it has it.
    if (const int error = Close(); error != 0) return error;
    if (std::rename(name_.c_str(), path_.c_str()) != 0) return errno;
    name_.clear();
    return 0;
  }

  void SyncFolder() const {
    const fs::path folder = fs::path(path_).parent_path();
    const int descriptor = open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return;
    fsync(descriptor);
    close(descriptor);
  }

 private:
  int Close() {
    const int file = std::exchange(file_, -1);
    return file < 0 || close(file) == 0 ? 0 : errno;
  }

  const std::string path_;
  std::string name_;  // empty: there is none, or it has its place
  int file_ = -1;
};

}  // namespace

int WriteWholeFile(const std::string& path, std::string_view text, const WholeFileOptions& options) {
  Beside file(path);
  int held = -1;
  int error = file.Make();
  if (error == 0 && options.keep_mode) error = file.KeepMode();
  if (error == 0) error = file.Write(text);
  if (error == 0 && options.sync) error = file.Sync();
  if (error == 0 && options.descriptor != nullptr) error = file.Duplicate(&held);
  if (error == 0) error = file.Commit();
  if (error != 0) {
    if (held >= 0) close(held);
    return error;
  }
  if (options.sync) file.SyncFolder();
  if (options.descriptor != nullptr) *options.descriptor = held;
  return 0;
}

int TryWholeFile(const std::string& path) { return Beside(path).Make(); }

}  // namespace switchyard
