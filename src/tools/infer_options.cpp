#include "tools/infer_options.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>

#include "config/command_line.h"

namespace switchyard {
namespace {

constexpr const char* kInferDescription =
    "Calls a model on a running server and prints what it answers.\n"
    "Inputs: name=@file (.json and .npy are read as such, any other file is taken byte for byte),\n"
    "        name=JSON (a number, a string or a nested array), name=random (the same values every time).\n"
    "Exit code: 0, 1 when a call failed, 64 when the command line is at fault.";

constexpr const char* kInferExamples =
    "Examples:\n"
    "  switchyard infer --url localhost:9000 --protocol kserve-grpc --model dummy --input b=random\n"
    "  switchyard infer --url localhost:8000 --protocol tfs-rest --model resnet --input x=@image.npy --top_k 5";

constexpr std::pair<std::string_view, InferProtocol> kProtocols[] = {{"kserve-grpc", InferProtocol::kKserveGrpc},
                                                                     {"kserve-rest", InferProtocol::kKserveRest},
                                                                     {"tfs-grpc", InferProtocol::kTfsGrpc},
                                                                     {"tfs-rest", InferProtocol::kTfsRest}};

StatusOr<InferProtocol> ParseProtocol(std::string_view name) {
  for (const auto& [known, protocol] : kProtocols) {
    if (name == known) return protocol;
  }
  return InvalidArgument("--protocol {}: expected kserve-grpc, kserve-rest, tfs-grpc or tfs-rest", name);
}

StatusOr<int64_t> ParseInt(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return InvalidArgument("'{}' is not a whole number", text);
  return value;
}

StatusOr<std::pair<std::string, std::string>> SplitAtEquals(std::string_view flag, std::string_view text) {
  const size_t at = text.find('=');
  if (at == std::string_view::npos || at == 0) {
    return InvalidArgument("{} {}: expected name=value; name the input before the '='", flag, text);
  }
  return std::pair<std::string, std::string>(text.substr(0, at), text.substr(at + 1));
}

StatusOr<Shape> ParseInputShape(std::string_view text) {
  Shape shape;
  if (text == "scalar" || text.empty()) return shape;
  while (true) {
    const size_t comma = text.find(',');
    SY_ASSIGN_OR_RETURN(const int64_t dim, ParseInt(text.substr(0, comma)));
    shape.push_back(dim);
    if (comma == std::string_view::npos) return shape;
    text.remove_prefix(comma + 1);
  }
}

Status FillPairs(const std::vector<std::string>& inputs, const std::vector<std::string>& shapes, InferOptions* options) {
  for (const std::string& input : inputs) {
    SY_ASSIGN_OR_RETURN(auto pair, SplitAtEquals("--input", input));
    const auto same = [&](const auto& other) { return other.first == pair.first; };
    if (std::any_of(options->inputs.begin(), options->inputs.end(), same)) {
      return InvalidArgument("--input {} is given twice; keep one", pair.first);
    }
    options->inputs.push_back(std::move(pair));
  }
  for (const std::string& shape : shapes) {
    SY_ASSIGN_OR_RETURN(auto pair, SplitAtEquals("--shape", shape));
    auto dims = ParseInputShape(pair.second);
    if (!dims.ok()) return Annotate(dims.status(), fmt::format("--shape {} (expected name=1,3,224,224)", shape));
    options->shapes.emplace_back(std::move(pair.first), *dims);
  }
  return absl::OkStatus();
}

}  // namespace

StatusOr<ServerAddress> ParseAddress(std::string_view url) {
  const std::string_view given = url;
  ServerAddress address;
  if (url.starts_with("unix:")) {
    url.remove_prefix(5);
    if (url.starts_with("//")) url.remove_prefix(2);
    if (url.empty()) return InvalidArgument("--url {}: no path after unix:; expected unix:/path/of/the/socket", given);
    address.unix_path = url;
    return address;
  }
  for (const std::string_view scheme : {"http://", "grpc://"}) {
    if (url.starts_with(scheme)) url.remove_prefix(scheme.size());
  }
  if (url.find("://") != std::string_view::npos) {
    return InvalidArgument("--url {}: only plain connections are supported; give host:port, http://host:port or unix:/path",
                           given);
  }
  while (url.ends_with('/')) url.remove_suffix(1);
  const size_t colon = url.rfind(':');
  std::string_view host = url.substr(0, colon);
  if (colon == std::string_view::npos || host.empty() || host.ends_with(':')) {
    return InvalidArgument("--url {}: expected host:port, http://host:port or unix:/path", given);
  }
  const std::string_view port = url.substr(colon + 1);
  const auto number = ParseInt(port);
  if (!number.ok() || *number < 1 || *number > 65535) {
    return InvalidArgument("--url {}: the port '{}' is not a number from 1 to 65535", given, port);
  }
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  address.host = host;
  address.port = port;
  return address;
}

std::variant<InferOptions, InferUsage> ParseInferOptions(int argc, const char* const* argv) {
  InferOptions options;
  std::string url, protocol;
  std::vector<std::string> inputs, shapes;
  int64_t timeout_ms = 60000;
  CLI::App app(kInferDescription, "switchyard infer");
  app.footer(kInferExamples);
  const auto required = [&app](const char* flag, std::string& value, const char* what, const char* text) {
    app.add_option(flag, value, what)->option_text(text)->required()->group("Required");
  };
  required("--url", url, "host:port, http://host:port or unix:/path", "ADDRESS");
  required("--protocol", protocol, "kserve-grpc, kserve-rest, tfs-grpc or tfs-rest", "NAME");
  required("--model", options.model, "the model's name", "NAME");
  app.set_help_flag("-h,--help", "print this text and exit");  // behind those, as the groups of flags stand in its order
  app.add_option("--version", options.version, "the model's version; the server's default if not given")->option_text("N");
  app.add_option("--input", inputs, "name=@file, name=JSON or name=random; once for each input")
      ->allow_extra_args(false)
      ->option_text("NAME=VALUE");
  app.add_option("--shape", shapes, "name=1,3,224,224 or name=scalar: the shape to send, instead of the one deduced")
      ->allow_extra_args(false)
      ->option_text("NAME=DIMS");
  app.add_option("--repeat", options.repeat,
                 "how many calls to make, --concurrency if not given; more than one prints latencies")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1} << 40))
      ->option_text("N");
  app.add_option("--concurrency", options.concurrency, "how many connections call at the same time")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1024}))
      ->option_text("N");
  app.add_option("--top_k", options.top_k, "print the k greatest values of each row (5 for long rows)")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1000000}))
      ->option_text("N");
  app.add_option("--labels", options.labels_file, "names of the indices: a JSON list, or a text file of one name a line")
      ->option_text("FILE");
  app.add_option("--timeout_ms", timeout_ms, "longest time one call may take; 0: no limit (60000 if not given)")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40))
      ->option_text("N");
  app.add_flag("--json", options.json, "print one JSON object");

  std::vector<std::string> arguments;
  for (int i = argc - 1; i >= 1; --i) {
    if (i == 1 && std::string_view(argv[i]) == "infer") break;
    arguments.emplace_back(argv[i]);
  }
  try {
    app.parse(arguments);
  } catch (const CLI::CallForHelp&) {
    return InferUsage{0, app.help()};
  } catch (const CLI::ParseError& error) {
    return InferUsage{kExitUsage, fmt::format("{}\nRun `switchyard infer --help` for the flags.\n", error.what())};
  }
  Status status = FillPairs(inputs, shapes, &options);
  const auto spoken = ParseProtocol(protocol);
  if (status.ok()) status = spoken.status();
  auto address = ParseAddress(url);
  if (status.ok()) status = address.status();
  if (!status.ok()) {
    return InferUsage{kExitUsage, fmt::format("{}\nRun `switchyard infer --help` for the flags.\n", Message(status))};
  }
  if (app.count("--repeat") == 0) options.repeat = options.concurrency;
  options.protocol = *spoken;
  options.address = *address;
  options.timeout = std::chrono::milliseconds(timeout_ms);
  return options;
}

}  // namespace switchyard
