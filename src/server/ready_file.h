// --ready_file: tells whoever waits for it where this server listens, as long as it serves.
#pragma once

#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"

namespace switchyard {

// Thread-safe.
class ReadyFile {
 public:
  // An empty path: there is no such file, and nothing is done.
  explicit ReadyFile(std::string path) : path_(std::move(path)) {}
  ~ReadyFile();
  ReadyFile(const ReadyFile&) = delete;
  ReadyFile& operator=(const ReadyFile&) = delete;

  // Removes what an earlier run left there. InvalidArgument: what is there is no regular file (it stays), or cannot be removed.
  Status Clear() const;
  // Clear, and finds out whether the file can be written. InvalidArgument with the reason.
  Status Prepare() const;
  // The file is there whole or not at all. Does nothing after Remove.
  Status Write(std::string_view text);
  // Removes what Write wrote, unless another server has put its own there meanwhile. For good.
  void Remove();

 private:
  Status Unwritable(int error) const;

  const std::string path_;
  std::mutex mutex_;
  bool removed_ = false;  // guarded by mutex_
  int written_ = -1;      // guarded by mutex_: what Write wrote, open, so that no other file has its inode
};

}  // namespace switchyard
