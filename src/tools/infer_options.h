// The command line of `switchyard infer`.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/status.h"
#include "tensor/shape.h"

namespace switchyard {

enum class InferProtocol { kKserveGrpc, kKserveRest, kTfsGrpc, kTfsRest };

// Where the server listens: a TCP host and port, or the path of a Unix socket.
struct ServerAddress {
  std::string host;  // without the brackets of an IPv6 address
  std::string port;
  std::string unix_path;  // not empty: used instead of host and port
};

// Takes host:port, [v6]:port, http://host:port and unix:/path. A trailing slash is ignored; https is refused.
StatusOr<ServerAddress> ParseAddress(std::string_view url);

struct InferOptions {
  ServerAddress address;
  InferProtocol protocol = InferProtocol::kKserveGrpc;
  std::string model;
  std::string version;                                      // empty: the server's default
  std::vector<std::pair<std::string, std::string>> inputs;  // name, and what stands behind '='
  std::vector<std::pair<std::string, Shape>> shapes;        // name, and the shape to send
  uint64_t repeat = 1;
  uint64_t concurrency = 1;
  uint64_t top_k = 0;  // 0: not given
  std::string labels_file;
  std::chrono::milliseconds timeout{0};  // of one call; 0: none
  bool json = false;
};

// Why there is nothing to run: help was asked for (exit code 0), or the command line is at fault (64).
struct InferUsage {
  int exit_code = 0;
  std::string text;
};

std::variant<InferOptions, InferUsage> ParseInferOptions(int argc, const char* const* argv);

}  // namespace switchyard
