#include "transport/http/cors.h"

#include <algorithm>

namespace switchyard {
namespace {

// What pages may read of an answer beside what every page may: where the JSON of a binary answer ends, and the trace.
constexpr std::string_view kExposed =
    "Access-Control-Expose-Headers: Inference-Header-Content-Length, traceparent, tracestate\r\n";

void AppendField(std::string_view name, std::string_view value, std::string& head) {
  if (value.empty()) return;
  head.append(name).append(": ").append(value).append("\r\n");
}

}  // namespace

void AppendCors(const CorsSettings& settings, std::string_view origin, bool preflight, std::string& head) {
  if (settings.origins.empty()) return;
  const bool any = settings.origins.front() == "*";
  if (!any) {
    // A cache must not give one origin's answer to another.
    AppendField("Vary", "Origin", head);
    if (std::find(settings.origins.begin(), settings.origins.end(), origin) == settings.origins.end()) return;
  }
  AppendField("Access-Control-Allow-Origin", any ? std::string_view("*") : origin, head);
  if (settings.credentials) AppendField("Access-Control-Allow-Credentials", "true", head);
  if (preflight) {
    AppendField("Access-Control-Allow-Methods", settings.methods, head);
    AppendField("Access-Control-Allow-Headers", settings.headers, head);
  } else {
    head += kExposed;
  }
}

}  // namespace switchyard
