// What the Manager keeps of each model and of each of its versions. Guarded by the Manager's mutex.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "repository/files_state.h"
#include "serving/manager.h"

namespace switchyard {

// What a Version was made of, or is to be made of: when nothing of it changes, there is nothing to load.
struct LoadSource {
  std::string folder;  // as ReadFilesState takes it
  std::string path;    // empty: the version's folder has no complete set of files
  std::vector<FileStamp> files;
  uint64_t bytes = 0;      // of the files together
  ModelSettings settings;  // without what does not concern a Version
  bool SameFiles(const LoadSource& other) const { return folder == other.folder && path == other.path && files == other.files; }
  friend bool operator==(const LoadSource&, const LoadSource&) = default;
};

struct Manager::Entry {
  // Gone before it ever served: nothing to be told of.
  bool forgotten() const { return state == VersionState::kGone && served.path.empty(); }

  int64_t version = 0;
  VersionState state = VersionState::kWanted;
  Status error;
  std::shared_ptr<VersionSlot> slot;  // of the Version that serves
  LoadSource served;                  // what that was made of
  std::shared_ptr<Placer> placer;     // kLoading: of the Version to come
  LoadSource tried;                   // what the latest load was or is made of
  uint64_t needed = 0;                // bytes that a load of that turned out to need; 0: not known
  // Else it goes, as soon as all that are wanted serve in its place.
  bool wanted = false;
  bool untaken = false;   // wanted, were its files whole: nothing of it can be loaded
  bool settling = false;  // its files are still changing: kWanted, but not loaded
  int failures = 0;       // one after another, of what was tried
  bool gives_way = false;  // of what was tried a load failed, not for the settings' sake: see Manager::GivesWay
  TimePoint retry_at = kNoDeadline;
  // A call waits for a Version that gave its memory back: its folder is looked at before anything is loaded. kLook goes on
  // until a look finds that the files are whole, and those that it was made of; what has changed is loaded as any change is.
  enum class Rouse { kNone, kLook, kSame } rouse = Rouse::kNone;
  Status rouse_fault;  // kLook: why that is not going to be
  bool rousing = false;  // it is being loaded for that
  // A call did not get the model back into memory: no call is let to try again before.
  TimePoint rouse_at = kNoDeadline;
  std::optional<TimePoint> missing_since;  // serves, but its folder is gone
};

struct Manager::Model {
  // What the files of a version that still change were when they were looked at first.
  struct Seen {
    std::vector<FileStamp> files;
    int64_t changed_ns = 0;
    TimePoint since{};
  };

  ModelSettings settings;
  // Kept apart from the settings: a change of names loads nothing.
  std::map<std::string, int64_t> labels;
  std::vector<std::string> aliases;
  std::map<std::string, int64_t> led_to;  // the versions that the labels led to when the map was published last
  std::map<std::string, int64_t> idle_labels;  // of versions that no look has found wanted, as the log has them
  Status fault;                           // why none of its versions could be tried
  bool wanted = true;
  bool lent = false;         // not wanted, but an alias leads to it until the model that has that now serves
  bool faulty = false;       // its settings are, which is the fault: what serves was made of older ones
  bool look = true;          // its folder has to be looked at
  bool list = true;          // and the cloud storage, where it is a copy of that, listed
  bool awaits_copy = false;  // its files are being copied from cloud storage: it is looked at when they are there
  bool pending = true;       // what came of that, and of its loads, was not taken up yet
  bool retry = false;        // what failed is tried again at the next look, changed or not
  bool on_trial = false;     // what fails until `pending` ends is not tried again by itself
  TimePoint look_at = kNoDeadline;
  int failed_looks = 0;
  TimePoint settle_until{};  // WaitForLoads waits so long for files that change
  std::map<int64_t, Seen> seen;
  std::map<int64_t, Entry> entries;
};

}  // namespace switchyard
