// Hashes of files, as they are published.
#pragma once

#include <openssl/evp.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace switchyard {

// What a file's bytes must be.
struct ExpectedDigest {
  enum class Kind {
    kNone,
    kSha256,
    kGitBlob,  // SHA-1 as git has it, over "blob <size>\0" and the bytes; the size must be known
  };
  Kind kind = Kind::kNone;
  std::string hex;  // lower case
};

// 64 hexadecimal digits to a SHA-256, 40 to git's; kNone for anything else. Upper case is taken.
ExpectedDigest DigestOf(std::string_view hex);

class FetchDigest {
 public:
  static FetchDigest Sha256() { return FetchDigest(EVP_sha256()); }
  static FetchDigest GitBlob(uint64_t size);

  void Add(std::string_view bytes) { EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()); }
  // Lower case; once.
  std::string Hex();

 private:
  explicit FetchDigest(const EVP_MD* kind) : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    EVP_DigestInit_ex(context_.get(), kind, nullptr);
  }

  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

struct FileDigests {
  uint64_t bytes = 0;
  std::string sha256;
  std::string git_blob;
};
// Blocks: reads the whole file. Errors: it cannot be read.
StatusOr<FileDigests> DigestsOf(const std::string& path);
// Empty when they are what was expected, else what came, in words.
std::string Mismatch(const FileDigests& found, const ExpectedDigest& expected);

}  // namespace switchyard
