#include "server/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <algorithm>
#include <array>

#include "serving/placer.h"

namespace switchyard {
namespace {

using Row = std::array<std::string, 8>;

Row RowOf(const Version& version) {
  const PlacementReport placement = version.placer()->Report();
  const TargetPlacement* serving = placement.Serving();
  const LoadFacts facts = serving != nullptr && serving->facts ? *serving->facts : LoadFacts{};
  std::string device = placement.target_device;
  const std::string execution = fmt::format("{}", fmt::join(placement.execution_devices, ","));
  if (!execution.empty() && execution != device) device += " on " + execution;
  const bool hit = facts.cache == LoadFacts::Cache::kHit;
  return {version.model_name(),
          version.number_text(),
          device,
          facts.precision.empty() ? "-" : facts.precision,
          facts.num_streams ? std::to_string(*facts.num_streams) : "-",
          std::to_string(serving != nullptr ? serving->num_requests : 0),
          fmt::format("{:.0f} ms", facts.load_ms),
          hit ? "cache hit" : "compiled"};
}

std::string Table(const std::vector<Row>& rows) {
  std::array<size_t, 8> widths{};
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const Row& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) line += fmt::format("  {:<{}}", row[i], widths[i]);
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

std::string Requests(const Endpoints& endpoints, const std::string& model, const std::string& input,
                     const std::string& program) {
  std::string text;
  const auto add = [&](const std::string& url, const char* protocol) {
    if (url.empty()) return;
    text +=
        fmt::format("  {} infer --url {} --protocol {} --model {} --input {}=random\n", program, url, protocol, model, input);
  };
  add(endpoints.grpc, "kserve-grpc");
  add(endpoints.rest, "kserve-rest");
  add(endpoints.grpc, "tfs-grpc");
  add(endpoints.rest, "tfs-rest");
  return text;
}

void WriteAddress(rapidjson::Writer<rapidjson::StringBuffer>& writer, const char* key, const std::string& address) {
  writer.Key(key);
  if (address.empty()) {
    writer.Null();
  } else {
    writer.String(address.c_str());
  }
}

}  // namespace

std::string StartReport(const Endpoints& endpoints, const Manager& manager, const std::string& program) {
  std::string text = fmt::format("\nSwitchyard {} with OpenVINO {}\n", SWITCHYARD_VERSION, manager.runtime().Version());
  text += fmt::format("  gRPC  {}\n", endpoints.grpc.empty() ? "off" : endpoints.grpc);
  text += fmt::format("  REST  {}\n\n", endpoints.rest.empty() ? "off" : endpoints.rest);

  std::vector<Row> rows = {{"MODEL", "VERSION", "DEVICE", "PRECISION", "STREAMS", "REQUESTS", "LOADED IN", "CACHE"}};
  std::string failures;
  std::string requests;
  for (const ModelStatus& model : manager.Statuses()) {
    for (const VersionStatus& status : model.versions) {
      const StatusOr<Handle> handle = manager.Acquire(model.name, status.version);
      if (handle.ok()) {
        rows.push_back(RowOf(**handle));
        if (requests.empty()) {
          std::string inputs;
          for (const TensorSpec& input : (*handle)->signature().inputs) {
            inputs += (inputs.empty() ? "" : "=random --input ") + input.name;
          }
          requests = Requests(endpoints, model.name, inputs, program);
        }
      } else if (!status.error.ok()) {
        // Version 0 stands for a model without any.
        const std::string what = status.version == 0 ? "" : fmt::format(" version {}", status.version);
        failures += fmt::format("  {}{} FAILED: {}\n", model.name, what, Message(status.error));
      }
    }
  }
  if (rows.size() > 1) text += Table(rows);
  text += failures;
  if (!requests.empty()) text += "\nTry it:\n" + requests;
  return text + "\n";
}

std::string ReadyFileText(const Endpoints& endpoints, int pid) {
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> writer(buffer);
  writer.StartObject();
  WriteAddress(writer, "grpc", endpoints.grpc);
  WriteAddress(writer, "rest", endpoints.rest);
  writer.Key("pid");
  writer.Int(pid);
  writer.EndObject();
  return buffer.GetString();
}

}  // namespace switchyard
