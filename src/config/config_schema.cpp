#include "config/config_schema.h"

#include <rapidjson/pointer.h>
#include <rapidjson/schema.h>
#include <rapidjson/stringbuffer.h>

#include <string>
#include <vector>

#include "config/json_text.h"
#include "config/text.h"

namespace switchyard {
namespace {

using rapidjson::Pointer;
using rapidjson::Value;

std::string ToText(const Pointer& pointer) {
  rapidjson::StringBuffer buffer;
  pointer.Stringify(buffer);
  return std::string(buffer.GetString(), buffer.GetSize());
}

// The wording of a type where the schema gives none of its own.
std::string ExpectedBy(const Value& node) {
  const auto worded = node.FindMember("x-expected");
  if (worded != node.MemberEnd()) return std::string(Text(worded->value));
  const auto type = node.FindMember("type");
  if (type == node.MemberEnd() || !type->value.IsString()) return "another value";
  const std::string_view name = Text(type->value);
  if (name == "array") return "a list";
  return fmt::format("{} {}", name == "object" || name == "integer" ? "an" : "a", name);
}

std::vector<std::string_view> KnownKeys(const Value& node) {
  std::vector<std::string_view> keys;
  const auto properties = node.FindMember("properties");
  if (properties == node.MemberEnd()) return keys;
  for (const auto& member : properties->value.GetObject()) keys.push_back(Text(member.name));
  return keys;
}

Status UnknownKey(const Value& node, std::string_view place, std::string_view key) {
  const std::vector<std::string_view> known = KnownKeys(node);
  const std::string_view nearest = Nearest(key, known);
  if (!nearest.empty()) {
    return InvalidArgument("{}: the key {} is not known here; did you mean {}?", place, Quote(key), Quote(nearest));
  }
  std::string list;
  for (const std::string_view name : known) list += fmt::format("{}{}", list.empty() ? "" : ", ", name);
  return InvalidArgument("{}: the key {} is not known here; expected {}", place, Quote(key),
                         list.empty() ? std::string("no key") : "one of " + list);
}

Status MissingKey(const Value& node, std::string_view place, const Value& object) {
  for (const Value& key : node["required"].GetArray()) {
    if (!object.HasMember(key)) {
      return InvalidArgument("{}: expected the key {}, which is required; got an object without it", place, Quote(Text(key)));
    }
  }
  return InvalidArgument("{}: a required key is missing", place);
}

}  // namespace

Status CheckConfigSchema(const rapidjson::Document& document) {
  // Made anew each time: a file is read once in a while, and a static one would outlive or be outlived by somebody.
  rapidjson::Document schema_json;
  schema_json.Parse(ConfigSchemaText().data(), ConfigSchemaText().size());
  const rapidjson::SchemaDocument schema(schema_json);
  rapidjson::SchemaValidator validator(schema);
  if (document.Accept(validator) && validator.IsValid()) return absl::OkStatus();

  const Pointer where = validator.GetInvalidDocumentPointer();
  const Value* node = validator.GetInvalidSchemaPointer().Get(schema_json);
  const Value* value = where.Get(document);
  const char* keyword_text = validator.GetInvalidSchemaKeyword();
  const std::string_view keyword = keyword_text != nullptr ? keyword_text : "";
  const std::string pointer = ToText(where);
  const std::string place = pointer.empty() ? "the top level" : pointer;
  if (node == nullptr || value == nullptr) return InvalidArgument("{}: not as the schema wants it ({})", place, keyword);

  if (keyword == "additionalProperties" && where.GetTokenCount() > 0) {
    const auto& token = where.GetTokens()[where.GetTokenCount() - 1];
    return UnknownKey(*node, place, {token.name, token.length});
  }
  if (keyword == "required") return MissingKey(*node, place, *value);
  return InvalidArgument("{}: expected {}, got {}", place, ExpectedBy(*node), Describe(*value));
}

}  // namespace switchyard
