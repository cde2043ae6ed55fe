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

// As a shell reads it back: quoted where it has anything but what a shell leaves alone.
std::string Shell(std::string_view text) {
  constexpr std::string_view kPlain = "%+,-./:=@_";
  const bool plain = !text.empty() && std::all_of(text.begin(), text.end(), [&](unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || kPlain.find(c) != kPlain.npos;
  });
  if (plain) return std::string(text);
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
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

std::string SampleRequests(const Endpoints& endpoints, const std::string& model, const Signature& signature,
                           const std::string& program) {
  std::string inputs;
  for (const TensorSpec& input : signature.inputs) inputs += " --input " + Shell(input.name + "=random");
  std::string text;
  const auto add = [&](const std::string& url, const char* protocol) {
    if (url.empty()) return;
    text += fmt::format("  {} infer --url {} --protocol {} --model {}{}\n", Shell(program), Shell(url), protocol, Shell(model),
                        inputs);
  };
  add(endpoints.grpc, "kserve-grpc");
  add(endpoints.rest, "kserve-rest");
  add(endpoints.grpc, "tfs-grpc");
  add(endpoints.rest, "tfs-rest");
  return text;
}

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
          requests = SampleRequests(endpoints, model.name, (*handle)->signature(), program);
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
