#include "server/ready_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "base/whole_file.h"
#include "config/text.h"

namespace switchyard {

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
  const int error = TryWholeFile(path_);
  return error == 0 ? absl::OkStatus() : Unwritable(error);
}

Status ReadyFile::Write(std::string_view text) {
  const std::lock_guard lock(mutex_);
  if (path_.empty() || removed_) return absl::OkStatus();
  int held = -1;
  if (const int error = WriteWholeFile(path_, text, {.descriptor = &held}); error != 0) return Unwritable(error);
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
