// Amazon S3 and what is compatible with it: ListObjectsV2 and GetObject of
// https://docs.aws.amazon.com/AmazonS3/latest/API/, signed by libcurl (Signature Version 4).
#include <utility>

#include "base/environment.h"
#include "base/log.h"
#include "repository/cloud/aws_credentials.h"
#include "repository/cloud/object_store.h"
#include "repository/cloud/store_answers.h"

namespace switchyard {
namespace {

// Of no bytes: what a request without a body must say, for S3 alone.
constexpr std::string_view kEmptySha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr std::string_view kS3Remedy =
    "check the keys (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE) and that they may list the bucket and read "
    "it";

// OVMS and its users write "host:port", and mean HTTP.
StatusOr<std::string> EndpointOf(const CloudUrl& url) {
  std::string endpoint = url.endpoint;
  for (const char* variable : {"S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"}) {
    if (endpoint.empty()) endpoint = EnvironmentValue(variable);
  }
  while (endpoint.ends_with('/')) endpoint.pop_back();
  if (endpoint.empty() || endpoint.starts_with("http://") || endpoint.starts_with("https://")) return endpoint;
  if (endpoint.find("://") != endpoint.npos) {
    return Error(StatusCode::kFailedPrecondition, "expected HOST:PORT, or http:// or https:// before it, as the S3 endpoint");
  }
  return (EnvironmentValue("S3_USE_HTTPS") == "1" ? "https://" : "http://") + endpoint;
}

class S3Store : public ObjectStore {
 public:
  S3Store(CloudUrl url, std::string endpoint, AwsCredentials credentials, HttpClient& client)
      : url_(std::move(url)),
        endpoint_(std::move(endpoint)),
        credentials_(std::move(credentials)),
        region_(credentials_.region()),
        client_(client) {}

  StatusOr<std::vector<StoredObject>> List() override {
    std::vector<StoredObject> objects;
    std::string page;
    size_t pages = 0;
    do {
      SY_ASSIGN_OR_RETURN(const HttpAnswer answer, ListPage(page));
      pugi::xml_document xml;
      SY_RETURN_IF_ERROR(ParseXml(answer, &xml));
      const pugi::xml_node list = xml.child("ListBucketResult");
      if (!list) return Error(StatusCode::kUnavailable, "{}: expected a <ListBucketResult>", answer.url);
      const std::string prefix = PrefixOf(url_.folder);
      for (const pugi::xml_node object : list.children("Contents")) {
        const std::string key = object.child_value("Key");
        if (!key.starts_with(prefix)) continue;
        objects.push_back({key.substr(prefix.size()), object.child("Size").text().as_ullong(), object.child_value("ETag")});
      }
      page = list.child("IsTruncated").text().as_bool() ? list.child_value("NextContinuationToken") : "";
      SY_RETURN_IF_ERROR(CheckListing(++pages, objects.size(), url_.Text()));
    } while (!page.empty());
    return objects;
  }

  FetchRequest Get(const StoredObject& object) override {
    FetchRequest request = Request(Bucket() + "/" + EncodePath(PrefixOf(url_.folder) + object.key));
    if (!object.tag.empty()) request.headers.push_back("If-Match: " + object.tag);
    return request;
  }

 private:
  // Buckets with a dot in their name do not match the certificate of BUCKET.s3.REGION.amazonaws.com.
  std::string Bucket() const {
    if (!endpoint_.empty()) return endpoint_ + "/" + url_.bucket;
    const std::string host = fmt::format("s3.{}.amazonaws.com{}", region_, region_.starts_with("cn-") ? ".cn" : "");
    return url_.bucket.find('.') == std::string::npos ? fmt::format("https://{}.{}", url_.bucket, host)
                                                      : fmt::format("https://{}/{}", host, url_.bucket);
  }

  FetchRequest Request(std::string url) {
    FetchRequest request{.url = std::move(url), .headers = {}, .secret_headers = {}, .follow = false};
    request.authorize = [this](FetchRequest& sent) { return Sign(sent); };
    return request;
  }

  Status Sign(FetchRequest& request) {
    SY_ASSIGN_OR_RETURN(const std::optional<AwsKeys> keys, credentials_.Current(client_));
    if (!keys) return absl::OkStatus();
    request.aws_sigv4 = fmt::format("aws:amz:{}:s3", region_);
    request.user = keys->id;
    request.password = keys->secret;
    request.headers.push_back(fmt::format("x-amz-content-sha256: {}", kEmptySha256));
    if (!keys->token.empty()) request.secret_headers.push_back("x-amz-security-token: " + keys->token);
    return absl::OkStatus();
  }

  // The names of a signed query are in the order of the alphabet.
  StatusOr<HttpAnswer> ListPage(const std::string& page) {
    std::string query = "list-type=2&prefix=" + EncodeComponent(PrefixOf(url_.folder));
    if (!page.empty()) query = "continuation-token=" + EncodeComponent(page) + "&" + query;
    for (bool moved = false, renewed = false;;) {
      const std::string base = Bucket();
      SY_ASSIGN_OR_RETURN(HttpAnswer answer, AskStore(client_, Request(fmt::format("{}/?{}", base, query))));
      if (answer.status == 200) return answer;
      const std::string region = answer.Header("x-amz-bucket-region");
      if (!moved && !region.empty() && region != region_) {
        LogInfo("{} is in the region {}, not in {}", url_.Text(), region, region_);
        region_ = region;
        moved = true;
        continue;
      }
      const bool refused = answer.status == 400 || answer.status == 401 || answer.status == 403;
      if (!refused || std::exchange(renewed, true) || !credentials_.Renew()) return StoreFault(answer, url_.Text(), kS3Remedy);
    }
  }

  const CloudUrl url_;
  const std::string endpoint_;
  AwsCredentials credentials_;
  std::string region_;
  HttpClient& client_;
};

}  // namespace

StatusOr<std::unique_ptr<ObjectStore>> OpenS3(const CloudUrl& url, HttpClient& client) {
  SY_ASSIGN_OR_RETURN(const std::string endpoint, EndpointOf(url));
  const bool named_service = !EnvironmentValue("AWS_EC2_METADATA_SERVICE_ENDPOINT").empty();
  SY_ASSIGN_OR_RETURN(AwsCredentials credentials, AwsCredentials::FromEnvironment(endpoint.empty() || named_service));
  return std::make_unique<S3Store>(url, endpoint, std::move(credentials), client);
}

}  // namespace switchyard
