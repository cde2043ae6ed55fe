#include "fetch/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <memory>
#include <thread>
#include <utility>

#include "base/environment.h"

namespace switchyard {
namespace {

constexpr int kMostRedirects = 10;

class HeaderList {
 public:
  ~HeaderList() { curl_slist_free_all(list_); }
  void Add(const std::vector<std::string>& lines) {
    for (const std::string& line : lines) list_ = curl_slist_append(list_, line.c_str());
  }
  curl_slist* get() const { return list_; }

 private:
  curl_slist* list_ = nullptr;
};

struct Url {
  std::string scheme, host, port;
  friend bool operator==(const Url&, const Url&) = default;
};
using CurlUrl = std::unique_ptr<CURLU, decltype(&curl_url_cleanup)>;

std::string Part(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK) return {};
  std::string copy = text;
  curl_free(text);
  return copy;
}

std::optional<Url> Origin(const std::string& text) {
  const CurlUrl url(curl_url(), curl_url_cleanup);
  if (curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK) return std::nullopt;
  Url origin{Part(url.get(), CURLUPART_SCHEME), Part(url.get(), CURLUPART_HOST),
             Part(url.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT)};
  if (origin.scheme != "http" && origin.scheme != "https") return std::nullopt;
  return origin;
}

// Where `location` leads from `base`.
std::string Resolve(const std::string& base, const std::string& location) {
  const CurlUrl url(curl_url(), curl_url_cleanup);
  if (curl_url_set(url.get(), CURLUPART_URL, base.c_str(), 0) != CURLUE_OK ||
      curl_url_set(url.get(), CURLUPART_URL, location.c_str(), 0) != CURLUE_OK) {
    return {};
  }
  return Part(url.get(), CURLUPART_URL);
}

struct Transfer {
  HttpAnswer answer;
  HttpSink* sink = nullptr;
  const std::atomic<bool>* cancelled = nullptr;
  bool begun = false;
  Status fault;
};

size_t OnHeader(char* data, size_t size, size_t count, void* user) {
  auto& transfer = *static_cast<Transfer*>(user);
  std::string_view line(data, size * count);
  if (line.starts_with("HTTP/")) transfer.answer.headers.clear();  // of a 100, or of a proxy's
  const size_t colon = line.find(':');
  if (colon == line.npos) return size * count;
  std::string name(line.substr(0, colon));
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  std::string_view value = line.substr(colon + 1);
  while (!value.empty() && (value.front() == ' ' || value.front() == '\t')) value.remove_prefix(1);
  while (!value.empty() && std::string_view(" \t\r\n").find(value.back()) != std::string_view::npos) value.remove_suffix(1);
  transfer.answer.headers[name] = value;
  return size * count;
}

Status Take(CURL* handle, Transfer& transfer, std::string_view bytes) {
  if (!transfer.begun) {
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &transfer.answer.status);
    transfer.begun = true;
    if (transfer.answer.status != 200 && transfer.answer.status != 206) transfer.sink = nullptr;
    if (transfer.sink != nullptr) SY_RETURN_IF_ERROR(transfer.sink->Begin(transfer.answer));
  }
  if (transfer.sink != nullptr) return bytes.empty() ? absl::OkStatus() : transfer.sink->Add(bytes);
  if (transfer.answer.body.size() + bytes.size() > HttpClient::kMostBody) {
    return Error(StatusCode::kResourceExhausted, "an answer of more than {} bytes came where a short one was expected",
                 HttpClient::kMostBody);
  }
  transfer.answer.body += bytes;
  return absl::OkStatus();
}

struct Body {
  CURL* handle;
  Transfer* transfer;
};

size_t OnBody(char* data, size_t size, size_t count, void* user) {
  auto& body = *static_cast<Body*>(user);
  body.transfer->fault = Take(body.handle, *body.transfer, {data, size * count});
  return body.transfer->fault.ok() ? size * count : 0;
}

int OnProgress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const auto* cancelled = static_cast<Transfer*>(user)->cancelled;
  return cancelled != nullptr && cancelled->load() ? 1 : 0;
}

Status FaultOf(CURLcode code, const char* words, const std::string& url) {
  const std::string why = *words != '\0' ? words : curl_easy_strerror(code);
  switch (code) {
    case CURLE_ABORTED_BY_CALLBACK:
      return Error(StatusCode::kCancelled, "{}: cancelled", ShownUrl(url));
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
      return Error(StatusCode::kFailedPrecondition,
                   "{}: {}; if its certificate is your own authority's, name that in SSL_CERT_FILE", ShownUrl(url), why);
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return InvalidArgument("{}: expected the URL of an HTTP server: {}", ShownUrl(url), why);
    default:
      return Error(StatusCode::kUnavailable, "{}: {}", ShownUrl(url), why);
  }
}

}  // namespace

