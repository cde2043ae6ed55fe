// What a protocol gives to the gRPC listener: its methods by name, with functions between serialized messages and calls. The
// listener knows no format, the protocol knows no socket.
#pragma once

#include <absl/functional/any_invocable.h>
#include <google/protobuf/io/zero_copy_stream.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "base/timer.h"
#include "control/model_control.h"
#include "protocol/frame.h"
#include "serving/infer_call.h"
#include "serving/manager.h"
#include "tensor/signature.h"

namespace switchyard {

// A call that is answered at once from what the Manager knows. Functions must not block.
struct ControlMethod {
  const char* path;  // "/package.Service/Method"
  StatusOr<std::string> (*answer)(const Manager& manager, google::protobuf::io::ZeroCopyInputStream& request);
};

// A call that runs an inference: decode, find the Version, prepare (may be null), infer, encode.
struct InferMethod {
  const char* path;
  Endpoint endpoint;  // for the metrics
  // Fills `request` from a message of exactly `size` bytes. On an error, `request` holds what could be read all the same.
  Status (*decode)(google::protobuf::io::ZeroCopyInputStream& message, size_t size, TimePoint now, DecodedRequest& request);
  // What needs to know the model.
  Status (*prepare)(const Signature& signature, DecodedRequest& request);
  // The answer to a call that ended well.
  Frame (*encode)(const InferCall& call);
  // Null for a call with one message each way. Otherwise messages stream both ways, and this is the answer to one that failed.
  Frame (*encode_error)(const Status& error, std::string_view id);
};

// A call about what is served, which the control plane answers: at once or later, on any thread. Functions must not block.
struct CommandMethod {
  using Done = absl::AnyInvocable<void(StatusOr<std::string>)>;
  const char* path;
  void (*run)(ModelControl& control, google::protobuf::io::ZeroCopyInputStream& request, Done done);
};

struct RpcService {
  std::string name;  // "package.Service"
  std::vector<ControlMethod> control;
  std::vector<InferMethod> infer;
  std::vector<CommandMethod> commands;
};

}  // namespace switchyard
