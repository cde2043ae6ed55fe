#include "testing/faults/fault_file.h"

#include <signal.h>
#include <sys/stat.h>
#include <time.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <thread>
#include <utility>

namespace switchyard::testing {
namespace {

constexpr std::string_view kOnceIn = "once_in:";
constexpr std::string_view kSeparators = ", \t\r\n";
// A file that is younger than this may be written again without a change of its times, so it is read every time.
constexpr int64_t kYoungNanoseconds = 100'000'000;

// -1 for what is no number.
int64_t Number(std::string_view text) {
  int64_t value = -1;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? value : -1;
}

int64_t Nanoseconds(const timespec& time) { return time.tv_sec * 1'000'000'000 + time.tv_nsec; }

}  // namespace

FaultFile::FaultFile(const std::string& fixed, std::string path) : path_(std::move(path)), fixed_(Parse(fixed)) {}

FaultFile::List FaultFile::Parse(std::string_view text) {
  List list;
  while (true) {
    size_t begin = text.find_first_not_of(kSeparators);
    if (begin == text.npos) return list;
    text.remove_prefix(begin);
    std::string_view word = text.substr(0, text.find_first_of(kSeparators));
    text.remove_prefix(word.size());
    if (word.starts_with(kOnceIn)) {
      int64_t number = Number(word.substr(kOnceIn.size()));
      if (number > 0) list.once_in = static_cast<uint64_t>(number);
      continue;
    }
    size_t at = word.find('@');
    if (at == word.npos) {
      list.entries.push_back({std::string(word), -1});
    } else if (int64_t device = Number(word.substr(at + 1)); device >= 0) {
      list.entries.push_back({std::string(word.substr(0, at)), static_cast<int>(device)});
    }
  }
}

bool FaultFile::Holds(const List& list, std::string_view name, int device) {
  for (const Entry& entry : list.entries) {
    if (entry.name == name && (entry.device < 0 || entry.device == device)) return true;
  }
  return false;
}

void FaultFile::Refresh() {
  struct stat info;
  if (path_.empty() || stat(path_.c_str(), &info) != 0) {
    read_ = {};
    seen_.clear();
    return;
  }
  std::vector<int64_t> found = {static_cast<int64_t>(info.st_ino), info.st_size, Nanoseconds(info.st_mtim),
                                Nanoseconds(info.st_ctim)};
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  bool young = Nanoseconds(now) - Nanoseconds(info.st_ctim) < kYoungNanoseconds;
  if (found == seen_ && !young) return;
  std::ifstream file(path_);
  read_ = Parse(std::string(std::istreambuf_iterator<char>(file), {}));
  // What was read from a young file may be old already when its times are taken as known.
  seen_ = young ? std::vector<int64_t>() : std::move(found);
}

uint64_t FaultFile::Rate(std::string_view name, int device) {
  if (Holds(fixed_, name, device)) return fixed_.once_in;
  if (path_.empty()) return 0;
  std::lock_guard<std::mutex> lock(mutex_);
  Refresh();
  return Holds(read_, name, device) ? read_.once_in : 0;
}

bool FaultFile::Stands(std::string_view name, int device) { return Rate(name, device) > 0; }

bool FaultFile::Strikes(std::string_view name, int device) {
  uint64_t rate = Rate(name, device);
  return rate > 0 && calls_.fetch_add(1) % rate == 0;
}

void Break(FaultFile& faults, const std::string& what, int device) {
  if (faults.Strikes(what + "_abort", device)) {
    fputs("LLVM ERROR: broken on request\n", stderr);
    abort();
  }
  if (faults.Strikes(what + "_segv", device)) {
    signal(SIGSEGV, SIG_DFL);  // Intel's driver has a handler
    raise(SIGSEGV);
  }
  while (faults.Stands(what + "_hang", device)) std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

}  // namespace switchyard::testing
