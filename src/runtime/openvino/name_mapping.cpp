#include "runtime/openvino/name_mapping.h"

#include <rapidjson/document.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string_view>
#include <system_error>

#include "config/json_text.h"
#include "config/text.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxBytes = size_t{1} << 20;
constexpr std::string_view kExpected = "{\"inputs\": {\"name in the model\": \"public name\"}, \"outputs\": {...}}";

Status ReadNames(const rapidjson::Value& json, std::string_view kind, std::map<std::string, std::string>* names) {
  if (!json.IsObject()) return InvalidArgument("{}: expected an object of names, got {}", kind, Describe(json));
  std::set<std::string> taken;
  for (const auto& member : json.GetObject()) {
    const std::string own(Text(member.name));
    if (!member.value.IsString() || member.value.GetStringLength() == 0 || own.empty()) {
      return InvalidArgument("{}/{}: expected a name that is not empty, got {}", kind, Quote(own), Describe(member.value));
    }
    const std::string name(Text(member.value));
    if (!taken.insert(name).second) {
      return InvalidArgument("{}/{}: expected names of their own, but {} stands twice", kind, Quote(own), Quote(name));
    }
    if (!names->emplace(own, name).second) return InvalidArgument("{}: the key {} stands twice", kind, Quote(own));
  }
  return absl::OkStatus();
}

StatusOr<NameMapping> Parse(std::string_view text) {
  rapidjson::Document document;
  SY_RETURN_IF_ERROR(ParseJsonText(text, &document));
  if (!document.IsObject()) return InvalidArgument("expected {}, got {}", kExpected, Describe(document));
  NameMapping mapping;
  for (const auto& member : document.GetObject()) {
    const std::string_view kind = Text(member.name);
    if (kind == "inputs") {
      SY_RETURN_IF_ERROR(ReadNames(member.value, kind, &mapping.inputs));
    } else if (kind == "outputs") {
      SY_RETURN_IF_ERROR(ReadNames(member.value, kind, &mapping.outputs));
    } else {
      return InvalidArgument("expected {}, got the key {}", kExpected, Quote(kind));
    }
  }
  return mapping;
}

}  // namespace

std::string MappingPath(const std::string& model_path) {
  std::error_code error;
  const fs::path path = model_path;
  return ((fs::is_directory(path, error) ? path : path.parent_path()) / "mapping_config.json").string();
}

StatusOr<NameMapping> ReadNameMapping(const std::string& model_path) {
  const std::string path = MappingPath(model_path);
  std::error_code error;
  if (!fs::exists(path, error)) return NameMapping();
  const uintmax_t size = fs::file_size(path, error);
  std::ifstream stream(path, std::ios::binary);
  if (error || !stream) return InvalidArgument("{}: expected a file that can be read", path);
  if (size > kMaxBytes) return InvalidArgument("{}: expected a file of at most {} bytes, got {}", path, kMaxBytes, size);
  const std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  auto mapping = Parse(text);
  if (!mapping.ok()) return Annotate(mapping.status(), path);
  return mapping;
}

}  // namespace switchyard
