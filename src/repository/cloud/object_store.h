// What cloud storage has below a folder, and how to get it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "config/cloud_url.h"
#include "fetch/http.h"

namespace switchyard {

struct StoredObject {
  std::string key;  // below the folder: "3/model.xml"
  uint64_t bytes = 0;
  std::string tag;  // another one when the bytes are others
  friend bool operator==(const StoredObject&, const StoredObject&) = default;
};

// For one thread at a time.
class ObjectStore {
 public:
  virtual ~ObjectStore() = default;
  // Everything below the folder, in any order. Blocks. Errors: NotFound (no such bucket; a folder without objects is an empty
  // list), PermissionDenied, Unavailable (no answer, or a passing fault), and what HttpClient::Call has. None names a secret.
  virtual StatusOr<std::vector<StoredObject>> List() = 0;
  // How to get the object as it was listed, and no other that has its name by then, as far as the service can tell.
  virtual FetchRequest Get(const StoredObject& object) = 0;
};

// A folder that holds very many objects is no model's, and a listing of very many pages may have no end.
Status CheckListing(size_t pages, size_t objects, std::string_view name);

// With the keys that the environment has (docs/cloud.md); without any, as anybody. `client` must outlive it.
// Errors: InvalidArgument, FailedPrecondition: the environment's settings cannot be used.
StatusOr<std::unique_ptr<ObjectStore>> OpenStore(const CloudUrl& url, HttpClient& client);

// Of one service each; see OpenStore.
StatusOr<std::unique_ptr<ObjectStore>> OpenS3(const CloudUrl& url, HttpClient& client);
StatusOr<std::unique_ptr<ObjectStore>> OpenGoogle(const CloudUrl& url, HttpClient& client);
StatusOr<std::unique_ptr<ObjectStore>> OpenAzureBlob(const CloudUrl& url, HttpClient& client);
StatusOr<std::unique_ptr<ObjectStore>> OpenAzureFiles(const CloudUrl& url, HttpClient& client);

}  // namespace switchyard
