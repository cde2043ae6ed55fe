#include "config/cloud_url.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "config/text.h"

namespace switchyard {
namespace {

using Service = CloudUrl::Service;
constexpr std::array<std::pair<std::string_view, Service>, 4> kSchemes = {{
    {"s3://", Service::kS3},
    {"gs://", Service::kGoogle},
    {"az://", Service::kAzureBlob},
    {"azfs://", Service::kAzureFiles},
}};

std::string_view SchemeOf(std::string_view url) {
  for (const auto& [scheme, service] : kSchemes) {
    if (url.starts_with(scheme)) return scheme;
  }
  return {};
}

// What stands before the first slash, which is taken away too.
std::string_view TakePart(std::string_view* left) {
  const size_t slash = left->find('/');
  const std::string_view part = left->substr(0, slash);
  left->remove_prefix(slash == left->npos ? left->size() : slash + 1);
  return part;
}

bool IsBucketName(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." &&
         std::all_of(name.begin(), name.end(),
                     [](unsigned char c) { return std::isalnum(c) != 0 || c == '.' || c == '-' || c == '_' || c == '$'; });
}

}  // namespace

bool IsCloudUrl(std::string_view path) { return !SchemeOf(path).empty(); }

std::string CloudUrl::Text() const {
  const auto scheme = std::find_if(kSchemes.begin(), kSchemes.end(), [this](const auto& s) { return s.second == service; });
  std::string text(scheme->first);
  if (!endpoint.empty()) text += endpoint + "/";
  text += bucket;
  return folder.empty() ? text : text + "/" + folder;
}

StatusOr<CloudUrl> ParseCloudUrl(std::string_view url) {
  CloudUrl cloud;
  const std::string_view scheme = SchemeOf(url);
  for (const auto& [known, service] : kSchemes) {
    if (known == scheme) cloud.service = service;
  }
  std::string_view left = url.substr(scheme.size());
  if (cloud.service == Service::kS3) {
    for (const std::string_view http : {"http://", "https://"}) {
      if (!left.starts_with(http)) continue;
      left.remove_prefix(http.size());
      cloud.endpoint = std::string(http);
    }
    if (!cloud.endpoint.empty() || left.substr(0, left.find('/')).find(':') != left.npos) cloud.endpoint += TakePart(&left);
  }
  // Somebody may have pasted a URL with its signature.
  const bool secret = cloud.endpoint.find('@') != std::string::npos || url.find('?') != url.npos;
  cloud.bucket = TakePart(&left);
  while (left.ends_with('/')) left.remove_suffix(1);
  cloud.folder = left;
  const bool plain = std::none_of(left.begin(), left.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; });
  const bool whole = ("/" + cloud.folder + "/").find("//") == std::string::npos || cloud.folder.empty();
  if (scheme.empty() || secret || !plain || !whole || !IsBucketName(cloud.bucket)) {
    return InvalidArgument("expected {}, got {}",
                           cloud.service == Service::kS3 ? "s3://BUCKET/FOLDER or s3://HOST:PORT/BUCKET/FOLDER, keys in AWS_*"
                                                         : fmt::format("{}BUCKET/FOLDER", scheme),
                           secret ? "a URL with what may be secret (? or @)" : Quote(url));
  }
  return cloud;
}

}  // namespace switchyard
