#include "device/cpu_facts.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <cmath>

#include "config/text.h"

namespace switchyard {
namespace {

constexpr uint64_t kMostProcessors = 65536;

// In the order of their age. The second half is Arm's.
constexpr std::string_view kInstructionSets[] = {
    "sse4_2",   "avx",      "f16c",     "fma",         "avx2",        "avx_vnni",    "avx_vnni_int8", "avx_ne_convert",
    "avx512f",  "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_tile",      "amx_int8",
    "amx_bf16", "amx_fp16", "asimd",    "asimdhp",     "asimddp",     "sve",         "sve2",          "bf16",
    "i8mm",
};

std::vector<int> Affinity(const SystemView& view) {
  if (view.live()) {
    // Large machines have more processors than cpu_set_t holds.
    constexpr size_t kBits = size_t{1} << 14;
    cpu_set_t* set = CPU_ALLOC(kBits);
    std::vector<int> processors;
    if (set != nullptr && sched_getaffinity(0, CPU_ALLOC_SIZE(kBits), set) == 0) {
      for (size_t i = 0; i < kBits; ++i) {
        if (CPU_ISSET_S(i, CPU_ALLOC_SIZE(kBits), set)) processors.push_back(static_cast<int>(i));
      }
    }
    CPU_FREE(set);
    if (!processors.empty()) return processors;
  }
  return ParseCpuList(FieldOf(view.Read("/proc/self/status").value_or(""), "Cpus_allowed_list"));
}

// The folders of this process's control group and of those above it. A container often sees only the lower part of the tree,
// mounted as if it were the whole: folders that are not there are left out.
std::vector<std::string> GroupFolders(const SystemView& view, std::string_view mount, std::string_view group) {
  std::vector<std::string> folders;
  std::string path(Trim(group));
  while (true) {
    const std::string folder = std::string(mount) + (path == "/" ? "" : path);
    if (view.IsFolder(folder)) folders.push_back(folder);
    if (path.empty() || path == "/") break;
    path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
  }
  return folders;
}

struct ControlGroups {
  std::vector<std::string> unified;  // v2
  std::vector<std::string> cpu;      // v1
  std::vector<std::string> memory;   // v1
};

ControlGroups FindControlGroups(const SystemView& view) {
  ControlGroups groups;
  const std::string text = view.Read("/proc/self/cgroup").value_or("0::/");
  for (const std::string_view line : Lines(text)) {
    const size_t first = line.find(':');
    const size_t second = first == std::string_view::npos ? first : line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string_view controllers = line.substr(first + 1, second - first - 1), group = line.substr(second + 1);
    if (controllers.empty()) {
      groups.unified = GroupFolders(view, "/sys/fs/cgroup", group);
      for (std::string& folder : GroupFolders(view, "/sys/fs/cgroup/unified", group))
        groups.unified.push_back(std::move(folder));
      continue;
    }
    const std::vector<std::string_view> names = SplitText(controllers, ',');
    const auto folders = [&](std::string_view controller) {
      // Mounted under the joint name of its controllers, or under its own.
      const std::string joint = "/sys/fs/cgroup/" + std::string(controllers);
      return GroupFolders(view, view.IsFolder(joint) ? joint : "/sys/fs/cgroup/" + std::string(controller), group);
    };
    if (std::find(names.begin(), names.end(), "cpu") != names.end()) groups.cpu = folders("cpu");
    if (std::find(names.begin(), names.end(), "memory") != names.end()) groups.memory = folders("memory");
  }
  return groups;
}

void TakeQuota(std::optional<uint64_t> quota, std::optional<uint64_t> period, const std::string& file, CpuFacts* facts) {
  if (!quota || !period || *quota == 0 || *period == 0) return;
  const double cpus = static_cast<double>(*quota) / static_cast<double>(*period);
  if (facts->quota && *facts->quota <= cpus) return;
  facts->quota = cpus;
  facts->quota_from = file;
}

void ReadQuota(const SystemView& view, const ControlGroups& groups, CpuFacts* facts) {
  for (const std::string& folder : groups.unified) {
    const std::string file = folder + "/cpu.max";  // "max 100000" or "150000 100000"
    const std::string text = view.ReadWord(file);
    const std::vector<std::string_view> words = SplitText(text, ' ');
    if (words.size() == 2) TakeQuota(ParseNumber(words[0]), ParseNumber(words[1]), file, facts);
  }
  for (const std::string& folder : groups.cpu) {
    const std::string file = folder + "/cpu.cfs_quota_us";  // -1: none
    TakeQuota(ParseNumber(view.ReadWord(file)), ParseNumber(view.ReadWord(folder + "/cpu.cfs_period_us")), file, facts);
  }
}

// "MemTotal:  8136120 kB"
uint64_t Kilobytes(std::string_view text, std::string_view key) {
  for (const std::string_view line : Lines(text)) {
    const size_t at = line.find(key);
    if (at == std::string_view::npos) continue;
    std::string_view value = Trim(line.substr(at + key.size()));
    return ParseNumber(value.substr(0, value.find(' '))).value_or(0) * 1024;
  }
  return 0;
}

void ReadMemory(const SystemView& view, const ControlGroups& groups, CpuFacts* facts) {
  facts->memory_total_bytes = Kilobytes(view.Read("/proc/meminfo").value_or(""), "MemTotal:");
  facts->memory_used_bytes = Kilobytes(view.Read("/proc/self/status").value_or(""), "VmRSS:");
  const auto take = [&](const std::string& file) {
    // No limit is "max", or a number greater than any memory.
    const auto limit = ParseNumber(view.ReadWord(file));
    if (limit && (facts->memory_total_bytes == 0 || *limit < facts->memory_total_bytes) && *limit < uint64_t{1} << 60) {
      facts->memory_total_bytes = *limit;
    }
  };
  for (const std::string& folder : groups.unified) take(folder + "/memory.max");
  for (const std::string& folder : groups.memory) take(folder + "/memory.limit_in_bytes");
}

void ReadProcessor(const SystemView& view, CpuFacts* facts) {
  const std::string text = view.Read("/proc/cpuinfo", size_t{16} << 20).value_or("");
  facts->model = Printable(FieldOf(text, "model name"));
  for (const std::string_view line : Lines(text)) {
    if (Trim(line.substr(0, line.find(':'))) == "processor") ++facts->processors;
  }
  std::string_view flags = FieldOf(text, "flags");
  if (flags.empty()) flags = FieldOf(text, "Features");
  const std::vector<std::string_view> words = SplitText(flags, ' ');
  for (const std::string_view name : kInstructionSets) {
    if (std::find(words.begin(), words.end(), name) != words.end()) facts->instruction_sets.emplace_back(name);
  }
}

void ReadNuma(const SystemView& view, CpuFacts* facts) {
  constexpr std::string_view kFolder = "/sys/devices/system/node";
  for (const std::string& name : view.List(kFolder).value_or(std::vector<std::string>())) {
    const auto id = name.starts_with("node") ? ParseNumber(std::string_view(name).substr(4)) : std::nullopt;
    if (!id || *id > kMostProcessors) continue;
    const std::string folder = fmt::format("{}/{}", kFolder, name);
    const std::string cpus = Printable(view.ReadWord(folder + "/cpulist"));
    if (ParseCpuList(cpus).empty()) continue;
    facts->numa_nodes.push_back(
        {static_cast<int>(*id), cpus, Kilobytes(view.Read(folder + "/meminfo").value_or(""), "MemTotal:")});
  }
  std::sort(facts->numa_nodes.begin(), facts->numa_nodes.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
}

}  // namespace

int CpuFacts::usable() const {
  int count = affinity.empty() ? processors : static_cast<int>(affinity.size());
  if (quota && std::ceil(*quota) < count) count = static_cast<int>(std::ceil(*quota));
  return count;
}

CpuFacts ReadCpuFacts(const SystemView& view) {
  CpuFacts facts;
  ReadProcessor(view, &facts);
  facts.affinity = Affinity(view);
  const ControlGroups groups = FindControlGroups(view);
  ReadQuota(view, groups, &facts);
  ReadMemory(view, groups, &facts);
  ReadNuma(view, &facts);
  return facts;
}

const CpuFacts& OwnCpuFacts() {
  static const CpuFacts facts = ReadCpuFacts(SystemView::Own());
  return facts;
}

unsigned UsableProcessors() {
  static const int usable = std::max(1, OwnCpuFacts().usable());
  return static_cast<unsigned>(usable);
}

std::optional<int> ThreadsForQuota(const CpuFacts& facts) {
  const int processors = facts.affinity.empty() ? facts.processors : static_cast<int>(facts.affinity.size());
  if (!facts.quota || facts.usable() >= processors) return std::nullopt;
  return std::max(1, facts.usable());
}

std::vector<int> ParseCpuList(std::string_view text) {
  std::vector<int> processors;
  for (const std::string_view part : SplitText(Trim(text), ',')) {
    const size_t dash = part.find('-');
    const auto first = ParseNumber(part.substr(0, dash));
    const auto last = dash == std::string_view::npos ? first : ParseNumber(part.substr(dash + 1));
    if (!first || !last || *last < *first || *last >= kMostProcessors || processors.size() > kMostProcessors) return {};
    for (uint64_t i = *first; i <= *last; ++i) processors.push_back(static_cast<int>(i));
  }
  return processors;
}

std::string FormatCpuList(const std::vector<int>& processors) {
  std::string text;
  for (size_t i = 0; i < processors.size();) {
    size_t end = i + 1;
    while (end < processors.size() && processors[end] == processors[end - 1] + 1) ++end;
    text += fmt::format("{}{}", text.empty() ? "" : ",", processors[i]);
    if (end - i > 1) text += fmt::format("-{}", processors[end - 1]);
    i = end;
  }
  return text;
}

}  // namespace switchyard
