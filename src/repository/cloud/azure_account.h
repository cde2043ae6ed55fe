// The account that AZURE_STORAGE_CONNECTION_STRING names, and its signature under requests.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"
#include "fetch/http.h"

namespace switchyard {

// Pure, but for FromEnvironment.
class AzureAccount {
 public:
  // Errors: it is not set, or names no account. UseDevelopmentStorage=true is the local emulator.
  static StatusOr<AzureAccount> FromEnvironment();
  // As the portal writes it: KEY=VALUE, separated by semicolons.
  // https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string
  static StatusOr<AzureAccount> Parse(std::string_view connection_string);

  const std::string& blob_endpoint() const { return blob_endpoint_; }  // without a slash at the end
  const std::string& file_endpoint() const { return file_endpoint_; }

  // Adds the date, the version of the API and, as the account has it, a signature by its key (Shared Key of
  // https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key) or its shared access signature.
  Status Authorize(FetchRequest& request) const;
  // What Shared Key signs, of a request that has all of its headers.
  std::string StringToSign(const FetchRequest& request) const;

 private:
  std::string name_, key_, sas_, blob_endpoint_, file_endpoint_;  // the key is decoded
};

}  // namespace switchyard
