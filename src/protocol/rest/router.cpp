#include "protocol/rest/router.h"

#include <fmt/format.h>

#include <charconv>
#include <utility>
#include <vector>

#include "protocol/http/http_error.h"

namespace switchyard {
namespace {

using Segments = std::vector<std::string_view>;

std::string_view PathOf(std::string_view target) {
  // A proxy may send the absolute form.
  if (!target.starts_with('/')) {
    const size_t scheme = target.find("://");
    if (scheme != target.npos) {
      const size_t slash = target.find('/', scheme + 3);
      target = slash == target.npos ? std::string_view("/") : target.substr(slash);
    }
  }
  return target.substr(0, target.find_first_of("?#"));
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<std::string> PercentDecode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size() || HexDigit(text[i + 1]) < 0 || HexDigit(text[i + 2]) < 0) return std::nullopt;
    out += static_cast<char>(HexDigit(text[i + 1]) * 16 + HexDigit(text[i + 2]));
    i += 2;
  }
  return out;
}

bool IsParentSegment(std::string_view segment) {
  if (segment.empty() || (segment[0] != '.' && segment[0] != '%')) return false;
  return PercentDecode(segment).value_or("") == "..";
}

RouteResult Refuse(int code, std::string_view text) { return {ErrorReply(code, text), {}}; }
RouteResult Unknown(std::string_view path) {
  return Refuse(
      404,
      fmt::format("There is nothing at {}; the paths of this server are those of KServe v2 (/v2/...) and TensorFlow Serving "
                  "(/v1/...), and /metrics",
                  path));
}

// `route` with the path's method checked.
RouteResult Answer(Route route, std::string_view method, std::string_view path) {
  bool is_post = false;
  switch (route.kind) {
    case RouteKind::kInfer:
    case RouteKind::kTfsPredict:
    case RouteKind::kTfsUnsupported:
    case RouteKind::kLogChange:
    case RouteKind::kConfigReload:
    case RouteKind::kRepositoryIndex:
    case RouteKind::kModelLoad:
    case RouteKind::kModelUnload:
    case RouteKind::kRegionAdd:
    case RouteKind::kRegionRemove:
      is_post = true;
      break;
    default:
      break;
  }
  if (is_post ? method == "POST" : method == "GET" || method == "HEAD") return {std::nullopt, std::move(route)};
  const bool both = route.kind == RouteKind::kLogSettings || route.kind == RouteKind::kLogChange;
  const std::string_view allow = both ? "GET, HEAD, POST, OPTIONS" : is_post ? "POST, OPTIONS" : "GET, HEAD, OPTIONS";
  HttpReply reply;
  if (method != "OPTIONS")
    reply = ErrorReply(405, fmt::format("Method {} is not supported for {}; allowed: {}", method, path, allow));
  reply.headers = fmt::format("Allow: {}\r\n", allow);
  return {std::move(reply), {}};
}

// Fills model and version from segments[2...] of /vN/models/...; `used` says how many segments there were. An answer is an
// error.
std::optional<HttpReply> ReadModel(const Segments& segments, Route& route, size_t& used) {
  auto name = PercentDecode(segments[2]);
  if (!name) return ErrorReply(400, fmt::format("Model name {} is not percent-encoded correctly", segments[2]));
  route.model = *std::move(name);
  used = 3;
  if (segments.size() < 5 || (segments[3] != "versions" && segments[3] != "labels")) return std::nullopt;
  used = 5;
  const std::string_view what = segments[3] == "versions" ? "version" : "label";
  auto decoded = PercentDecode(segments[4]);
  if (!decoded) return ErrorReply(400, fmt::format("The {} {} is not percent-encoded correctly", what, segments[4]));
  const std::string_view text = *decoded;
  const bool kserve = segments[0] == "v2";
  if (text.empty() && (!kserve || segments[3] == "versions")) {
    return ErrorReply(400, fmt::format("The {0} in the path is empty - Expected: /{1}/<{0}>, or no /{1}", what, segments[3]));
  }
  const std::string_view digits = text.substr(text.starts_with('-') ? 1 : 0);
  const bool is_number = !digits.empty() && digits.find_first_not_of("0123456789") == digits.npos;
  if (segments[3] == "labels" || (kserve && !is_number)) {
    if (kserve && segments[3] == "labels") {
      return ErrorReply(404, "KServe v2 has no path for labels; a label stands in the place of a version: /versions/{label}");
    }
    route.label = {*std::move(decoded), kserve};
    return std::nullopt;
  }
  int64_t version = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), version);
  if (!is_number) {
    return ErrorReply(400, fmt::format("Invalid model version format - Expected: a number; Actual: {}", text));
  }
  if (parsed.ec != std::errc()) {
    // Longer than any version's: the Manager says of it what it says of others.
    route.label = {*std::move(decoded), true};
  } else if (version != 0) {
    route.version = version;
  }
  return std::nullopt;
}

RouteResult FindRepository(const Segments& segments, std::string_view method, std::string_view path) {
  if (segments.size() == 3 && segments[2] == "index") {
    return Answer(Route{.kind = RouteKind::kRepositoryIndex}, method, path);
  }
  const bool load = segments.size() == 5 && segments[4] == "load";
  if (segments.size() != 5 || segments[2] != "models" || segments[3].empty() || (!load && segments[4] != "unload")) {
    return Unknown(path);
  }
  auto name = PercentDecode(segments[3]);
  if (!name) return Refuse(400, fmt::format("Model name {} is not percent-encoded correctly", segments[3]));
  Route route;
  route.kind = load ? RouteKind::kModelLoad : RouteKind::kModelUnload;
  route.model = *std::move(name);
  return Answer(std::move(route), method, path);
}

