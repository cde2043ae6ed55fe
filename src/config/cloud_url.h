// Where a model lies in cloud storage, as base_path names it:
//   s3://BUCKET/FOLDER, s3://HOST:PORT/BUCKET/FOLDER, s3://http[s]://HOST[:PORT]/BUCKET/FOLDER
//   gs://BUCKET/FOLDER (Google Cloud Storage), az://CONTAINER/FOLDER (Azure Blob), azfs://SHARE/FOLDER (Azure Files)
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace switchyard {

struct CloudUrl {
  enum class Service { kS3, kGoogle, kAzureBlob, kAzureFiles };
  Service service = Service::kS3;
  std::string endpoint;  // S3 alone: "HOST:PORT" or "http[s]://HOST[:PORT]" where the URL names a server; else empty
  std::string bucket;    // or the container, or the share
  std::string folder;    // without a slash at either end; may be empty
  // The URL, with no slash at its end: the same for all ways to write one.
  std::string Text() const;
};

// By its scheme alone. Pure.
bool IsCloudUrl(std::string_view path);
// InvalidArgument says what was expected. Pure.
StatusOr<CloudUrl> ParseCloudUrl(std::string_view url);

}  // namespace switchyard
