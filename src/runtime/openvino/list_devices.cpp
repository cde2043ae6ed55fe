#include "runtime/openvino/list_devices.h"

#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "runtime/openvino/child_protocol.h"
#include "runtime/openvino/inventory.h"

namespace switchyard {
namespace {

struct Listed {
  ChildAnswer::Kind kind = ChildAnswer::Kind::kAnswered;
  StatusOr<Inventory> inventory;
};

Listed Ask(const OpenVinoOptions& options, const std::string& kind, std::chrono::milliseconds limit) {
  const ChildAnswer answer = AskChild(options.child_program, "list-devices", ToJson(ListRequest{options, kind}), limit);
  if (!answer.status.ok()) return {answer.kind, answer.status};
  return {answer.kind, InventoryFrom(answer.json)};
}

}  // namespace

DeviceList ListDevices(const OpenVinoOptions& options, ov::Core& core, std::chrono::milliseconds limit) {
  Listed all = Ask(options, "", limit);
  if (all.inventory.ok()) return {*std::move(all.inventory), {}};
  if (all.kind == ChildAnswer::Kind::kNone) {
    LogWarning("Devices are asked for in this process, since no other can be started: {}", Message(all.inventory.status()));
    return {ReadInventory(core), {}};
  }
  std::vector<std::string> kinds = {"CPU", "GPU", "NPU"};  // what OpenVINO has plugins for
  for (const auto& [name, library] : options.device_plugins) kinds.push_back(name);
  DeviceList list;
  for (const std::string& kind : kinds) {
    const Listed one = Ask(options, kind, limit);
    if (one.inventory.ok()) {
      list.found.insert(list.found.end(), one.inventory->begin(), one.inventory->end());
      continue;
    }
    list.broken.push_back({kind, fmt::format("its driver was asked what is there, in a process of its own: {}",
                                             Message(one.inventory.status()))});
    LogWarning("{} is left out: {}", kind, list.broken.back().reason);
  }
  return list;
}

}  // namespace switchyard
