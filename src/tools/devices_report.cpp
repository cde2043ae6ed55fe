#include "tools/devices_report.h"

#include <fmt/format.h>
#include <rapidjson/prettywriter.h>
#include <rapidjson/stringbuffer.h>

#include <algorithm>
#include <iterator>
#include <string_view>

#include "device/gpu_doctor.h"
#include "tools/text_table.h"

namespace switchyard {
namespace {

using Writer = rapidjson::PrettyWriter<rapidjson::StringBuffer>;

DeviceInfo::Type TypeOfName(std::string_view name) { return name == "NPU" ? DeviceInfo::Type::kNpu : DeviceInfo::Type::kOther; }

std::string_view TypeText(const DeviceRow& row) {
  if (row.info.name == "GPU") return "GPU";  // one that is not there: of which kind nobody can tell
  return Name(row.info.type);
}

std::string Joined(const std::vector<std::string>& words, std::string_view separator = " ") {
  return words.empty() ? "-" : fmt::format("{}", fmt::join(words, separator));
}

std::string OrDash(std::string_view text) { return text.empty() ? "-" : Printable(text); }

std::string CpuText(const CpuFacts& cpu) {
  std::vector<std::vector<std::string>> rows;
  rows.push_back({"  model", OrDash(cpu.model)});
  rows.push_back({"  processors", fmt::format("{}, of which this process can use {}", cpu.processors, cpu.usable())});
  rows.push_back({"  affinity", OrDash(FormatCpuList(cpu.affinity))});
  rows.push_back(
      {"  quota", cpu.quota ? fmt::format("{:.2f} processors ({})", *cpu.quota, Printable(cpu.quota_from)) : "none"});
  for (const NumaNode& node : cpu.numa_nodes) {
    rows.push_back({fmt::format("  NUMA node {}", node.id),
                    fmt::format("processors {}, memory {}", node.cpus, BytesText(node.memory_total_bytes))});
  }
  rows.push_back({"  instruction sets", Joined(cpu.instruction_sets)});
  return "\nProcessor\n" + Table(rows);
}

void WriteText(Writer& writer, const char* key, std::string_view text) {
  writer.Key(key);
  if (text.empty()) {
    writer.Null();
    return;
  }
  const std::string shown = Printable(text);
  writer.String(shown.data(), static_cast<rapidjson::SizeType>(shown.size()));
}

// Whole: sentences of ours are longer than what a file may contribute.
void WriteSentence(Writer& writer, const char* key, const std::string& text) {
  writer.Key(key);
  if (text.empty())
    writer.Null();
  else
    writer.String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
}

void WriteNumber(Writer& writer, const char* key, uint64_t number) {
  writer.Key(key);
  if (number == 0)
    writer.Null();
  else
    writer.Uint64(number);
}

void WriteList(Writer& writer, const char* key, const std::vector<std::string>& words) {
  writer.Key(key);
  writer.StartArray();
  for (const std::string& word : words) {
    const std::string shown = Printable(word);
    writer.String(shown.data(), static_cast<rapidjson::SizeType>(shown.size()));
  }
  writer.EndArray();
}

// A type of numbers: FP32, BF16, INT8, U4, BIN.
bool IsPrecision(const std::string& word) {
  const size_t letters = std::min(word.find_first_of("0123456789"), word.size());
  const bool number = letters < word.size() && word.find_first_not_of("0123456789", letters) == word.npos;
  constexpr std::string_view kKinds[] = {"FP", "BF", "INT", "UINT", "I", "U", "F", "NF"};
  const bool kind = std::find(std::begin(kKinds), std::end(kKinds), word.substr(0, letters)) != std::end(kKinds);
  return word == "BIN" || (number && kind);
}

// Those of the capabilities that are precisions, or those that are not.
std::vector<std::string> Capabilities(const DeviceInfo& info, bool precisions) {
  std::vector<std::string> words = info.capabilities;
  std::erase_if(words, [precisions](const std::string& word) { return IsPrecision(word) != precisions; });
  return words;
}

void WriteDevice(Writer& writer, const DeviceRow& row) {
  writer.StartObject();
  WriteText(writer, "name", row.info.name);
  WriteText(writer, "full_name", row.info.full_name);
  WriteText(writer, "type", TypeText(row));
  WriteText(writer, "state", row.absence ? "absent" : "well");
  WriteSentence(writer, "reason", row.absence ? row.absence->reason : "");
  WriteSentence(writer, "remedy", row.absence ? row.absence->remedy : "");
  WriteNumber(writer, "memory_total_bytes", row.info.memory_total_bytes);
  writer.Key("memory_used_bytes");
  if (row.info.memory_total_bytes == 0)
    writer.Null();
  else
    writer.Uint64(row.info.memory_used_bytes);
  WriteList(writer, "precisions", Capabilities(row.info, /*precisions=*/true));
  WriteList(writer, "capabilities", row.info.capabilities);
  WriteText(writer, "driver", row.info.driver);
  WriteText(writer, "architecture", row.info.architecture);
  writer.EndObject();
}

void WriteCpu(Writer& writer, const CpuFacts& cpu) {
  writer.StartObject();
  WriteText(writer, "model", cpu.model);
  WriteNumber(writer, "processors", static_cast<uint64_t>(cpu.processors));
  WriteNumber(writer, "usable_processors", static_cast<uint64_t>(cpu.usable()));
  writer.Key("quota_processors");
  if (cpu.quota)
    writer.Double(*cpu.quota);
  else
    writer.Null();
  WriteText(writer, "quota_from", cpu.quota_from);
  WriteSentence(writer, "affinity", FormatCpuList(cpu.affinity));
  writer.Key("numa_nodes");
  writer.StartArray();
  for (const NumaNode& node : cpu.numa_nodes) {
    writer.StartObject();
    writer.Key("node");
    writer.Int(node.id);
    WriteText(writer, "cpus", node.cpus);
    WriteNumber(writer, "memory_total_bytes", node.memory_total_bytes);
    writer.EndObject();
  }
  writer.EndArray();
  WriteList(writer, "instruction_sets", cpu.instruction_sets);
  writer.EndObject();
}

}  // namespace

std::vector<DeviceRow> MakeRows(const std::optional<DeviceList>& devices, const CpuFacts& cpu, const SystemView& view) {
  std::vector<DeviceRow> rows;
  const std::string gpu_driver = GpuDriverVersion(view);
  std::vector<std::string> kinds;
  for (const DeviceInfo& info : (devices ? devices->found : Inventory())) {
    DeviceRow row{info, std::nullopt};
    kinds.push_back(info.name.substr(0, info.name.find('.')));
    if (kinds.back() == "CPU") {
      row.info.memory_total_bytes = cpu.memory_total_bytes;
      row.info.memory_used_bytes = cpu.memory_used_bytes;
    }
    if (kinds.back() == "GPU" && info.driver.empty()) row.info.driver = gpu_driver;
    rows.push_back(std::move(row));
  }
  for (const BrokenDevice& broken : devices ? devices->broken : std::vector<BrokenDevice>()) {
    kinds.push_back(broken.name);
    rows.push_back(
        {DeviceInfo{.name = broken.name, .type = TypeOfName(broken.name)}, Absence{broken.reason, std::string(kBrokenRemedy)}});
  }
  for (const DeviceKind kind : {DeviceKind::kGpu, DeviceKind::kNpu}) {
    const std::string name = kind == DeviceKind::kGpu ? "GPU" : "NPU";
    if (std::find(kinds.begin(), kinds.end(), name) != kinds.end()) continue;
    DeviceRow row{DeviceInfo{.name = name, .type = TypeOfName(name)}, WhyAbsent(kind, view)};
    if (kind == DeviceKind::kGpu) row.info.driver = gpu_driver;
    if (!row.absence && devices) row.absence = DescribeAbsence(name, view);
    if (!row.absence && view.live()) {
      row.absence = {"its files are all there, and its driver, or another device's, does not answer",
                     std::string(kBrokenRemedy)};
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

std::string ToText(const DevicesReport& report) {
  std::string text;
  if (!report.runtime.empty()) text += report.runtime + "\n";
  for (const std::string& note : report.notes) text += note + "\n";
  std::vector<std::vector<std::string>> rows = {
      {"DEVICE", "STATE", "TYPE", "MEMORY", "USED", "DRIVER", "NAME", "PRECISIONS", "CAPABILITIES"}};
  for (const DeviceRow& row : report.devices) {
    const DeviceInfo& info = row.info;
    rows.push_back({Printable(info.name), row.absence ? "absent" : "well", std::string(TypeText(row)),
                    BytesText(info.memory_total_bytes), BytesText(info.memory_used_bytes), OrDash(info.driver),
                    OrDash(info.full_name), OrDash(Joined(Capabilities(info, /*precisions=*/true))),
                    OrDash(Joined(Capabilities(info, /*precisions=*/false)))});
  }
  text += (text.empty() ? "" : "\n") + Table(rows);
  for (const DeviceRow& row : report.devices) {
    if (!row.absence) continue;
    text +=
        fmt::format("\n{} is absent: {}\n  remedy: {}\n", Printable(row.info.name), row.absence->reason, row.absence->remedy);
  }
  return text + CpuText(report.cpu);
}

std::string ToJson(const DevicesReport& report) {
  rapidjson::StringBuffer buffer;
  Writer writer(buffer);
  writer.SetIndent(' ', 2);
  writer.StartObject();
  WriteText(writer, "runtime", report.runtime);
  WriteText(writer, "sysroot", report.sysroot);
  writer.Key("notes");
  writer.StartArray();
  for (const std::string& note : report.notes) writer.String(note.data(), static_cast<rapidjson::SizeType>(note.size()));
  writer.EndArray();
  writer.Key("devices");
  writer.StartArray();
  for (const DeviceRow& row : report.devices) WriteDevice(writer, row);
  writer.EndArray();
  writer.Key("cpu");
  WriteCpu(writer, report.cpu);
  writer.EndObject();
  return std::string(buffer.GetString(), buffer.GetSize()) + "\n";
}

}  // namespace switchyard
