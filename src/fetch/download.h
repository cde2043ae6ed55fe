// One file from a server, taken up where it broke off, and checked.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "fetch/digest.h"
#include "fetch/http.h"

namespace switchyard {

struct DownloadRequest {
  FetchRequest http;
  std::string path;               // of the whole file; what is of it so far lies at <path>.part, and whose it is at <path>.tag
  std::optional<uint64_t> bytes;  // as they were announced
  ExpectedDigest expected;        // kNone: as the server says, where it says (X-Linked-Etag)
  bool hash = true;               // false, where none is expected: the size is all that is checked, and nothing is read again
  int tries = 5;                  // after the first one, without a byte that came between
};

struct Downloaded {
  uint64_t bytes = 0;
  uint64_t fetched = 0;  // in this call; less than `bytes` when it went on with what was there
  std::string sha256;    // empty without DownloadRequest::hash
  bool verified = false;  // against a hash that was known, or that the server told
  std::string etag;
};

struct DownloadEvents {
  // Bytes that are there so far, and of how many (0: not told). Often.
  std::function<void(uint64_t done, uint64_t total)> progress;
  Retries::Say say;
};

// Blocks. What is there of an earlier call is gone on with if it is of the same file: by its hash or, where none is known, by
// the server's strong ETag (If-Range). A file whose hash is wrong is thrown away, and after a resumption asked for once more
// from its beginning. Errors: kUnavailable (no answer, after all tries), kNotFound, kPermissionDenied (401, 403), kDataLoss
// (the wrong bytes), kResourceExhausted (no room), and what HttpClient::Call has (kCancelled also while it reads what came).
// The path lies in a folder that is there.
StatusOr<Downloaded> Download(HttpClient& client, const DownloadRequest& request, const DownloadEvents& events);

// The error that an HTTP status is, named by what was asked for.
Status HttpFault(const HttpAnswer& answer);

}  // namespace switchyard
