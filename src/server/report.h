// What the server prints for the person who started it.
#pragma once

#include <string>
#include <vector>

#include "serving/manager.h"

namespace switchyard {

// What is listened on: "host:port" or "unix:/path"; empty when off.
struct Endpoints {
  std::string grpc;
  std::string rest;
};

// The addresses, one aligned line per model version (device, precision, streams, infer requests, load time, cache), and one
// request to copy for each protocol, made with `program infer`.
std::string StartReport(const Endpoints& endpoints, const Manager& manager, const std::string& program);

// One line for each protocol that is served: `program infer` with random inputs, as a shell reads it.
std::string SampleRequests(const Endpoints& endpoints, const std::string& model, const Signature& signature,
                           const std::string& program);

// {"grpc":"host:port","rest":"host:port","pid":n}; null for what is off.
std::string ReadyFileText(const Endpoints& endpoints, int pid);

}  // namespace switchyard