std::string ShownUrl(std::string_view url) {
  const size_t scheme = url.find("://");
  const CurlUrl parsed(curl_url(), curl_url_cleanup);
  constexpr unsigned kAnyScheme = CURLU_NON_SUPPORT_SCHEME | CURLU_DEFAULT_SCHEME;
  if (!url.empty() && curl_url_set(parsed.get(), CURLUPART_URL, std::string(url).c_str(), kAnyScheme) != CURLUE_OK) {
    // Where its password ends, nobody can tell.
    return std::string(scheme == url.npos ? "" : url.substr(0, scheme + 3)) + "<not a valid URL>";
  }
  url = url.substr(0, url.find_first_of("?#"));
  const size_t begin = scheme == url.npos ? 0 : scheme + 3;
  const size_t at = url.substr(0, url.find('/', begin)).rfind('@');
  if (at == url.npos || at < begin) return std::string(url);
  return std::string(url.substr(0, begin)) + std::string(url.substr(at + 1));
}

namespace {
std::string Encode(std::string_view text, std::string_view kept) {
  std::string out;
  for (const char c : text) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || kept.find(c) != kept.npos;
    if (plain) {
      out += c;
    } else {
      fmt::format_to(std::back_inserter(out), "%{:02X}", static_cast<unsigned char>(c));
    }
  }
  return out;
}

}  // namespace

std::string EncodePath(std::string_view path) { return Encode(path, "-._~/"); }
std::string EncodeComponent(std::string_view text) { return Encode(text, "-._~"); }
std::string DecodeComponent(std::string_view text) {
  int size = 0;
  char* const decoded = curl_easy_unescape(nullptr, text.data(), static_cast<int>(text.size()), &size);
  std::string out = text.empty() || decoded == nullptr ? std::string() : std::string(decoded, static_cast<size_t>(size));
  curl_free(decoded);
  return out;
}

std::optional<std::chrono::milliseconds> HttpAnswer::RetryAfter() const {
  const std::string text = Header("retry-after");
  int64_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error == std::errc() && end == text.data() + text.size() && seconds >= 0) {
    return std::chrono::milliseconds(std::min<int64_t>(seconds, 86400) * 1000);
  }
  const time_t date = text.empty() ? -1 : curl_getdate(text.c_str(), nullptr);
  if (date < 0) return std::nullopt;
  return std::chrono::seconds(std::max<int64_t>(0, date - time(nullptr)));
}

HttpClient::HttpClient(Options options)
    : options_(options), handle_((curl_global_init(CURL_GLOBAL_DEFAULT), curl_easy_init())) {}

HttpClient::~HttpClient() { curl_easy_cleanup(static_cast<CURL*>(handle_)); }

StatusOr<HttpAnswer> HttpClient::Hop(const FetchRequest& request, const std::string& url, bool secrets, HttpSink* sink) {
  CURL* const handle = static_cast<CURL*>(handle_);
  if (handle == nullptr) return Error(StatusCode::kInternal, "libcurl cannot be used");
  curl_easy_reset(handle);
  const auto set = [handle](CURLoption option, auto value) { curl_easy_setopt(handle, option, value); };
  HeaderList headers;
  headers.Add(request.headers);
  if (secrets) headers.Add(request.secret_headers);
  Transfer transfer{.answer = {}, .sink = sink, .cancelled = options_.cancelled, .begun = false, .fault = {}};
  Body body{handle, &transfer};
  char words[CURL_ERROR_SIZE] = {};
  set(CURLOPT_URL, url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
  if (request.method == "HEAD") set(CURLOPT_NOBODY, 1L);
  if (request.method == "POST") {
    set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    set(CURLOPT_POSTFIELDS, request.body.c_str());
  }
  if (secrets && !request.aws_sigv4.empty()) {
    set(CURLOPT_AWS_SIGV4, request.aws_sigv4.c_str());
    set(CURLOPT_USERNAME, request.user.c_str());
    set(CURLOPT_PASSWORD, request.password.c_str());
  }
  set(CURLOPT_HTTPHEADER, headers.get());
  set(CURLOPT_USERAGENT, "switchyard/" SWITCHYARD_VERSION);
  set(CURLOPT_PATH_AS_IS, 1L);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_QUICK_EXIT, 1L);  // a name that nobody resolves is not waited for
  if (request.no_proxy) set(CURLOPT_NOPROXY, "*");
  set(CURLOPT_CONNECTTIMEOUT, static_cast<long>(options_.connect_timeout.count()));
  if (options_.deadline != std::chrono::steady_clock::time_point::max()) {
    using std::chrono::milliseconds;
    const auto left = std::chrono::ceil<milliseconds>(options_.deadline - std::chrono::steady_clock::now());
    set(CURLOPT_TIMEOUT_MS, static_cast<long>(std::max(left, milliseconds(1)).count()));
  }
  set(CURLOPT_LOW_SPEED_LIMIT, 1L);
  set(CURLOPT_LOW_SPEED_TIME, static_cast<long>(options_.silence.count()));
  set(CURLOPT_ERRORBUFFER, words);
  set(CURLOPT_HEADERFUNCTION, static_cast<curl_write_callback>(OnHeader));
  set(CURLOPT_HEADERDATA, &transfer);
  set(CURLOPT_WRITEFUNCTION, static_cast<curl_write_callback>(OnBody));
  set(CURLOPT_WRITEDATA, &body);
  set(CURLOPT_NOPROGRESS, 0L);
  set(CURLOPT_XFERINFOFUNCTION, static_cast<curl_xferinfo_callback>(OnProgress));
  set(CURLOPT_XFERINFODATA, &transfer);
  if (const std::string file = AuthoritiesFile(); !file.empty()) set(CURLOPT_CAINFO, file.c_str());
  const CURLcode code = curl_easy_perform(handle);
  if (!transfer.fault.ok()) return transfer.fault;
  if (code != CURLE_OK) return FaultOf(code, words, url);
  // An empty body was never told of.
  if (Status taken = Take(handle, transfer, {}); !taken.ok()) return taken;
  transfer.answer.url = ShownUrl(url);
  return std::move(transfer.answer);
}

