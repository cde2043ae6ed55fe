// Calls to HTTP servers, by libcurl: TLS with the system's certificates (or SSL_CERT_FILE's), proxies as the environment says.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace switchyard {

struct FetchRequest {
  std::string method = "GET";
  std::string url;                   // http or https
  std::vector<std::string> headers;  // "Name: value"
  // The same, for the server that `url` names alone: they do not go along when it redirects to another host, port or scheme.
  std::vector<std::string> secret_headers;
  bool follow = true;  // redirects, ten of them; never from https to http
  std::string body;    // of a POST
  // libcurl's signing as AWS has it, "aws:amz:REGION:SERVICE", by these keys. A query must be sorted and encoded.
  std::string aws_sigv4;
  std::string user, password;
  bool no_proxy = false;  // for servers of this machine, or of its link
  // Is given a copy of the request just before each try, to date, sign or complete it: what it adds is in no message and no
  // file. Its errors are the call's. May use the same client.
  std::function<Status(FetchRequest&)> authorize;
};

struct HttpAnswer {
  long status = 0;
  std::map<std::string, std::string> headers;  // names in lower case; also those of redirects, where the last answer has none
  std::string body;                            // what no sink took, up to HttpClient::kMostBody
  std::string url;                             // where it came from, as ShownUrl shows it
  std::string Header(const std::string& name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? std::string() : found->second;
  }
  // The pause that the server asks for by Retry-After, in seconds or as a date.
  std::optional<std::chrono::milliseconds> RetryAfter() const;
};

// Takes the body of an answer 200 or 206. Errors end the call and are what it returns.
class HttpSink {
 public:
  virtual ~HttpSink() = default;
  virtual Status Begin(const HttpAnswer& head) = 0;
  virtual Status Add(std::string_view bytes) = 0;
};

// "https://host/path" of any URL: without user, password, query and fragment, which may be secret. Of what is no URL, its
// scheme.
std::string ShownUrl(std::string_view url);
// Bytes that a URL may not have as they are, as %XX; '/' stays.
std::string EncodePath(std::string_view path);
// The same for one part of a path, or a value of a query: '/' is encoded too.
std::string EncodeComponent(std::string_view text);
// Back again.
std::string DecodeComponent(std::string_view text);

// For one thread at a time. Connections are kept between calls.
class HttpClient {
 public:
  static constexpr size_t kMostBody = size_t{64} << 20;
  struct Options {
    std::chrono::seconds connect_timeout{30};
    std::chrono::seconds silence{60};              // a server that sends nothing for so long has gone
    const std::atomic<bool>* cancelled = nullptr;  // ends a call early, kCancelled; must outlive the client
    std::chrono::milliseconds longest_pause = std::chrono::minutes(5);  // before another try, whatever the server asks for
    // All calls have ended by then, kUnavailable, however slowly a server sends.
    std::chrono::steady_clock::time_point deadline = std::chrono::steady_clock::time_point::max();
  };
  explicit HttpClient(Options options);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // One try. kUnavailable: no answer, or it broke off (trying again may help). kFailedPrecondition: the server's certificate is
  // not trusted. kInvalidArgument: no URL that can be asked. Any HTTP status is an answer. Errors name ShownUrl alone.
  StatusOr<HttpAnswer> Call(const FetchRequest& request, HttpSink* sink = nullptr);
  bool Cancelled() const { return options_.cancelled != nullptr && options_.cancelled->load(); }
  const Options& options() const { return options_; }

 private:
  StatusOr<HttpAnswer> Hop(const FetchRequest& request, const std::string& url, bool secrets, HttpSink* sink);

  const Options options_;
  void* const handle_;  // CURL
};

// 408, 429 and the 5xx that pass: the same call may be answered later.
bool IsPassing(long status);

// Pauses between tries: what the server asks for, up to Options::longest_pause, else twice as long each time.
class Retries {
 public:
  // `say` is told of each pause, in words; may be empty.
  using Say = std::function<void(const std::string&)>;
  Retries(int tries, Say say) : left_(tries), say_(std::move(say)) {}

  // Waits, and says whether there is another try: not behind the client's deadline. `why` is told. Ends early when the client
  // is cancelled.
  bool Again(const HttpClient& client, std::string_view why, std::optional<std::chrono::milliseconds> asked);
  void Progress() { pause_ = kFirst, used_ = 0; }

 private:
  static constexpr std::chrono::milliseconds kFirst{500};
  const int left_;
  int used_ = 0;
  std::chrono::milliseconds pause_ = kFirst;
  const Say say_;
};

// Tries again where that may help. The answer has any status that does not pass.
StatusOr<HttpAnswer> CallWithRetries(HttpClient& client, const FetchRequest& request, int tries, const Retries::Say& say);

}  // namespace switchyard
