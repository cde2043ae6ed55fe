// The faults that a simulated device shall show: a list in a file, which a test writes while the program under test runs.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard::testing {

// A list is names between commas, blanks or line ends: "hang", "out_of_resources@1,once_in:5".
//   NAME         the fault stands on every device
//   NAME@INDEX   on the device with this index alone
//   once_in:N    of the calls that a fault of this list would strike, the first in every N is struck
// No file, an empty one, and entries that nobody asks for mean no fault.
class FaultFile {
 public:
  // `fixed` is a list that stands from the beginning to the end; `path` may be empty.
  FaultFile(const std::string& fixed, std::string path);

  // Whether the fault stands now. Costs a stat() when the file is the one read before. Any thread.
  bool Stands(std::string_view name, int device = -1);
  // The same for a call that is to fail: honours once_in.
  bool Strikes(std::string_view name, int device = -1);

 private:
  struct Entry {
    std::string name;
    int device = -1;
  };
  struct List {
    std::vector<Entry> entries;
    uint64_t once_in = 1;
  };
  static List Parse(std::string_view text);
  static bool Holds(const List& list, std::string_view name, int device);
  void Refresh();
  // 0 where the fault does not stand, otherwise its once_in.
  uint64_t Rate(std::string_view name, int device);

  const std::string path_;
  const List fixed_;
  std::mutex mutex_;
  List read_;
  std::vector<int64_t> seen_;  // what stat() said of the file that `read_` came from
  std::atomic<uint64_t> calls_{0};
};

// How a driver behaves that breaks while it does `what` ("compile", "list"): ends the process ("compile_abort",
// "compile_segv"), or does not return as long as "compile_hang" stands.
void Break(FaultFile& faults, const std::string& what, int device = -1);

}  // namespace switchyard::testing
