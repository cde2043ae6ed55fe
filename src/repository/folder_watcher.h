// Tells when something may have changed at a path: at once where the kernel tells (inotify), else by looking now and then.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/timer.h"

namespace switchyard {

// Thread-safe. A path is a folder, with what is in it to a depth of a few levels, or a file, with the files beside it that
// share its name up to the extension; it need not be there yet. Symbolic links are followed: what they lead to is watched
// where it lies, and a link that is pointed elsewhere is a change, be it the path itself, on the way to it, or below.
class FolderWatcher {
 public:
  // Something may have changed at or below `path`, as it was given. On the watcher's thread; may take a moment, but must not
  // call the watcher. Many changes in a short time are told once.
  using OnChange = std::function<void(const std::string& path)>;
  enum class Means {
    kNotify,  // inotify, and polling where it does not work: no watches left, a network's file system
    kPoll,    // polling alone
  };

  // Paths that are polled are told of every `poll`, changed or not; the others now and then too, should the kernel have missed
  // something. `poll` is more than zero.
  FolderWatcher(Duration poll, Means means, OnChange on_change);
  // Waits for an OnChange that runs.
  ~FolderWatcher();

  // The whole set from now on. Returns at once. Each new path is told of once when it is watched: nothing that changed before
  // is missed by whoever looks then.
  void Watch(std::vector<std::string> paths);

 private:
  class Thread;
  const std::unique_ptr<Thread> thread_;
};

}  // namespace switchyard
