// What the machine grants this process of its CPU and memory.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "device/system_view.h"

namespace switchyard {

struct NumaNode {
  int id = 0;
  std::string cpus;                 // "0-15,32-47"
  uint64_t memory_total_bytes = 0;  // 0: not told
};

struct CpuFacts {
  std::string model;                          // empty: not told
  int processors = 0;                         // that the machine has; 0: not told
  std::optional<double> quota;                // processors' worth of time that the control groups grant; none: all
  std::string quota_from;                     // the file that says so
  std::vector<int> affinity;                  // the processors that this process may run on; empty: not told
  std::vector<NumaNode> numa_nodes;           // those with processors
  std::vector<std::string> instruction_sets;  // of those that inference cares for, as Linux names them
  uint64_t memory_total_bytes = 0;            // the machine's, or the control groups' limit if that is less; 0: not told
  uint64_t memory_used_bytes = 0;             // by this process; 0: not told

  // How many threads can run at the same time: the affinity, and the quota rounded up. 0: not told.
  int usable() const;
};

CpuFacts ReadCpuFacts(const SystemView& view);

// This process's, as the first call found them. Thread-safe.
const CpuFacts& OwnCpuFacts();
// How many of this process's threads can run at the same time; at least 1.
unsigned UsableProcessors();

// How many threads inference on the CPU should have where the control groups grant less time than the affinity's processors
// have. OpenVINO looks at the affinity alone: with a thread for each of its processors, all of them stand still for the rest of
// every period once the time is used up. None: OpenVINO's own choice.
std::optional<int> ThreadsForQuota(const CpuFacts& facts);

// "0-3,8" to its numbers. Empty when it is no such list, or one of more than 65536 processors.
std::vector<int> ParseCpuList(std::string_view text);
std::string FormatCpuList(const std::vector<int>& processors);  // ascending

}  // namespace switchyard
