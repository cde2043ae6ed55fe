#include "fetch/digest.h"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

namespace switchyard {

ExpectedDigest DigestOf(std::string_view hex) {
  constexpr size_t kSha256Digits = 64;
  constexpr size_t kSha1Digits = 40;
  const bool digits = std::all_of(hex.begin(), hex.end(), [](unsigned char c) { return std::isxdigit(c) != 0; });
  if (!digits || (hex.size() != kSha256Digits && hex.size() != kSha1Digits)) return {};
  std::string lower(hex);
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  const auto kind = hex.size() == kSha256Digits ? ExpectedDigest::Kind::kSha256 : ExpectedDigest::Kind::kGitBlob;
  return {kind, std::move(lower)};
}

Digest GitBlobDigest(uint64_t size) {
  Digest digest = Digest::Sha1();
  const std::string head = fmt::format("blob {}", size);
  digest.Add({head.c_str(), head.size() + 1});
  return digest;
}

StatusOr<FileDigests> DigestsOf(const std::string& path, std::initializer_list<ExpectedDigest::Kind> kinds,
                                const std::function<bool()>& cancelled) {
  const auto wanted = [&kinds](ExpectedDigest::Kind kind) {
    return std::find(kinds.begin(), kinds.end(), kind) != kinds.end();
  };
  const bool with_sha256 = wanted(ExpectedDigest::Kind::kSha256), with_git = wanted(ExpectedDigest::Kind::kGitBlob);
  std::error_code error;
  const uint64_t size = std::filesystem::file_size(path, error);
  std::ifstream file(path, std::ios::binary);
  if (error || !file) return InvalidArgument("cannot read {}: {}", path, std::strerror(errno));
  Digest sha256 = Digest::Sha256();
  Digest git = GitBlobDigest(size);
  std::string piece(size_t{1} << 20, '\0');
  uint64_t bytes = 0;
  while (file.read(piece.data(), static_cast<std::streamsize>(piece.size())), file.gcount() > 0) {
    if (cancelled && cancelled()) return Error(StatusCode::kCancelled, "{}: cancelled", path);
    const std::string_view read(piece.data(), static_cast<size_t>(file.gcount()));
    if (with_sha256) sha256.Add(read);
    if (with_git) git.Add(read);
    bytes += read.size();
  }
  if (file.bad() || bytes != size) return InvalidArgument("cannot read {} to its end", path);
  return FileDigests{bytes, with_sha256 ? sha256.Hex() : std::string(), with_git ? git.Hex() : std::string()};
}

std::string Mismatch(const FileDigests& found, const ExpectedDigest& expected) {
  switch (expected.kind) {
    case ExpectedDigest::Kind::kNone:
      return {};
    case ExpectedDigest::Kind::kSha256:
      if (found.sha256 == expected.hex) return {};
      return fmt::format("expected SHA-256 {}, got {}", expected.hex, found.sha256);
    case ExpectedDigest::Kind::kGitBlob:
      if (found.git_blob == expected.hex) return {};
      return fmt::format("expected git's SHA-1 {}, got {}", expected.hex, found.git_blob);
  }
  return {};
}

}  // namespace switchyard
