#include "telemetry/process_metrics.h"

#include <sys/resource.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace switchyard {
namespace {

// Seconds since the epoch at which the machine was started.
double BootTime() {
  std::ifstream file("/proc/stat");
  std::string word;
  double seconds = 0;
  while (file >> word) {
    if (word == "btime" && file >> seconds) return seconds;
  }
  return 0;
}

void CollectStat(MetricsPage& page) {
  std::ifstream file("/proc/self/stat");
  std::string line;
  // The second field is the program's name in parentheses, which may hold blanks.
  if (!std::getline(file, line) || line.rfind(')') == line.npos) return;
  std::istringstream fields(line.substr(line.rfind(')') + 1));
  std::string skipped;
  for (int field = 3; field < 14; ++field) fields >> skipped;
  double user = 0, system = 0, threads = 0, start = 0, virtual_bytes = 0, resident_pages = 0;
  fields >> user >> system >> skipped >> skipped >> skipped >> skipped >> threads >> skipped >> start >> virtual_bytes >>
      resident_pages;
  if (!fields) return;
  const auto ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  page.Add(Family::kProcessCpu, {}, (user + system) / ticks);
  page.Add(Family::kProcessMemory, {}, resident_pages * static_cast<double>(sysconf(_SC_PAGESIZE)));
  page.Add(Family::kProcessThreads, {}, threads);
  static const double boot = BootTime();
  page.Add(Family::kProcessStart, {}, boot + start / ticks);
}

}  // namespace

void CollectProcess(MetricsPage& page) {
  CollectStat(page);
  std::error_code error;
  double files = -1;  // without the one by which the folder is read
  for (std::filesystem::directory_iterator it("/proc/self/fd", error), end; !error && it != end; it.increment(error)) ++files;
  if (!error) page.Add(Family::kProcessOpenFiles, {}, files);
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) page.Add(Family::kProcessMaxFiles, {}, static_cast<double>(limit.rlim_cur));
}

}  // namespace switchyard