StatusOr<HttpAnswer> HttpClient::Call(const FetchRequest& asked, HttpSink* sink) {
  FetchRequest request = asked;
  if (request.authorize) SY_RETURN_IF_ERROR(request.authorize(request));
  std::string url = request.url;
  const std::optional<Url> home = Origin(url);
  if (!home) {
    return InvalidArgument(
        "{}: expected a URL of http:// or https://, with %XX for what may not be in it (%2F for a password's /)",
        ShownUrl(url));
  }
  std::map<std::string, std::string> before;
  std::optional<Url> origin = home;
  for (int hops = 0;; ++hops) {
    SY_ASSIGN_OR_RETURN(HttpAnswer answer, Hop(request, url, *origin == *home, sink));
    answer.headers.insert(before.begin(), before.end());
    const std::string location = answer.Header("location");
    const bool redirect = answer.status >= 301 && answer.status <= 308 && answer.status != 304 && !location.empty();
    if (!redirect || !request.follow) return answer;
    if (hops == kMostRedirects) return Error(StatusCode::kUnavailable, "{}: it redirects in circles", ShownUrl(request.url));
    const std::string next = Resolve(url, location);
    const std::optional<Url> to = Origin(next);
    if (!to) return Error(StatusCode::kFailedPrecondition, "{}: it redirects to what is no HTTP server", ShownUrl(url));
    if (origin->scheme == "https" && to->scheme == "http") {
      return Error(StatusCode::kFailedPrecondition, "{}: it redirects to {}, without TLS, which is not followed", ShownUrl(url),
                   ShownUrl(next));
    }
    before = std::move(answer.headers);
    // What is about the redirect's own body.
    for (const char* name : {"location", "content-length", "content-type", "content-range", "etag", "retry-after"})
      before.erase(name);
    url = next;
    origin = to;
  }
}

bool IsPassing(long status) {
  return status == 408 || status == 429 || status == 500 || status == 502 || status == 503 || status == 504;
}

bool Retries::Again(const HttpClient& client, std::string_view why, std::optional<std::chrono::milliseconds> asked) {
  if (used_ >= left_ || client.Cancelled()) return false;
  ++used_;
  const std::chrono::milliseconds pause = std::min(asked.value_or(pause_), client.options().longest_pause);
  if (std::chrono::steady_clock::now() + pause >= client.options().deadline) return false;
  pause_ *= 2;
  if (say_) say_(fmt::format("{}; trying again in {:.1f} s", why, static_cast<double>(pause.count()) / 1000));
  const auto until = std::chrono::steady_clock::now() + pause;
  while (std::chrono::steady_clock::now() < until) {
    if (client.Cancelled()) return false;
    std::this_thread::sleep_for(std::min<std::chrono::steady_clock::duration>(std::chrono::milliseconds(100),
                                                                              until - std::chrono::steady_clock::now()));
  }
  return true;
}

StatusOr<HttpAnswer> CallWithRetries(HttpClient& client, const FetchRequest& request, int tries, const Retries::Say& say) {
  Retries retries(tries, say);
  while (true) {
    StatusOr<HttpAnswer> answer = client.Call(request);
    std::string why;
    std::optional<std::chrono::milliseconds> asked;
    if (!answer.ok()) {
      if (answer.status().code() != StatusCode::kUnavailable) return answer;
      why = Message(answer.status());
    } else {
      if (!IsPassing(answer->status)) return answer;
      why = fmt::format("{}: HTTP {}", answer->url, answer->status);
      asked = answer->RetryAfter();
    }
    if (!retries.Again(client, why, asked)) return answer;
  }
}

}  // namespace switchyard
