#include "telemetry/span_exporter.h"

#include <curl/curl.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "base/environment.h"
#include "base/json_string.h"
#include "base/log.h"
#include "base/thread_name.h"

namespace switchyard {
namespace {

constexpr auto kIdleWait = std::chrono::seconds(60);
constexpr auto kLastWords = std::chrono::seconds(2);
constexpr auto kComplainEvery = std::chrono::minutes(1);
constexpr std::string_view kPath = "/v1/traces";
// Of OTLP's enumerations.
constexpr int kServer = 2;
constexpr int kInternal = 1;
constexpr int kError = 2;

std::string UrlOf(const std::string& endpoint) {
  const size_t end = std::min(endpoint.find_first_of("?#"), endpoint.size());
  std::string url = endpoint.substr(0, end);
  if (url.ends_with('/')) url.pop_back();
  if (!url.ends_with(kPath)) url += kPath;
  return url + endpoint.substr(end);
}

void AppendIdField(std::string& out, std::string_view key, const uint8_t* bytes, size_t count) {
  fmt::format_to(std::back_inserter(out), "\"{}\":\"", key);
  AppendHex(out, bytes, count);
  out += "\",";
}

void AppendAttribute(std::string& out, std::string_view key, std::string_view value) {
  if (value.empty()) return;
  if (out.back() != '[') out += ',';
  fmt::format_to(std::back_inserter(out), "{{\"key\":\"{}\",\"value\":{{\"stringValue\":", key);
  AppendJsonString(out, value);
  out += "}}";
}

// OTLP writes 64-bit integers as text.
void AppendAttribute(std::string& out, std::string_view key, uint64_t value) {
  if (out.back() != '[') out += ',';
  fmt::format_to(std::back_inserter(out), "{{\"key\":\"{}\",\"value\":{{\"intValue\":\"{}\"}}}}", key, value);
}

struct Stage {
  std::string_view name;
  int64_t ns;
};

}  // namespace

Status CheckOtlpEndpoint(const std::string& url) {
  const size_t scheme = url.starts_with("http://") ? 7 : url.starts_with("https://") ? 8 : 0;
  const bool plain = std::all_of(url.begin(), url.end(), [](char c) { return c > ' ' && c <= '~'; });
  if (scheme > 0 && url.size() > scheme && url[scheme] != '/' && plain) return absl::OkStatus();
  return InvalidArgument("expected the URL of an OpenTelemetry collector such as http://localhost:4318, got \"{}\"",
                         ShownEndpoint(url));
}

std::string ShownEndpoint(std::string_view url) {
  url = url.substr(0, url.find_first_of("?#"));
  const size_t scheme = url.find("://");
  const size_t begin = scheme == std::string_view::npos ? 0 : scheme + 3;
  // A password may have, against the rules, what else ends it: the last one counts.
  const size_t at = url.rfind('@');
  if (at == std::string_view::npos || at < begin) return std::string(url);
  return std::string(url.substr(0, begin)) + std::string(url.substr(at + 1));
}

std::string OtlpHead(const SpanExporter::Options& options) {
  std::string out = "{\"resourceSpans\":[{\"resource\":{\"attributes\":[";
  AppendAttribute(out, "service.name", options.service_name);
  AppendAttribute(out, "service.version", options.service_version);
  AppendAttribute(out, "process.pid", static_cast<uint64_t>(getpid()));
  out += "]},\"scopeSpans\":[{\"scope\":{\"name\":\"switchyard\"},\"spans\":[";
  return out;
}

std::string OtlpTail() { return "]}]}]}"; }

void AppendOtlpSpans(std::string& out, const CallEvent& event) {
  const EndpointInfo& endpoint = Info(event.endpoint);
  const auto open = [&](const std::array<uint8_t, 8>& span, const std::array<uint8_t, 8>& parent, std::string_view name,
                        int kind, int64_t begin, int64_t end) {
    out += '{';
    AppendIdField(out, "traceId", event.trace_id.data(), event.trace_id.size());
    AppendIdField(out, "spanId", span.data(), span.size());
    if (parent != std::array<uint8_t, 8>{}) AppendIdField(out, "parentSpanId", parent.data(), parent.size());
    out += "\"name\":";
    AppendJsonString(out, name);
    fmt::format_to(std::back_inserter(out), ",\"kind\":{},\"startTimeUnixNano\":\"{}\",\"endTimeUnixNano\":\"{}\"", kind, begin,
                   end);
  };
  int64_t at = event.end_ns - event.total_ns;
  open(event.span_id, event.parent_id, fmt::format("{}/{}", endpoint.api, endpoint.method), kServer, at, event.end_ns);
  if (!event.texts.Get(EventTexts::kTraceState).empty()) {
    out += ",\"traceState\":";
    AppendJsonString(out, event.texts.Get(EventTexts::kTraceState));
  }
  out += ",\"attributes\":[";
  AppendAttribute(out, "switchyard.interface", endpoint.interface);
  AppendAttribute(out, "switchyard.model", event.texts.Get(EventTexts::kModel));
  AppendAttribute(out, "switchyard.version", event.texts.Get(EventTexts::kVersion));
  AppendAttribute(out, "switchyard.device", event.texts.Get(EventTexts::kDevice));
  AppendAttribute(out, "switchyard.request_id", event.texts.Get(EventTexts::kRequestId));
  AppendAttribute(out, "switchyard.batch", event.batch);
  AppendAttribute(out, "switchyard.bytes_in", event.bytes_in);
  AppendAttribute(out, "switchyard.bytes_out", event.bytes_out);
  const std::string code = StatusCodeName(static_cast<size_t>(event.code));
  AppendAttribute(out, "switchyard.status", code);
  out += ']';
  if (event.code != StatusCode::kOk) {
    fmt::format_to(std::back_inserter(out), ",\"status\":{{\"code\":{},\"message\":\"{}\"}}", kError, code);
  }
  out += '}';
  for (const auto& [name, ns] : {Stage{"decode", event.decode_ns}, Stage{"queue", event.queue_ns},
                                 Stage{"compute", event.compute_ns}, Stage{"encode", event.encode_ns}}) {
    if (ns == CallEvent::kNone) continue;
    out += ',';
    open(NewSpanId(), event.span_id, name, kInternal, at, at + ns);
    out += '}';
    at += ns;
  }
}

// To the collector; kept open between batches.
class SpanExporter::Connection {
 public:
  explicit Connection(const SpanExporter& exporter) : exporter_(exporter), handle_(curl_easy_init()) {
    headers_ = curl_slist_append(nullptr, "Content-Type: application/json");
    headers_ = curl_slist_append(headers_, "Expect:");
    const auto set = [this](CURLoption option, auto value) { curl_easy_setopt(handle_, option, value); };
    set(CURLOPT_URL, exporter.url_.c_str());
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_HTTPHEADER, headers_);
    set(CURLOPT_POST, 1L);
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_TIMEOUT_MS,
        static_cast<long>(std::chrono::duration_cast<std::chrono::milliseconds>(exporter.options_.timeout).count()));
    set(CURLOPT_WRITEFUNCTION, static_cast<curl_write_callback>(Discard));
    set(CURLOPT_NOPROGRESS, 0L);
    set(CURLOPT_XFERINFOFUNCTION, static_cast<curl_xferinfo_callback>(Progress));
    set(CURLOPT_XFERINFODATA, const_cast<SpanExporter*>(&exporter));
    set(CURLOPT_ERRORBUFFER, error_);
    if (const std::string file = AuthoritiesFile(); !file.empty()) set(CURLOPT_CAINFO, file.c_str());
  }
  ~Connection() {
    curl_easy_cleanup(handle_);
    curl_slist_free_all(headers_);
  }

  enum class Outcome { kGood, kAgain, kRefused };
  Outcome Post(const std::string& body) {
    error_[0] = '\0';
    curl_easy_setopt(handle_, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
    curl_easy_setopt(handle_, CURLOPT_POSTFIELDS, body.data());
    if (const CURLcode code = curl_easy_perform(handle_); code != CURLE_OK) {
      why_ = error_[0] != '\0' ? error_ : curl_easy_strerror(code);
      if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE) {
        why_ += "; if its certificate is your own authority's, name that in SSL_CERT_FILE";
      }
      return Outcome::kAgain;
    }
    long status = 0;
    curl_easy_getinfo(handle_, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 200 && status < 300) return Outcome::kGood;
    why_ = fmt::format("it answers HTTP {}", status);
    // The ones after which OTLP has clients try again.
    const bool again = status == 429 || status == 502 || status == 503 || status == 504;
    return again ? Outcome::kAgain : Outcome::kRefused;
  }
  const std::string& why() const { return why_; }

 private:
  static size_t Discard(char*, size_t size, size_t count, void*) { return size * count; }
  static int Progress(void* exporter, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    return static_cast<const SpanExporter*>(exporter)->OutOfTime() ? 1 : 0;
  }

  const SpanExporter& exporter_;
  CURL* const handle_;
  curl_slist* headers_ = nullptr;
  char error_[CURL_ERROR_SIZE] = {};
  std::string why_;
};

