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

bool IsOfType(std::string_view type, const Value& value) {
  if (type == "object") return value.IsObject();
  if (type == "array") return value.IsArray();
  if (type == "string") return value.IsString();
  if (type == "boolean") return value.IsBool();
  if (type == "number") return value.IsNumber();
  if (type == "null") return value.IsNull();
  return type == "integer" && (value.IsInt64() || value.IsUint64());
}

bool IsOfTypes(const Value& types, const Value& value) {
  if (types.IsString()) return IsOfType(Text(types), value);
  for (const Value& type : types.GetArray()) {
    if (IsOfType(Text(type), value)) return true;
  }
  return false;
}

// The keywords that the published schema is written in; a test holds it to them.
class Walker {
 public:
  explicit Walker(std::vector<ConfigFault>* faults) : faults_(*faults) {}

  void Walk(const Value& node, const Value& value, const std::string& pointer) {
    const auto keyword = [&](const char* name) -> const Value* {
      const auto member = node.FindMember(name);
      return member == node.MemberEnd() ? nullptr : &member->value;
    };
    const auto below = [&](const char* name, double number) {
      const Value* bound = keyword(name);
      return bound != nullptr && number < bound->GetDouble();
    };
    const auto above = [&](const char* name, double number) {
      const Value* bound = keyword(name);
      return bound != nullptr && number > bound->GetDouble();
    };
    bool right = keyword("type") == nullptr || IsOfTypes(*keyword("type"), value);
    if (right && value.IsNumber()) right = !below("minimum", value.GetDouble()) && !above("maximum", value.GetDouble());
    if (right && value.IsString()) right = !below("minLength", value.GetStringLength());
    if (right && value.IsArray()) right = !below("minItems", value.Size()) && !above("maxItems", value.Size());
    if (right && value.IsObject()) {
      right = !below("minProperties", value.MemberCount()) && !above("maxProperties", value.MemberCount());
    }
    if (right && keyword("enum") != nullptr) {
      right = false;
      for (const Value& one : keyword("enum")->GetArray()) right = right || one == value;
    }
    if (!right) return Add(pointer, ExpectedBy(node), Describe(value));
    if (value.IsArray() && keyword("items") != nullptr) {
      for (rapidjson::SizeType i = 0; i < value.Size(); ++i) {
        Walk(*keyword("items"), value[i], PointerTo(pointer, std::to_string(i)));
      }
    }
    if (value.IsObject()) WalkObject(node, value, pointer);
  }

 private:
  void WalkObject(const Value& node, const Value& object, const std::string& pointer) {
    if (const auto required = node.FindMember("required"); required != node.MemberEnd()) {
      for (const Value& key : required->value.GetArray()) {
        if (!object.HasMember(key)) Add(pointer, "the key " + Quote(Text(key)) + ", which is required", "an object without it");
      }
    }
    const auto properties = node.FindMember("properties");
    const auto others = node.FindMember("additionalProperties");
    for (const auto& member : object.GetObject()) {
      const std::string place = PointerTo(pointer, Text(member.name));
      if (properties != node.MemberEnd() && properties->value.HasMember(member.name)) {
        Walk(properties->value[member.name], member.value, place);
      } else if (others != node.MemberEnd() && others->value.IsObject()) {
        Walk(others->value, member.value, place);
      } else if (others != node.MemberEnd() && others->value.IsFalse()) {
        AddUnknown(node, place, Text(member.name));
      }
    }
  }
  void AddUnknown(const Value& node, const std::string& place, std::string_view key) {
    const std::vector<std::string_view> known = KnownKeys(node);
    const std::string_view nearest = Nearest(key, known);
    std::string list;
    for (const std::string_view name : known) list += fmt::format("{}{}", list.empty() ? "one of " : ", ", name);
    if (list.empty()) list = "no key";
    Add(place, nearest.empty() ? list : fmt::format("a key that is known here, such as {}", Quote(nearest)),
        "the unknown key " + Quote(key));
  }
  void Add(std::string pointer, std::string expected, std::string got) {
    faults_.push_back({std::move(pointer), std::move(expected), std::move(got)});
  }

  std::vector<ConfigFault>& faults_;
};

}  // namespace

std::vector<ConfigFault> SchemaFaults(const rapidjson::Document& document) {
  rapidjson::Document schema;
  schema.Parse(ConfigSchemaText().data(), ConfigSchemaText().size());
  std::vector<ConfigFault> faults;
  Walker(&faults).Walk(schema, document, "");
  if (faults.empty()) {
    // The library is the judge; its fault is told as it is should the walk not know the keyword.
    const Status judged = CheckConfigSchema(document);
    if (!judged.ok()) faults.push_back(FaultAt("", Message(judged), Describe(document)));
  }
  return faults;
}

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
