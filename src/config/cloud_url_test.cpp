#include "config/cloud_url.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace switchyard {
namespace {

TEST(CloudUrl, EverySchemeAndServer) {
  const struct {
    const char* url;
    CloudUrl::Service service;
    const char *endpoint, *bucket, *folder, *text;
  } cases[] = {
      {"s3://models/resnet", CloudUrl::Service::kS3, "", "models", "resnet", "s3://models/resnet"},
      {"s3://models/a/b c/", CloudUrl::Service::kS3, "", "models", "a/b c", "s3://models/a/b c"},
      {"s3://models", CloudUrl::Service::kS3, "", "models", "", "s3://models"},
      {"s3://minio:9000/models/resnet/", CloudUrl::Service::kS3, "minio:9000", "models", "resnet",
       "s3://minio:9000/models/resnet"},
      {"s3://https://minio:9000/models/resnet", CloudUrl::Service::kS3, "https://minio:9000", "models", "resnet",
       "s3://https://minio:9000/models/resnet"},
      {"s3://http://10.0.0.1/models/resnet", CloudUrl::Service::kS3, "http://10.0.0.1", "models", "resnet",
       "s3://http://10.0.0.1/models/resnet"},
      {"gs://models/resnet", CloudUrl::Service::kGoogle, "", "models", "resnet", "gs://models/resnet"},
      {"az://$web/resnet", CloudUrl::Service::kAzureBlob, "", "$web", "resnet", "az://$web/resnet"},
      {"azfs://share/a/b", CloudUrl::Service::kAzureFiles, "", "share", "a/b", "azfs://share/a/b"},
  };
  for (const auto& one : cases) {
    ASSERT_TRUE(IsCloudUrl(one.url)) << one.url;
    const auto parsed = ParseCloudUrl(one.url);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(parsed->service, one.service) << one.url;
    EXPECT_EQ(parsed->endpoint, one.endpoint) << one.url;
    EXPECT_EQ(parsed->bucket, one.bucket) << one.url;
    EXPECT_EQ(parsed->folder, one.folder) << one.url;
    EXPECT_EQ(parsed->Text(), one.text) << one.url;
  }
}

TEST(CloudUrl, WhatIsNone) {
  for (const char* path : {"/s3://x", "s3:/x", "S3://x", "http://x", "models"}) EXPECT_FALSE(IsCloudUrl(path)) << path;
  for (const char* url : {"s3://", "s3:///x", "s3://a b/x", "s3://b//x", "s3://b/x//y", "s3://b/x\n", "gs://b?x/y", "az://../x",
                          "s3://minio:9000", "s3://https://minio"}) {
    EXPECT_FALSE(ParseCloudUrl(url).ok()) << url;
  }
  const auto secret = ParseCloudUrl("s3://http://user:word@host/bucket/x");
  EXPECT_THAT(std::string(Message(secret.status())), testing::Not(testing::HasSubstr("word")));
  const auto pasted = ParseCloudUrl("az://c/f?sv=1&sig=word");
  EXPECT_THAT(std::string(Message(pasted.status())), testing::Not(testing::HasSubstr("word")));
}

}  // namespace
}  // namespace switchyard