RouteResult FindRegion(const Segments& segments, std::string_view method, std::string_view path) {
  Route route;
  route.cuda = segments[1] == "cudasharedmemory";
  const bool one = segments.size() == 5 && segments[2] == "region" && !segments[3].empty();
  if (!one && segments.size() != 3) return Unknown(path);
  if (one) {
    auto name = PercentDecode(segments[3]);
    if (!name) return Refuse(400, fmt::format("Region name {} is not percent-encoded correctly", segments[3]));
    route.region = *std::move(name);
  }
  const std::string_view verb = segments.back();
  if (verb != "status" && verb != "unregister" && (verb != "register" || !one)) return Unknown(path);
  route.kind = verb == "status"     ? RouteKind::kRegionStatus
               : verb == "register" ? RouteKind::kRegionAdd
                                    : RouteKind::kRegionRemove;
  return Answer(std::move(route), method, path);
}

RouteResult FindKserve(const Segments& segments, std::string_view method, std::string_view path) {
  Route route;
  const auto answer = [&](RouteKind kind) {
    route.kind = kind;
    return Answer(std::move(route), method, path);
  };
  if (segments.size() == 1) return answer(RouteKind::kServerMetadata);
  if (segments.size() == 3 && segments[1] == "health") {
    if (segments[2] == "live") return answer(RouteKind::kServerLive);
    if (segments[2] == "ready") return answer(RouteKind::kServerReady);
  }
  if (segments.size() > 1 && segments[1] == "repository") return FindRepository(segments, method, path);
  if (segments.size() > 1 && (segments[1] == "systemsharedmemory" || segments[1] == "cudasharedmemory")) {
    return FindRegion(segments, method, path);
  }
  if (segments.size() == 2 && segments[1] == "logging") {
    return answer(method == "POST" ? RouteKind::kLogChange : RouteKind::kLogSettings);
  }
  if (segments.size() < 3 || segments[1] != "models" || segments[2].empty()) return Unknown(path);
  if (segments.size() == 3 && segments[2] == "stats") return answer(RouteKind::kStatistics);
  size_t used = 0;
  if (auto error = ReadModel(segments, route, used)) return {std::move(error), {}};
  if (segments.size() == used) return answer(RouteKind::kModelMetadata);
  if (segments.size() == used + 1 && segments[used] == "stats") return answer(RouteKind::kStatistics);
  if (segments.size() == used + 1 && segments[used] == "config") return answer(RouteKind::kModelConfig);
  if (segments.size() == used + 1 && segments[used] == "ready") return answer(RouteKind::kModelReady);
  if (segments.size() == used + 1 && segments[used] == "infer") return answer(RouteKind::kInfer);
  return Unknown(path);
}

RouteResult FindTfs(Segments segments, std::string_view method, std::string_view path) {
  Route route;
  const auto answer = [&](RouteKind kind) {
    route.kind = kind;
    return Answer(std::move(route), method, path);
  };
  if (segments.size() == 2 && segments[1] == "devices") return answer(RouteKind::kDevices);
  if (segments.size() == 2 && segments[1] == "config") return answer(RouteKind::kConfigStatus);
  if (segments.size() == 3 && segments[1] == "config" && segments[2] == "reload") return answer(RouteKind::kConfigReload);
  if (segments.size() < 3 || segments[1] != "models" || segments[2].empty()) return Unknown(path);
  std::string_view verb;
  if (const size_t colon = segments.back().find(':'); colon != std::string_view::npos) {
    verb = segments.back().substr(colon + 1);
    segments.back() = segments.back().substr(0, colon);
    if (segments[2].empty() || (verb != "predict" && verb != "classify" && verb != "regress")) return Unknown(path);
  }
  size_t used = 0;
  if (auto error = ReadModel(segments, route, used)) return {std::move(error), {}};
  if (!verb.empty()) {
    if (segments.size() != used) return Unknown(path);
    route.verb = std::string(verb);
    return answer(verb == "predict" ? RouteKind::kTfsPredict : RouteKind::kTfsUnsupported);
  }
  if (segments.size() == used) return answer(RouteKind::kTfsStatus);
  if (segments.size() == used + 1 && segments[used] == "metadata") return answer(RouteKind::kTfsMetadata);
  if (segments.size() == used + 1 && segments[used] == "placement") return answer(RouteKind::kPlacement);
  return Unknown(path);
}

}  // namespace

RouteResult FindRoute(std::string_view method, std::string_view target) {
  if (target == "*" && method == "OPTIONS") {
    HttpReply reply;
    reply.headers = "Allow: GET, HEAD, POST, OPTIONS\r\n";
    return {std::move(reply), {}};
  }
  const std::string_view path = PathOf(target);
  if (!path.starts_with('/')) return Refuse(400, fmt::format("Request target {} is not a path", target));
  Segments segments;
  for (size_t at = 1;;) {
    const size_t slash = path.find('/', at);
    segments.push_back(path.substr(at, slash == path.npos ? path.npos : slash - at));
    if (IsParentSegment(segments.back())) {
      return Refuse(400, "The path must not have parent-directory segments (..)");
    }
    if (slash == path.npos) break;
    at = slash + 1;
  }
  if (segments.size() > 1 && segments.back().empty()) segments.pop_back();
  // Of a client that puts "/" between an address that ends with it and a path, which OVMS answers.
  while (segments.size() > 1 && segments.front().empty()) segments.erase(segments.begin());
  if (segments[0] == "metrics" && segments.size() == 1) return Answer(Route{.kind = RouteKind::kMetrics}, method, path);
  if (segments[0] == "v2") return FindKserve(segments, method, path);
  if (segments[0] == "v1") return FindTfs(std::move(segments), method, path);
  return Unknown(path);
}

}  // namespace switchyard
