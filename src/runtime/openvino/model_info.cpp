#include "runtime/openvino/model_info.h"

#include <exception>
#include <string>
#include <utility>

#include "base/log.h"
#include "runtime/openvino/convert.h"

namespace switchyard {
namespace {

constexpr const char* kName = "model_info";
// A file may say anything.
constexpr int kDeepest = 16;

std::vector<ModelInfo> Entries(const ov::AnyMap& map, int depth) {
  std::vector<ModelInfo> entries;
  for (const auto& [name, value] : map) {
    ModelInfo entry{.name = name, .text = std::nullopt, .entries = {}};
    if (value.is<ov::AnyMap>()) {
      if (depth == kDeepest) continue;
      entry.entries = Entries(value.as<ov::AnyMap>(), depth + 1);
    } else {
      try {
        entry.text = value.as<std::string>();
      } catch (const std::exception& exception) {
        LogDebug("model_info has no text for {}: {}", name, ReadableMessage(exception.what()));
        continue;
      }
    }
    entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace

std::optional<std::vector<ModelInfo>> ReadModelInfo(const ov::Model& model) {
  try {
    if (!model.has_rt_info(kName)) return std::nullopt;
    return Entries(model.get_rt_info<ov::AnyMap>(kName), 1);
  } catch (const std::exception& exception) {
    // What it says of itself is no reason not to serve it.
    LogWarning("The model's model_info cannot be read: {}", ReadableMessage(exception.what()));
    return std::nullopt;
  }
}

}  // namespace switchyard
