#include "server/ready_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "config/text.h"

namespace switchyard {
namespace {

// Written beside and renamed: whoever waits for the file never reads half of it.
std::string Beside(const std::string& path) { return path + ".tmp"; }

int Open(const std::string& beside) {
  return open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
}

// Errno; 0 when all is written.
int WriteAll(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(file, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return written < 0 ? errno : EIO;
    text.remove_prefix(static_cast<size_t>(written));
  }
  return 0;
}

}  // namespace

Status ReadyFile::Unwritable(int error) const {
  return InvalidArgument("--ready_file: {} cannot be written ({}); name a file in a folder that exists and is writable",
                         Quote(path_), std::generic_category().message(error));
}

Status ReadyFile::Clear() const {
  struct stat info {};
  if (path_.empty() || lstat(path_.c_str(), &info) != 0) return absl::OkStatus();
  if (!S_ISREG(info.st_mode)) {
    return InvalidArgument("--ready_file: expected a file, or none yet, and {} is something else; name another path",
                           Quote(path_));
  }
  if (unlink(path_.c_str()) == 0 || errno == ENOENT) return absl::OkStatus();
  return InvalidArgument("--ready_file: {} is there from an earlier run, and cannot be removed ({})", Quote(path_),
                         std::generic_category().message(errno));
}

Status ReadyFile::Prepare() const {
  SY_RETURN_IF_ERROR(Clear());
  if (path_.empty()) return absl::OkStatus();
  const std::string beside = Beside(path_);
  const int file = Open(beside);
  if (file < 0) return Unwritable(errno);
  close(file);
  unlink(beside.c_str());
  return absl::OkStatus();
}

Status ReadyFile::Write(std::string_view text) {
  const std::lock_guard lock(mutex_);
  if (path_.empty() || removed_) return absl::OkStatus();
  const std::string beside = Beside(path_);
  const int file = Open(beside);
  if (file < 0) return Unwritable(errno);
  int error = WriteAll(file, text);
  const int held = fcntl(file, F_DUPFD_CLOEXEC, 0);
  if (held < 0 && error == 0) error = errno;
  // Only now does a network's file system say whether it has it.
  if (close(file) != 0 && error == 0) error = errno;
  if (error == 0 && std::rename(beside.c_str(), path_.c_str()) != 0) error = errno;
  if (error != 0) {
    if (held >= 0) close(held);
    unlink(beside.c_str());
    return Unwritable(error);
  }
  if (written_ >= 0) close(written_);
  written_ = held;
  return absl::OkStatus();
}

void ReadyFile::Remove() {
  const std::lock_guard lock(mutex_);
  removed_ = true;
  struct stat ours {
  }, there{};
  if (written_ < 0 || fstat(written_, &ours) != 0 || lstat(path_.c_str(), &there) != 0) return;
  if (ours.st_dev == there.st_dev && ours.st_ino == there.st_ino) unlink(path_.c_str());
}

ReadyFile::~ReadyFile() {
  if (written_ >= 0) close(written_);
}

}  // namespace switchyard
