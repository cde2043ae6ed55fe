// Google Cloud Storage by its JSON API: https://cloud.google.com/storage/docs/json_api/v1/objects
#include <absl/strings/escaping.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include <charconv>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "base/environment.h"
#include "base/json_string.h"
#include "repository/cloud/object_store.h"
#include "repository/cloud/store_answers.h"

namespace switchyard {
namespace {

using Clock = std::chrono::system_clock;
constexpr const char* kCredentialsVariable = "GOOGLE_APPLICATION_CREDENTIALS";
constexpr std::string_view kScope = "https://www.googleapis.com/auth/devstorage.read_only";
constexpr std::string_view kGoogleRemedy =
    "name a key file in GOOGLE_APPLICATION_CREDENTIALS whose account may list the bucket's objects and read them";
// A token is asked for again so long before it ends.
constexpr auto kRenewTokenEarly = std::chrono::minutes(5);

std::string WebBase64(std::string_view bytes) {
  std::string text = absl::WebSafeBase64Escape(absl::string_view(bytes.data(), bytes.size()));
  while (text.ends_with('=')) text.pop_back();
  return text;
}

// RS256 of RFC 7518, section 3.3.
StatusOr<std::string> SignRs256(const std::string& pem, std::string_view text) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), BIO_free);
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(PEM_read_bio_PrivateKey(bio.get(), nullptr, nullptr, nullptr),
                                                                EVP_PKEY_free);
  const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(EVP_MD_CTX_new(), EVP_MD_CTX_free);
  size_t size = 0;
  const auto* const bytes = reinterpret_cast<const unsigned char*>(text.data());
  if (key == nullptr || EVP_DigestSignInit(context.get(), nullptr, EVP_sha256(), nullptr, key.get()) != 1 ||
      EVP_DigestSign(context.get(), nullptr, &size, bytes, text.size()) != 1) {
    return Error(StatusCode::kFailedPrecondition, "{}: its private_key cannot be used", kCredentialsVariable);
  }
  std::string signature(size, '\0');
  if (EVP_DigestSign(context.get(), reinterpret_cast<unsigned char*>(signature.data()), &size, bytes, text.size()) != 1) {
    return Error(StatusCode::kInternal, "{}: signing failed", kCredentialsVariable);
  }
  signature.resize(size);
  return signature;
}

// What the key file says, and the token that came of it. For one thread at a time.
class GoogleToken {
 public:
  // None without a key file: calls are anybody's.
  static StatusOr<std::optional<GoogleToken>> FromEnvironment() {
    const std::string path = EnvironmentValue(kCredentialsVariable);
    if (path.empty()) return std::optional<GoogleToken>();
    std::ifstream file(path);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    if (text.empty())
      return Error(StatusCode::kFailedPrecondition, "{} names {}, which cannot be read", kCredentialsVariable, path);
    const auto json = ParseJsonObject(text, path);
    if (!json.ok()) return Error(StatusCode::kFailedPrecondition, "{}: {}", kCredentialsVariable, Message(json.status()));
    GoogleToken token;
    token.uri_ = JsonText(*json, "token_uri");
    if (token.uri_.empty()) token.uri_ = "https://oauth2.googleapis.com/token";
    const std::string type = JsonText(*json, "type");
    std::vector<std::pair<const char*, std::string*>> needed;
    if (type == "service_account") {
      token.key_id_ = JsonText(*json, "private_key_id");
      needed = {{"client_email", &token.email_}, {"private_key", &token.key_}};
    } else if (type == "authorized_user") {
      needed = {{"client_id", &token.id_}, {"client_secret", &token.secret_}, {"refresh_token", &token.refresh_}};
    } else {
      return Error(StatusCode::kFailedPrecondition,
                   "{}: expected a key file of the type service_account or authorized_user in {}, got {}", kCredentialsVariable,
                   path, type.empty() ? "none" : type);
    }
    for (const auto& [key, value] : needed) {
      *value = JsonText(*json, key);
      if (value->empty()) return Error(StatusCode::kFailedPrecondition, "{}: {} has no {}", kCredentialsVariable, path, key);
    }
    return std::optional(std::move(token));
  }

  StatusOr<std::string> Current(HttpClient& client) {
    if (!token_.empty() && expires_ - Clock::now() > kRenewTokenEarly) return token_;
    SY_ASSIGN_OR_RETURN(std::string body, Body());
    FetchRequest request{.method = "POST",
                         .url = uri_,
                         .headers = {"Content-Type: application/x-www-form-urlencoded"},
                         .secret_headers = {},
                         .follow = false,
                         .body = std::move(body)};
    SY_ASSIGN_OR_RETURN(const HttpAnswer answer, client.Call(request));
    if (answer.status != 200) {
      const auto json = ParseJsonObject(answer.body, "");
      return Error(IsPassing(answer.status) ? StatusCode::kUnavailable : StatusCode::kPermissionDenied,
                   "{} gives no token for {}: HTTP {} {}", answer.url, kCredentialsVariable, answer.status,
                   json.ok() ? Short(JsonText(*json, "error") + " " + JsonText(*json, "error_description")) : "");
    }
    SY_ASSIGN_OR_RETURN(const rapidjson::Document json, ParseJsonObject(answer.body, answer.url));
    token_ = JsonText(json, "access_token");
    if (token_.empty()) return Error(StatusCode::kUnavailable, "{}: its answer has no access_token", answer.url);
    const auto seconds = json.FindMember("expires_in");
    expires_ = Clock::now() +
               std::chrono::seconds(seconds != json.MemberEnd() && seconds->value.IsUint() ? seconds->value.GetUint() : 3600);
    return token_;
  }

