#include "repository/cloud/store_answers.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/log.h"
#include "fetch/download.h"
#include "repository/cloud/object_store.h"

namespace switchyard {

Status ParseXml(const HttpAnswer& answer, pugi::xml_document* xml) {
  const pugi::xml_parse_result parsed = xml->load_buffer(answer.body.data(), answer.body.size());
  if (parsed) return absl::OkStatus();
  return Error(StatusCode::kUnavailable, "{}: expected XML; {} at byte {}", answer.url, parsed.description(), parsed.offset);
}

StatusOr<rapidjson::Document> ParseJsonObject(std::string_view text, std::string_view source) {
  rapidjson::Document json;
  json.Parse<rapidjson::kParseIterativeFlag>(text.data(), text.size());
  if (json.HasParseError() || !json.IsObject()) return Error(StatusCode::kUnavailable, "{}: expected a JSON object", source);
  return json;
}

std::string JsonText(const rapidjson::Value& object, const char* key) {
  const auto found = object.FindMember(key);
  if (found == object.MemberEnd() || !found->value.IsString()) return {};
  return {found->value.GetString(), found->value.GetStringLength()};
}

StatusOr<HttpAnswer> AskStore(HttpClient& client, const FetchRequest& request) {
  return CallWithRetries(client, request, 1, [](const std::string& text) { LogDebug("{}", text); });
}

Status StoreFault(const HttpAnswer& answer, std::string_view what, std::string_view remedy) {
  std::string code, words;
  pugi::xml_document xml;
  if (answer.body.starts_with('{')) {
    const auto json = ParseJsonObject(answer.body, "");
    if (json.ok() && json->HasMember("error") && (*json)["error"].IsObject()) words = JsonText((*json)["error"], "message");
  } else if (ParseXml(answer, &xml).ok()) {
    const pugi::xml_node error = xml.child("Error") ? xml.child("Error") : xml.child("ErrorResponse").child("Error");
    code = error.child_value("Code");
    words = error.child_value("Message");  // Azure's second line is the request's id and the time
  }
  std::string why = fmt::format("{}: HTTP {}", what, answer.status);
  if (!code.empty()) why += " " + Short(code);
  if (!words.empty()) why += ": " + Short(words);
  // As it is told apart for every file that is fetched.
  const StatusCode kind = HttpFault(answer).code();
  if (kind == StatusCode::kPermissionDenied && !remedy.empty()) why += fmt::format("; {}", remedy);
  return Status(kind, why);
}

std::string Short(std::string_view text) {
  constexpr size_t kMost = 300;
  std::string line(text.substr(0, std::min(kMost, text.find_first_of("\r\n"))));
  std::erase_if(line, [](unsigned char c) { return c < ' ' || c == 0x7f; });
  return line;
}

std::string PrefixOf(const std::string& folder) { return folder.empty() ? folder : folder + "/"; }

Status CheckListing(size_t pages, size_t objects, std::string_view name) {
  constexpr size_t kMostObjects = 100000;
  constexpr size_t kMostPages = 10000;
  if (objects <= kMostObjects && pages <= kMostPages) return absl::OkStatus();
  return Error(StatusCode::kResourceExhausted, "{}: more than {} objects, or {} pages of them, are no model's folder", name,
               kMostObjects, kMostPages);
}

StatusOr<std::unique_ptr<ObjectStore>> OpenStore(const CloudUrl& url, HttpClient& client) {
  switch (url.service) {
    case CloudUrl::Service::kS3:
      return OpenS3(url, client);
    case CloudUrl::Service::kGoogle:
      return OpenGoogle(url, client);
    case CloudUrl::Service::kAzureBlob:
      return OpenAzureBlob(url, client);
    case CloudUrl::Service::kAzureFiles:
      return OpenAzureFiles(url, client);
  }
  return Error(StatusCode::kInternal, "no such service");
}

}  // namespace switchyard
