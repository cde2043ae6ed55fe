#include "repository/cloud/azure_account.h"

#include <absl/strings/ascii.h>
#include <absl/strings/escaping.h>
#include <absl/time/clock.h>
#include <absl/time/time.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <map>
#include <utility>

#include "base/environment.h"

namespace switchyard {
namespace {

constexpr const char* kConnectionVariable = "AZURE_STORAGE_CONNECTION_STRING";
constexpr std::string_view kApiVersion = "2021-12-02";
// Published with the emulator: no secret.
constexpr std::string_view kEmulatorName = "devstoreaccount1";
constexpr std::string_view kEmulatorKey =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

std::string Lower(std::string_view text) { return absl::AsciiStrToLower(absl::string_view(text.data(), text.size())); }

// As RFC 9110 has it, in English: nobody sets a locale here.
std::string HttpDate() { return absl::FormatTime("%a, %d %b %Y %H:%M:%S GMT", absl::Now(), absl::UTCTimeZone()); }

}  // namespace

StatusOr<AzureAccount> AzureAccount::FromEnvironment() {
  const std::string text = EnvironmentValue(kConnectionVariable);
  if (!text.empty()) return Parse(text);
  return Error(StatusCode::kFailedPrecondition, "az:// and azfs:// need the account's connection string in {}",
               kConnectionVariable);
}

StatusOr<AzureAccount> AzureAccount::Parse(std::string_view text) {
  std::map<std::string, std::string> values;
  while (!text.empty()) {
    const std::string_view part = text.substr(0, text.find(';'));
    text.remove_prefix(std::min(text.size(), part.size() + 1));
    const size_t equals = part.find('=');
    if (equals != part.npos) values[Lower(part.substr(0, equals))] = part.substr(equals + 1);
  }
  AzureAccount account;
  std::string key = values["accountkey"];
  account.name_ = values["accountname"];
  account.sas_ = values["sharedaccesssignature"];
  account.blob_endpoint_ = values["blobendpoint"];
  account.file_endpoint_ = values["fileendpoint"];
  if (Lower(values["usedevelopmentstorage"]) == "true") {
    account.name_ = kEmulatorName;
    key = kEmulatorKey;
    if (account.blob_endpoint_.empty()) account.blob_endpoint_ = fmt::format("http://127.0.0.1:10000/{}", kEmulatorName);
  }
  if (account.sas_.starts_with('?')) account.sas_.erase(0, 1);
  const std::string scheme = values["defaultendpointsprotocol"].empty() ? "https" : values["defaultendpointsprotocol"];
  const std::string suffix = values["endpointsuffix"].empty() ? "core.windows.net" : values["endpointsuffix"];
  for (const auto& [service, endpoint] : {std::pair("blob", &account.blob_endpoint_), {"file", &account.file_endpoint_}}) {
    if (endpoint->empty() && !account.name_.empty() && account.name_ != kEmulatorName) {
      *endpoint = fmt::format("{}://{}.{}.{}", scheme, account.name_, service, suffix);
    }
    while (endpoint->ends_with('/')) endpoint->pop_back();
  }
  if (account.blob_endpoint_.empty() && account.file_endpoint_.empty()) {
    return Error(StatusCode::kFailedPrecondition,
                 "{}: expected AccountName=...;AccountKey=..., or BlobEndpoint=...;SharedAccessSignature=...",
                 kConnectionVariable);
  }
  if (!absl::Base64Unescape(key, &account.key_)) {
    return Error(StatusCode::kFailedPrecondition, "{}: its AccountKey is no Base64", kConnectionVariable);
  }
  if (!account.key_.empty() && account.name_.empty()) {
    return Error(StatusCode::kFailedPrecondition, "{}: an AccountKey needs its AccountName", kConnectionVariable);
  }
  return account;
}

std::string AzureAccount::StringToSign(const FetchRequest& request) const {
  std::map<std::string, std::string> headers;
  for (const std::string& line : request.headers) {
    const size_t colon = line.find(':');
    if (colon == line.npos) continue;
    const size_t value = line.find_first_not_of(' ', colon + 1);
    headers[Lower(line.substr(0, colon))] = value == line.npos ? "" : line.substr(value);
  }
  std::string text = request.method + "\n";
  for (const char* name : {"content-encoding", "content-language", "content-length", "content-md5", "content-type", "date",
                           "if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range"}) {
    text += headers[name] + "\n";
  }
  for (const auto& [name, value] : headers) {
    if (name.starts_with("x-ms-")) text += name + ":" + value + "\n";
  }
  const size_t host = request.url.find("://") + 3;
  const size_t query = request.url.find('?');
  const size_t path = request.url.find('/', host);
  text += "/" + name_ + (path < query ? request.url.substr(path, query - path) : "/");
  std::map<std::string, std::string> parameters;
  std::string_view left = query == std::string::npos ? std::string_view() : std::string_view(request.url).substr(query + 1);
  while (!left.empty()) {
    const std::string_view part = left.substr(0, left.find('&'));
    left.remove_prefix(std::min(left.size(), part.size() + 1));
    const size_t equals = std::min(part.find('='), part.size());
    parameters[Lower(part.substr(0, equals))] = DecodeComponent(part.substr(std::min(equals + 1, part.size())));
  }
  for (const auto& [name, value] : parameters) text += "\n" + name + ":" + value;
  return text;
}

Status AzureAccount::Authorize(FetchRequest& request) const {
  request.headers.push_back("x-ms-date: " + HttpDate());
  request.headers.push_back(fmt::format("x-ms-version: {}", kApiVersion));
  if (!sas_.empty()) {
    request.url += (request.url.find('?') == std::string::npos ? "?" : "&") + sas_;
    return absl::OkStatus();
  }
  if (key_.empty()) return absl::OkStatus();  // a public container
  const std::string text = StringToSign(request);
  std::string signature(EVP_MAX_MD_SIZE, '\0');
  unsigned size = 0;
  if (HMAC(EVP_sha256(), key_.data(), static_cast<int>(key_.size()), reinterpret_cast<const unsigned char*>(text.data()),
           text.size(), reinterpret_cast<unsigned char*>(signature.data()), &size) == nullptr) {
    return Error(StatusCode::kInternal, "signing failed");
  }
  signature.resize(size);
  request.secret_headers.push_back(fmt::format("Authorization: SharedKey {}:{}", name_, absl::Base64Escape(signature)));
  return absl::OkStatus();
}

}  // namespace switchyard
