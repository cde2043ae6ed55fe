#include "tools/json_tensor.h"

#include <absl/strings/escaping.h>
#include <fmt/format.h>
#include <rapidjson/error/en.h>

namespace switchyard {
namespace {

constexpr size_t kDeepestNesting = 64;

Status AppendScalar(const rapidjson::Value& value, ClientTensor* tensor) {
  if (tensor->type == ElementType::kBytes) {
    if (value.IsString()) {
      tensor->strings.emplace_back(value.GetString(), value.GetStringLength());
      return absl::OkStatus();
    }
    if (value.IsObject() && value.MemberCount() == 1 && value.HasMember("b64") && value["b64"].IsString()) {
      std::string bytes;
      if (!absl::Base64Unescape(value["b64"].GetString(), &bytes)) return InvalidArgument("the value of b64 is not base64");
      tensor->strings.push_back(std::move(bytes));
      return absl::OkStatus();
    }
    return InvalidArgument("expected strings, as the datatype is BYTES");
  }
  if (value.IsBool()) {
    if (tensor->type != ElementType::kBool) {
      return InvalidArgument("expected numbers, as the datatype is {}; got a boolean", KserveName(tensor->type));
    }
    return AppendNumber(tensor->type, int64_t{value.GetBool()}, &tensor->data);
  }
  if (value.IsInt64()) return AppendNumber(tensor->type, value.GetInt64(), &tensor->data);
  if (value.IsUint64()) return AppendNumber(tensor->type, value.GetUint64(), &tensor->data);
  if (value.IsDouble()) return AppendNumber(tensor->type, value.GetDouble(), &tensor->data);
  return InvalidArgument("expected {}, as the datatype is {}; got {}",
                         tensor->type == ElementType::kBool ? "true and false" : "numbers", KserveName(tensor->type),
                         value.IsString() ? "a string"
                         : value.IsNull() ? "null"
                                          : "an object");
}

Status AppendNested(const rapidjson::Value& value, size_t depth, ClientTensor* tensor) {
  if (depth == tensor->shape.size()) {
    if (value.IsArray()) return InvalidArgument("the array is ragged: some elements are lists and some are not");
    return AppendScalar(value, tensor);
  }
  if (!value.IsArray() || value.Size() != static_cast<uint64_t>(tensor->shape[depth])) {
    return InvalidArgument("the array is ragged: expected lists of {} elements at depth {}", tensor->shape[depth], depth + 1);
  }
  for (const rapidjson::Value& element : value.GetArray()) SY_RETURN_IF_ERROR(AppendNested(element, depth + 1, tensor));
  return absl::OkStatus();
}

struct JsonWriter {
  const ClientTensor& tensor;
  JsonStrings strings;
  std::string* out;
  size_t next = 0;

  void Element() {
    if (tensor.type != ElementType::kBytes) {
      *out += FormatElement(tensor, next++);
    } else if (strings == JsonStrings::kPlain) {
      *out += JsonString(tensor.strings[next++]);
    } else {
      *out += "{\"b64\":\"" + absl::Base64Escape(tensor.strings[next++]) + "\"}";
    }
  }
  void Level(absl::Span<const int64_t> shape) {
    if (shape.empty()) return Element();
    out->push_back('[');
    for (int64_t i = 0; i < shape[0]; ++i) {
      if (i != 0) out->push_back(',');
      Level(shape.subspan(1));
    }
    out->push_back(']');
  }
};

// The length of the UTF-8 sequence at the front of `text`; 0 if there is none.
size_t Utf8Length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  const size_t length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
  if (length == 0 || length > text.size()) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const bool overlong = (first == 0xe0 && byte(1) < 0xa0) || (first == 0xf0 && byte(1) < 0x90);
  const bool no_character = (first == 0xed && byte(1) > 0x9f) || (first == 0xf4 && byte(1) > 0x8f);
  return overlong || no_character ? 0 : length;
}

}  // namespace

Status ParseJsonDocument(std::string_view text, rapidjson::Document* document) {
  constexpr unsigned kFlags =
      rapidjson::kParseIterativeFlag | rapidjson::kParseFullPrecisionFlag | rapidjson::kParseNanAndInfFlag;
  document->Parse<kFlags>(text.data(), text.size());
  if (!document->HasParseError()) return absl::OkStatus();
  return InvalidArgument("not valid JSON at byte {}: {}", document->GetErrorOffset(),
                         rapidjson::GetParseError_En(document->GetParseError()));
}

Status ParseJsonTensor(const rapidjson::Value& value, ClientTensor* tensor) {
  tensor->shape.clear();
  tensor->data.clear();
  tensor->strings.clear();
  for (const rapidjson::Value* level = &value; level->IsArray(); level = level->Begin()) {
    if (tensor->shape.size() == kDeepestNesting) return InvalidArgument("lists are nested deeper than {}", kDeepestNesting);
    tensor->shape.push_back(level->Size());
    if (level->Empty()) break;
  }
  return AppendNested(value, 0, tensor);
}

Status ParseJsonText(std::string_view text, ClientTensor* tensor) {
  rapidjson::Document document;
  SY_RETURN_IF_ERROR(ParseJsonDocument(text, &document));
  return ParseJsonTensor(document, tensor);
}

void AppendJsonTensor(const ClientTensor& tensor, JsonLayout layout, JsonStrings strings, std::string* out) {
  JsonWriter writer{tensor, strings, out};
  if (layout == JsonLayout::kNested) {
    writer.Level(tensor.shape);
  } else {
    writer.Level({static_cast<int64_t>(tensor.count())});
  }
}

std::string JsonString(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const unsigned char first = static_cast<unsigned char>(text[0]);
    size_t length = Utf8Length(text);
    if (length == 0) {
      out += "\\ufffd";
      length = 1;
    } else if (first == '"' || first == '\\') {
      out += {'\\', text[0]};
    } else if (first < 0x20 || first == 0x7f) {
      out += fmt::format("\\u{:04x}", first);
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length);
  }
  return out + '"';
}

}  // namespace switchyard
