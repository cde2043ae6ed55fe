#include "fetch/download.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

namespace switchyard {
namespace {

namespace fs = std::filesystem;

class File {
 public:
  File(const std::string& path, int flags) : fd_(open(path.c_str(), flags | O_CLOEXEC, 0666)) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }

 private:
  const int fd_;
};

Status WriteFault(const std::string& path, int error) {
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    std::error_code ignored;
    const fs::space_info space = fs::space(fs::path(path).parent_path(), ignored);
    return Error(StatusCode::kResourceExhausted,
                 "no room for {} ({}; {} bytes are free there); make room and pull again: it goes on where it stopped", path,
                 std::strerror(error), ignored ? 0 : space.available);
  }
  return Error(StatusCode::kPermissionDenied, "cannot write {}: {}", path, std::strerror(error));
}

// "bytes 100-199/200": where it begins, and of how many.
std::optional<std::pair<uint64_t, uint64_t>> ContentRange(std::string_view text) {
  if (!text.starts_with("bytes ")) return std::nullopt;
  uint64_t begin = 0, total = 0;
  const size_t slash = text.find('/');
  if (slash == text.npos || std::from_chars(text.data() + 6, text.data() + text.size(), begin).ec != std::errc())
    return std::nullopt;
  std::from_chars(text.data() + slash + 1, text.data() + text.size(), total);
  return std::pair(begin, total);
}

std::string StrongEtag(const HttpAnswer& answer) {
  std::string etag = answer.Header("etag");
  return etag.starts_with('"') ? etag : std::string();
}

// Tells one URL from another where it may be read: a URL can have a password or a signature in it.
std::string KeyOf(const std::string& url) {
  Digest digest = Digest::Sha256();
  digest.Add(url);
  return digest.Hex();
}

// Writes behind what is there, or in its place when the server sends the whole.
class PartSink : public HttpSink {
 public:
  // `etag`: what is there so far has it; empty when that is known otherwise.
  PartSink(const DownloadRequest& request, const DownloadEvents& events, uint64_t there, std::string etag)
      : request_(request),
        events_(events),
        part_(request.path + ".part", O_WRONLY | O_CREAT),
        etag_(std::move(etag)),
        done_(there) {}

  Status Begin(const HttpAnswer& head) override {
    if (part_.fd() < 0) return WriteFault(request_.path, errno);
    uint64_t length = 0;
    const std::string text = head.Header("content-length");
    std::from_chars(text.data(), text.data() + text.size(), length);
    if (head.status == 206) {
      const auto range = ContentRange(head.Header("content-range"));
      if (!range || range->first != done_) {
        return Error(StatusCode::kUnavailable, "{}: it sent another part than was asked for", head.url);
      }
      // Not every server heeds If-Range.
      if (!etag_.empty() && StrongEtag(head) != etag_) {
        return Error(StatusCode::kAborted, "{}: it is another file by now", head.url);
      }
      total_ = range->second;
    } else {
      done_ = 0;
      total_ = length;
    }
    if (request_.bytes && total_ != 0 && total_ != *request_.bytes) {
      return Error(StatusCode::kDataLoss, "{}: expected {} bytes, the server has {}", ShownUrl(request_.http.url),
                   *request_.bytes, total_);
    }
    if (ftruncate(part_.fd(), static_cast<off_t>(done_)) != 0 || lseek(part_.fd(), 0, SEEK_END) < 0) {
      return WriteFault(request_.path, errno);
    }
    std::ofstream(request_.path + ".tag", std::ios::trunc) << KeyOf(request_.http.url) << "\n" << StrongEtag(head) << "\n";
    return absl::OkStatus();
  }

  Status Add(std::string_view bytes) override {
    const uint64_t most = request_.bytes.value_or(total_ == 0 ? UINT64_MAX : total_);
    if (bytes.size() > most - done_) {
      return Error(StatusCode::kDataLoss, "{}: more than {} bytes came", ShownUrl(request_.http.url), most);
    }
    while (!bytes.empty()) {
      const ssize_t wrote = write(part_.fd(), bytes.data(), bytes.size());
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote <= 0) return WriteFault(request_.path, wrote == 0 ? ENOSPC : errno);
      bytes.remove_prefix(static_cast<size_t>(wrote));
      done_ += static_cast<uint64_t>(wrote);
      fetched_ += static_cast<uint64_t>(wrote);
    }
    if (events_.progress) events_.progress(done_, request_.bytes.value_or(total_));
    return absl::OkStatus();
  }

  uint64_t done() const { return done_; }
  uint64_t total() const { return total_; }
  uint64_t fetched() const { return fetched_; }

 private:
  const DownloadRequest& request_;
  const DownloadEvents& events_;
  const File part_;
  const std::string etag_;
  uint64_t done_;
  uint64_t total_ = 0;
  uint64_t fetched_ = 0;
};

class Downloading {
 public:
  Downloading(HttpClient& client, const DownloadRequest& request, const DownloadEvents& events)
      : client_(client), request_(request), events_(events), expected_(request.expected), retries_(request.tries, events.say) {}

  StatusOr<Downloaded> Run() {
    while (true) {
      const bool resumed = There() > 0;
      SY_RETURN_IF_ERROR(Fetch());
      SY_ASSIGN_OR_RETURN(const FileDigests found, Found());
      std::string wrong = Mismatch(found, expected_);
      if (request_.bytes && found.bytes != *request_.bytes) {
        wrong = fmt::format("expected {} bytes, got {}", *request_.bytes, found.bytes);
      }
      if (wrong.empty()) return Keep(found);
      Forget();
      if (!resumed) return Error(StatusCode::kDataLoss, "{}: {}; what came is thrown away", ShownUrl(request_.http.url), wrong);
      if (events_.say)
        events_.say(
            fmt::format("{}: {}, with what was there before; from the beginning again", ShownUrl(request_.http.url), wrong));
    }
  }