StatusOr<std::unique_ptr<SpanExporter>> SpanExporter::Start(Options options) {
  SY_RETURN_IF_ERROR(CheckOtlpEndpoint(options.endpoint));
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) return Error(StatusCode::kInternal, "libcurl cannot be used");
  return std::unique_ptr<SpanExporter>(new SpanExporter(std::move(options)));
}

SpanExporter::SpanExporter(Options options)
    : options_(std::move(options)), url_(UrlOf(options_.endpoint)), thread_([this] { Run(); }) {}

void SpanExporter::Close(Duration longest) {
  const auto until = (std::chrono::steady_clock::now() + std::min<Duration>(longest, kLastWords)).time_since_epoch().count();
  TimePoint::rep never = 0;
  if (stop_at_.compare_exchange_strong(never, until)) stopping_.Notify();
  queue_.Wake();
  done_.WaitFor(longest);
}

SpanExporter::~SpanExporter() {
  Close(kLastWords);
  thread_.join();
}

void SpanExporter::Add(const CallStory& story, std::chrono::system_clock::time_point end) {
  queue_.Push([&](CallEvent& event) { event.Set(story, end); });
}

bool SpanExporter::OutOfTime() const {
  const auto at = stop_at_.load();
  return at != 0 && std::chrono::steady_clock::now().time_since_epoch().count() > at;
}