  // Asks for another one next time: somebody may have taken this back. Says whether there was one.
  bool Renew() { return !std::exchange(token_, {}).empty(); }

 private:
  // https://developers.google.com/identity/protocols/oauth2/service-account#authorizingrequests
  StatusOr<std::string> Body() const {
    if (key_.empty()) {
      return fmt::format("grant_type=refresh_token&client_id={}&client_secret={}&refresh_token={}", EncodeComponent(id_),
                         EncodeComponent(secret_), EncodeComponent(refresh_));
    }
    const int64_t now = std::chrono::duration_cast<std::chrono::seconds>(Clock::now().time_since_epoch()).count();
    const auto quoted = [](std::string_view text) {
      std::string json;
      AppendJsonString(json, text);
      return json;
    };
    const std::string header =
        fmt::format(R"({{"alg":"RS256","typ":"JWT"{}}})", key_id_.empty() ? "" : fmt::format(R"(,"kid":{})", quoted(key_id_)));
    const std::string claims = fmt::format(R"({{"iss":{},"scope":{},"aud":{},"iat":{},"exp":{}}})", quoted(email_),
                                           quoted(kScope), quoted(uri_), now, now + 3600);
    const std::string text = WebBase64(header) + "." + WebBase64(claims);
    SY_ASSIGN_OR_RETURN(const std::string signature, SignRs256(key_, text));
    return fmt::format("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={}.{}", text,
                       WebBase64(signature));
  }

  std::string uri_, email_, key_, key_id_;  // of a service account
  std::string id_, secret_, refresh_;       // of a user
  std::string token_;
  Clock::time_point expires_;
};

class GoogleStore : public ObjectStore {
 public:
  GoogleStore(CloudUrl url, std::string endpoint, std::optional<GoogleToken> token, HttpClient& client)
      : url_(std::move(url)), endpoint_(std::move(endpoint)), token_(std::move(token)), client_(client) {}

  StatusOr<std::vector<StoredObject>> List() override {
    std::vector<StoredObject> objects;
    std::string page;
    size_t pages = 0;
    do {
      std::string url = fmt::format("{}?prefix={}&maxResults=1000&fields={}", Objects(), EncodeComponent(PrefixOf(url_.folder)),
                                    EncodeComponent("items(name,size,generation),nextPageToken"));
      if (!page.empty()) url += "&pageToken=" + EncodeComponent(page);
      SY_ASSIGN_OR_RETURN(HttpAnswer answer, AskStore(client_, Request(url)));
      if ((answer.status == 401 || answer.status == 403) && token_ && token_->Renew()) {
        SY_ASSIGN_OR_RETURN(answer, client_.Call(Request(url)));
      }
      if (answer.status != 200) return StoreFault(answer, url_.Text(), kGoogleRemedy);
      SY_ASSIGN_OR_RETURN(const rapidjson::Document json, ParseJsonObject(answer.body, answer.url));
      const auto items = json.FindMember("items");
      if (items != json.MemberEnd() && items->value.IsArray()) Take(items->value, &objects);
      page = JsonText(json, "nextPageToken");
      SY_RETURN_IF_ERROR(CheckListing(++pages, objects.size(), url_.Text()));
    } while (!page.empty());
    return objects;
  }

  FetchRequest Get(const StoredObject& object) override {
    std::string url = fmt::format("{}/{}?alt=media", Objects(), EncodeComponent(PrefixOf(url_.folder) + object.key));
    if (!object.tag.empty()) url += "&generation=" + EncodeComponent(object.tag);
    return Request(std::move(url));
  }

 private:
  void Take(const rapidjson::Value& items, std::vector<StoredObject>* objects) const {
    const std::string prefix = PrefixOf(url_.folder);
    for (const auto& item : items.GetArray()) {
      if (!item.IsObject()) continue;
      const std::string name = JsonText(item, "name");
      const std::string size = JsonText(item, "size");  // 64-bit numbers are texts in this API
      uint64_t bytes = 0;
      std::from_chars(size.data(), size.data() + size.size(), bytes);
      if (name.starts_with(prefix)) objects->push_back({name.substr(prefix.size()), bytes, JsonText(item, "generation")});
    }
  }

  std::string Objects() const { return fmt::format("{}/storage/v1/b/{}/o", endpoint_, EncodeComponent(url_.bucket)); }

  FetchRequest Request(std::string url) {
    FetchRequest request{.url = std::move(url), .headers = {}, .secret_headers = {}, .follow = false};
    request.authorize = [this](FetchRequest& sent) -> Status {
      if (!token_) return absl::OkStatus();
      SY_ASSIGN_OR_RETURN(const std::string token, token_->Current(client_));
      sent.secret_headers.push_back("Authorization: Bearer " + token);
      return absl::OkStatus();
    };
    return request;
  }

  const CloudUrl url_;
  const std::string endpoint_;
  std::optional<GoogleToken> token_;
  HttpClient& client_;
};

}  // namespace

StatusOr<std::unique_ptr<ObjectStore>> OpenGoogle(const CloudUrl& url, HttpClient& client) {
  std::string endpoint = EnvironmentValue("STORAGE_EMULATOR_HOST");
  if (endpoint.empty()) {
    endpoint = "https://storage.googleapis.com";
  } else if (endpoint.find("://") == endpoint.npos) {
    endpoint = "http://" + endpoint;
  }
  while (endpoint.ends_with('/')) endpoint.pop_back();
  SY_ASSIGN_OR_RETURN(std::optional<GoogleToken> token, GoogleToken::FromEnvironment());
  return std::make_unique<GoogleStore>(url, endpoint, std::move(token), client);
}

}  // namespace switchyard
