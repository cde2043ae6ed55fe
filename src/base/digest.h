// Digests of bytes that come piece by piece.
#pragma once

#include <openssl/evp.h>

#include <memory>
#include <string>
#include <string_view>

namespace switchyard {

// For one thread at a time.
class Digest {
 public:
  static Digest Sha256() { return Digest(EVP_sha256()); }
  static Digest Sha1() { return Digest(EVP_sha1()); }

  void Add(std::string_view bytes) { EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()); }
  // Lower case; once.
  std::string Hex();

 private:
  explicit Digest(const EVP_MD* kind) : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    EVP_DigestInit_ex(context_.get(), kind, nullptr);
  }

  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

}  // namespace switchyard
