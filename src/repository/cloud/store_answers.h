// What the services' answers have in common.
#pragma once

#include <rapidjson/document.h>

#include <cstdint>
#include <pugixml.hpp>
#include <string>
#include <string_view>

#include "base/status.h"
#include "fetch/http.h"

namespace switchyard {

// Parsed; kUnavailable when it is none, since a proxy's page, or half an answer, passes.
Status ParseXml(const HttpAnswer& answer, pugi::xml_document* xml);
StatusOr<rapidjson::Document> ParseJsonObject(std::string_view text, std::string_view source);
std::string JsonText(const rapidjson::Value& object, const char* key);

// One that the storage does not answer now is tried a second time.
StatusOr<HttpAnswer> AskStore(HttpClient& client, const FetchRequest& request);

// The error of an answer that is not 200, with the service's own code and words (<Error><Code/><Message/> or
// {"error": {"message"}}). `what` was asked for; `remedy` is for an answer that says no.
Status StoreFault(const HttpAnswer& answer, std::string_view what, std::string_view remedy);

// The first line of a text that somebody else wrote, fit for a message.
std::string Short(std::string_view text);

// "folder/" of "folder", and "" of "".
std::string PrefixOf(const std::string& folder);

}  // namespace switchyard
