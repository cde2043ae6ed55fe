// What a child process of ours is asked, and what it answers, as JSON. Both ends are the same program.
#pragma once

#include <chrono>
#include <string>

#include "base/status.h"
#include "config/settings.h"
#include "device/inventory.h"
#include "runtime/openvino/openvino_runtime.h"
#include "runtime/runtime.h"

namespace switchyard {

// Whether a device takes these properties: `switchyard probe-properties`.
struct ProbeRequest {
  OpenVinoOptions options;  // what the child's ov::Core is made of
  std::string device;
  PropertyMap properties;  // flat; may be empty, to ask of the device itself
};
std::string ToJson(const ProbeRequest& request);
StatusOr<ProbeRequest> ProbeRequestFrom(const std::string& json);

// Compile into the cache: `switchyard compile-once`. Of the settings only what a Load looks at is carried.
struct CompileRequest {
  OpenVinoOptions options;
  LoadRequest load;
};
std::string ToJson(const CompileRequest& request);
StatusOr<CompileRequest> CompileRequestFrom(const std::string& json);

// What devices are there: `switchyard list-devices`.
struct ListRequest {
  OpenVinoOptions options;
  std::string kind;  // whose devices: "GPU"; empty: every plugin's
};
std::string ToJson(const ListRequest& request);
StatusOr<ListRequest> ListRequestFrom(const std::string& json);

// A status and whose fault it is, as the child prints it.
std::string AnswerJson(const Status& status);
// The answer of list-devices, and what it holds.
std::string AnswerJson(const Inventory& inventory);
StatusOr<Inventory> InventoryFrom(const std::string& json);

struct ChildAnswer {
  enum class Kind {
    kAnswered,  // `status` is the child's
    kEnded,     // by a signal or the time limit (DeadlineExceeded), or without a word: `status` says how
    kNone,      // it could not be started: `status` says why
  };
  Kind kind = Kind::kAnswered;
  Status status;
  std::string json;  // all of a kAnswered
};

// Starts `program` (empty: this one) with `subcommand`, gives it `json`, and blocks until it has answered or `limit` is over.
ChildAnswer AskChild(const std::string& program, const std::string& subcommand, const std::string& json,
                     std::chrono::milliseconds limit);

}  // namespace switchyard
