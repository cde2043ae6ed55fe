// One connection to a server, in one of four protocols.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "tools/client_tensor.h"
#include "tools/infer_options.h"

namespace switchyard {

// Not thread-safe: one for each thread. Every call blocks, at most for the timeout it was made with, and returns the server's
// own code and text in the message of an error: "INVALID_ARGUMENT: ...", "HTTP 400 Bad Request: ...".
class InferClient {
 public:
  virtual ~InferClient() = default;

  // Optional: makes the connection, so that the first call does not pay for it.
  virtual Status Connect() = 0;
  virtual StatusOr<ModelDescription> Describe() = 0;
  // Encodes the request that Call() sends, once for all calls. `model` is what Describe() returned, perhaps on another client.
  virtual Status Prepare(const ModelDescription& model, const std::vector<ClientTensor>& inputs) = 0;
  virtual Status Call() = 0;
  // Decodes what the last successful Call() received.
  virtual StatusOr<std::vector<ClientTensor>> Outputs() = 0;
};

struct InferTarget {
  ServerAddress address;
  std::string model;
  std::string version;  // empty: the default
  std::chrono::milliseconds timeout{0};
};

std::unique_ptr<InferClient> MakeKserveGrpcClient(const InferTarget& target);
std::unique_ptr<InferClient> MakeKserveRestClient(const InferTarget& target);
// INVALID_ARGUMENT when the version is not a number, which TensorFlow Serving's messages have no place for.
StatusOr<std::unique_ptr<InferClient>> MakeTfsGrpcClient(const InferTarget& target);
std::unique_ptr<InferClient> MakeTfsRestClient(const InferTarget& target);

}  // namespace switchyard