 private:
  std::string Part() const { return request_.path + ".part"; }
  uint64_t There() const {
    std::error_code error;
    const uint64_t size = fs::file_size(Part(), error);
    return error ? 0 : size;
  }
  StatusOr<FileDigests> Found() const {
    if (!request_.hash) return FileDigests{.bytes = There(), .sha256 = {}, .git_blob = {}};
    return DigestsOf(Part(), {ExpectedDigest::Kind::kSha256, expected_.kind}, [this] { return client_.Cancelled(); });
  }
  void Forget() const {
    std::error_code error;
    fs::remove(Part(), error);
    fs::remove(request_.path + ".tag", error);
  }

  // What may be gone on with, by its ETag, or by a hash that is known; nothing that may belong to another file stays.
  std::optional<std::string> Condition() {
    if (There() == 0) return std::nullopt;
    std::ifstream tag(request_.path + ".tag");
    std::string key, etag;
    std::getline(tag, key);
    std::getline(tag, etag);
    const bool same_bytes = expected_.kind != ExpectedDigest::Kind::kNone;
    if (same_bytes) return std::string();
    if (key == KeyOf(request_.http.url) && !etag.empty()) return etag;
    Forget();
    return std::nullopt;
  }

  // Until the server has said that all is there.
  Status Fetch() {
    if (request_.bytes && There() > *request_.bytes) Forget();
    while (true) {
      FetchRequest http = request_.http;
      const std::optional<std::string> condition = Condition();
      const uint64_t there = There();
      if (condition && request_.bytes == there && expected_.kind != ExpectedDigest::Kind::kNone) return absl::OkStatus();
      if (condition) {
        http.headers.push_back(fmt::format("Range: bytes={}-", there));
        if (!condition->empty()) http.headers.push_back("If-Range: " + *condition);
      }
      http.headers.push_back("Accept-Encoding: identity");
      PartSink sink(request_, events_, condition ? there : 0, condition.value_or(""));
      const StatusOr<HttpAnswer> answer = client_.Call(http, &sink);
      fetched_ += sink.fetched();
      // Bytes that came before are none: of some servers every answer ends at the same place.
      if (sink.done() > furthest_) retries_.Progress();
      furthest_ = std::max(furthest_, sink.done());
      Status fault = answer.status();
      if (fault.code() == StatusCode::kAborted) {
        Forget();
        continue;
      }
      std::optional<std::chrono::milliseconds> asked;
      if (answer.ok()) {
        TakeFacts(*answer);
        const bool whole = sink.total() == 0 || sink.done() == sink.total();
        if ((answer->status == 200 || answer->status == 206) && whole) return absl::OkStatus();
        if (answer->status == 416 && condition) {
          // All was there already; if not, its hash tells.
          if (answer->Header("content-range") == fmt::format("bytes */{}", there)) return absl::OkStatus();
          Forget();
          continue;
        }
        fault = HttpFault(*answer);
        asked = answer->RetryAfter();
      }
      if (fault.code() != StatusCode::kUnavailable || !retries_.Again(client_, Message(fault), asked)) return fault;
    }
  }

  void TakeFacts(const HttpAnswer& answer) {
    etag_ = StrongEtag(answer);
    std::string linked = answer.Header("x-linked-etag");
    std::erase(linked, '"');
    if (linked.starts_with("W/")) linked.erase(0, 2);
    if (request_.hash && expected_.kind == ExpectedDigest::Kind::kNone) expected_ = DigestOf(linked);
  }

  StatusOr<Downloaded> Keep(const FileDigests& found) {
    const File part(Part(), O_RDONLY);
    if (part.fd() < 0 || fsync(part.fd()) != 0) return WriteFault(request_.path, errno);
    if (std::rename(Part().c_str(), request_.path.c_str()) != 0) return WriteFault(request_.path, errno);
    Forget();
    return Downloaded{.bytes = found.bytes,
                      .fetched = fetched_,
                      .sha256 = found.sha256,
                      .verified = expected_.kind != ExpectedDigest::Kind::kNone,
                      .etag = etag_};
  }

  HttpClient& client_;
  const DownloadRequest& request_;
  const DownloadEvents& events_;
  ExpectedDigest expected_;
  Retries retries_;
  uint64_t fetched_ = 0;
  uint64_t furthest_ = 0;  // so many of the file's bytes came at best
  std::string etag_;
};

}  // namespace

Status HttpFault(const HttpAnswer& answer) {
  const std::string what = fmt::format("{}: HTTP {}", answer.url, answer.status);
  if (answer.status == 404 || answer.status == 410) return Error(StatusCode::kNotFound, "{}: it is not there", what);
  if (answer.status == 401 || answer.status == 403)
    return Error(StatusCode::kPermissionDenied, "{}: it is not given out", what);
  if (answer.status == 200 || answer.status == 206 || IsPassing(answer.status))
    return Error(StatusCode::kUnavailable, "{}", what);
  return Error(StatusCode::kFailedPrecondition, "{}, which was not expected", what);
}

StatusOr<Downloaded> Download(HttpClient& client, const DownloadRequest& request, const DownloadEvents& events) {
  return Downloading(client, request, events).Run();
}

}  // namespace switchyard
