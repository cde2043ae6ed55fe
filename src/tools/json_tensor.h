// Tensors to and from JSON: nested arrays whose nesting is the shape.
#pragma once

#include <rapidjson/document.h>

#include <string>
#include <string_view>

#include "base/status.h"
#include "tools/client_tensor.h"

namespace switchyard {

// Parses without recursion, NaN and Infinity included. INVALID_ARGUMENT names the place of the fault.
Status ParseJsonDocument(std::string_view text, rapidjson::Document* document);

// Fills shape and values from a number, a boolean, a string, {"b64": ...} or a nested array of these. `tensor->type` must be
// set: it says what values are accepted.
Status ParseJsonTensor(const rapidjson::Value& value, ClientTensor* tensor);
Status ParseJsonText(std::string_view text, ClientTensor* tensor);

enum class JsonLayout { kFlat, kNested };
// How strings are written: as JSON strings (bytes that are not UTF-8 are replaced), or as {"b64": ...}.
enum class JsonStrings { kPlain, kBase64 };
void AppendJsonTensor(const ClientTensor& tensor, JsonLayout layout, JsonStrings strings, std::string* out);

// With the quotes, escaped; bytes that are not UTF-8 become U+FFFD.
std::string JsonString(std::string_view text);

}  // namespace switchyard
