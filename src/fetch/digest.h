// Hashes of files, as they are published.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>

#include "base/digest.h"
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

// For a file of so many bytes, which are to be added.
Digest GitBlobDigest(uint64_t size);

// Those that were asked for.
struct FileDigests {
  uint64_t bytes = 0;
  std::string sha256;
  std::string git_blob;
};
// Blocks: reads the whole file, once. `cancelled` is asked now and then, where it is given. Errors: it cannot be read;
// kCancelled.
StatusOr<FileDigests> DigestsOf(const std::string& path, std::initializer_list<ExpectedDigest::Kind> kinds,
                                const std::function<bool()>& cancelled = {});
// Empty when they are what was expected (whose kind must have been asked for), else what came, in words.
std::string Mismatch(const FileDigests& found, const ExpectedDigest& expected);

}  // namespace switchyard
