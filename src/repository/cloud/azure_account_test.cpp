#include "repository/cloud/azure_account.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace switchyard {
namespace {

using testing::HasSubstr;

TEST(AzureAccount, EndpointsOfAConnectionString) {
  const struct {
    const char *text, *blob, *file;
  } cases[] = {
      {"DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=c2VjcmV0;EndpointSuffix=core.windows.net",
       "https://acme.blob.core.windows.net", "https://acme.file.core.windows.net"},
      {"accountname=acme;accountkey=c2VjcmV0", "https://acme.blob.core.windows.net", "https://acme.file.core.windows.net"},
      {"BlobEndpoint=https://host/x/;SharedAccessSignature=?sv=1&sig=a%3D", "https://host/x", ""},
      {"UseDevelopmentStorage=true", "http://127.0.0.1:10000/devstoreaccount1", ""},
  };
  for (const auto& one : cases) {
    const auto account = AzureAccount::Parse(one.text);
    ASSERT_TRUE(account.ok()) << account.status();
    EXPECT_EQ(account->blob_endpoint(), one.blob);
    EXPECT_EQ(account->file_endpoint(), one.file);
  }
}

TEST(AzureAccount, WhatIsNoneNamesTheVariableAndNoKey) {
  for (const char* text : {"", "nonsense", "AccountKey=c2VjcmV0", "AccountName=a;AccountKey=*c2VjcmV0*",
                           "BlobEndpoint=https://h;AccountKey=c2VjcmV0"}) {
    const auto account = AzureAccount::Parse(text);
    ASSERT_FALSE(account.ok()) << text;
    EXPECT_THAT(std::string(Message(account.status())), HasSubstr("AZURE_STORAGE_CONNECTION_STRING"));
    EXPECT_THAT(std::string(Message(account.status())), testing::Not(HasSubstr("c2VjcmV0")));
  }
}

// The shape that the service documents for Shared Key.
TEST(AzureAccount, WhatIsSigned) {
  const auto account = AzureAccount::Parse("AccountName=acme;AccountKey=c2VjcmV0");
  FetchRequest request{.url = "https://acme.blob.core.windows.net/models/a%20b?restype=container&comp=list&prefix=a%2F",
                       .headers = {"x-ms-version: 2021-12-02", "Range: bytes=3-", "x-ms-date: D", "If-Match: \"1\""}};
  EXPECT_EQ(account->StringToSign(request),
            "GET\n\n\n\n\n\n\n\n\"1\"\n\n\nbytes=3-\nx-ms-date:D\nx-ms-version:2021-12-02\n"
            "/acme/models/a%20b\ncomp:list\nprefix:a/\nrestype:container");
}

TEST(AzureAccount, ASharedAccessSignatureIsPartOfTheUrlThatIsSentAlone) {
  const auto account = AzureAccount::Parse("BlobEndpoint=https://h;SharedAccessSignature=?sv=1&sig=x");
  FetchRequest request{.url = "https://h/c/a"};
  ASSERT_TRUE(account->Authorize(request).ok());
  EXPECT_EQ(request.url, "https://h/c/a?sv=1&sig=x");
  EXPECT_TRUE(request.secret_headers.empty());
}

}  // namespace
}  // namespace switchyard