void SpanExporter::Run() {
  NameThread("sy-otlp");
  Connection connection(*this);
  const std::string head = OtlpHead(options_);
  std::string body;
  while (true) {
    const bool last = stopping_.HasBeenNotified();
    if (!last) queue_.Wait(kIdleWait);
    if (!last) stopping_.WaitFor(options_.delay);
    while (true) {
      body = head;
      uint64_t count = 0;
      const auto append = [&](const CallEvent& event) {
        if (count > 0) body += ',';
        AppendOtlpSpans(body, event);
      };
      while (count < kBatch && queue_.Pop(append)) ++count;
      if (count == 0) break;
      body += OtlpTail();
      Send(connection, body, count);
    }
    if (last) break;
  }
  done_.Notify();
}

void SpanExporter::Send(Connection& connection, const std::string& body, uint64_t count) {
  thread_local std::optional<TimePoint> complained;
  Duration pause = options_.first_pause;
  for (int attempt = 0; attempt < kTries && !OutOfTime(); ++attempt) {
    const Connection::Outcome outcome = connection.Post(body);
    if (outcome == Connection::Outcome::kGood) {
      exported_.fetch_add(count, std::memory_order_relaxed);
      return;
    }
    const TimePoint now = std::chrono::steady_clock::now();
    if (!complained || now - *complained > kComplainEvery) {
      LogWarning("otlp_endpoint: traces cannot be sent to {}: {}", ShownEndpoint(url_), connection.why());
      complained = now;
    }
    if (outcome == Connection::Outcome::kRefused || stopping_.HasBeenNotified()) break;
    stopping_.WaitFor(pause);
    pause *= 2;
  }
  failed_.fetch_add(count, std::memory_order_relaxed);
}

}  // namespace switchyard
