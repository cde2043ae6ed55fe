#include "config/model_values.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <system_error>

#include "base/log.h"
#include "base/utf8.h"
#include "config/batching_values.h"
#include "config/cloud_url.h"
#include "config/json_text.h"
#include "config/preprocess_values.h"
#include "config/text.h"
#include "config/values_by_name.h"

namespace switchyard {
namespace {

std::optional<int64_t> Integer(std::string_view text) {
  text = Trim(text);
  int64_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || stop != text.data() + text.size()) return std::nullopt;
  return value;
}

// A number of at least 0, -1 for any, or a range of positive numbers.
std::optional<Dimension> ParseDimension(std::string_view text) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos) {
    const std::optional<int64_t> value = Integer(text);
    if (!value.has_value() || *value < -1 || *value == Dimension::kUnbounded) return std::nullopt;
    return *value == -1 ? Dimension::Dynamic() : Dimension::Fixed(*value);
  }
  const std::optional<int64_t> min = Integer(text.substr(0, colon));
  const std::optional<int64_t> max = Integer(text.substr(colon + 1));
  if (!min.has_value() || !max.has_value() || *min < 1 || *max < *min || *max == Dimension::kUnbounded) return std::nullopt;
  return Dimension{*min, *max};
}

Status CheckLayoutPart(std::string_view part) {
  std::string seen;
  bool ellipsis = false;
  for (size_t i = 0; i < part.size(); ++i) {
    const char c = part[i];
    if (c == '?') continue;
    if (part.substr(i, 3) == "...") {
      if (ellipsis) return InvalidArgument("\"...\" stands twice in \"{}\"", part);
      ellipsis = true;
      i += 2;
      continue;
    }
    if (std::string_view("NCHWD").find(c) == std::string_view::npos) {
      return InvalidArgument("{} in {} is none of N, C, H, W, D, ?, ...", Quote({&c, 1}), Quote(part));
    }
    if (seen.find(c) != std::string::npos) return InvalidArgument("{} stands twice in \"{}\"", c, part);
    seen += c;
  }
  return absl::OkStatus();
}

template <typename T, typename Parse>
StatusOr<std::map<std::string, T>> ByName(const rapidjson::Value& json, std::string_view expected, Parse parse) {
  if (json.IsString()) {
    std::map<std::string, T> values;
    SY_ASSIGN_OR_RETURN(values[""], parse(Text(json)));
    return values;
  }
  if (!json.IsObject()) return InvalidArgument("expected {}, got {}", expected, Describe(json));
  const auto parse_text = [&parse](const rapidjson::Value& value) -> StatusOr<T> {
    if (!value.IsString()) return InvalidArgument("expected a string, got {}", Describe(value));
    return parse(Text(value));
  };
  return ValuesByName<T>(json, "a tensor", expected, parse_text);
}

constexpr std::string_view kShapesExpected = "a shape such as (1,3,224,224), auto, or an object of shapes by input";
constexpr std::string_view kLayoutsExpected = "a layout such as NHWC:NCHW, or an object of layouts by input or output";

constexpr std::string_view kPolicyExpected =
    "exactly one of {\"all\": {}}, {\"latest\": {\"num_versions\": 1}} and {\"specific\": {\"versions\": [1]}}";

StatusOr<VersionPolicy> LatestOf(const rapidjson::Value& json) {
  if (!json.IsObject() || json.MemberCount() != 1 || !json.HasMember("num_versions")) {
    return InvalidArgument("latest: expected {{\"num_versions\": 1}}, got {}", Describe(json));
  }
  const rapidjson::Value& count = json["num_versions"];
  if (!count.IsUint() || count.GetUint() == 0) {
    return InvalidArgument("latest/num_versions: expected an integer from 1 to 4294967295, got {}", Describe(count));
  }
  VersionPolicy policy;
  policy.latest_count = count.GetUint();
  return policy;
}

StatusOr<VersionPolicy> SpecificOf(const rapidjson::Value& json) {
  if (!json.IsObject() || json.MemberCount() != 1 || !json.HasMember("versions") || !json["versions"].IsArray() ||
      json["versions"].Empty()) {
    return InvalidArgument("specific: expected {{\"versions\": [1, 2]}}, got {}", Describe(json));
  }
  VersionPolicy policy;
  policy.kind = VersionPolicy::Kind::kSpecific;
  for (const rapidjson::Value& version : json["versions"].GetArray()) {
    if (!version.IsInt64() || version.GetInt64() < 1) {
      return InvalidArgument("specific/versions: expected positive integers, got {}", Describe(version));
    }
    policy.versions.push_back(version.GetInt64());
  }
  std::sort(policy.versions.begin(), policy.versions.end());
  policy.versions.erase(std::unique(policy.versions.begin(), policy.versions.end()), policy.versions.end());
  return policy;
}

}  // namespace

StatusOr<BatchSetting> ParseBatchSize(std::string_view text) {
  const std::string_view trimmed = Trim(text);
  if (trimmed == "auto") return BatchSetting{.size = std::nullopt, .is_auto = true};
  const std::optional<Dimension> dimension = ParseDimension(trimmed);
  if (!dimension.has_value())
    return InvalidArgument("expected a number, -1, a range such as 1:8, or auto; got {}", Quote(text));
  if (*dimension == Dimension::Fixed(0)) return BatchSetting();
  return BatchSetting{.size = dimension};
}

StatusOr<PartialShape> ParseShape(std::string_view text) {
  const std::string_view trimmed = Trim(text);
  if (trimmed.size() < 2 || trimmed.front() != '(' || trimmed.back() != ')') {
    return InvalidArgument("expected a shape in parentheses such as (1,3,224,224) or (-1,3,1:8,224), or auto; got {}",
                           Quote(text));
  }
  PartialShape shape;
  const std::string_view inner = trimmed.substr(1, trimmed.size() - 2);
  if (Trim(inner).empty()) return shape;
  for (const std::string_view part : Split(inner, ',')) {
    const std::optional<Dimension> dimension = ParseDimension(part);
    if (!dimension.has_value()) {
      return InvalidArgument("expected dimensions that are numbers, -1, or ranges such as 1:8; got {} in {}", Quote(part),
                             Quote(text));
    }
    shape.dims.push_back(*dimension);
  }
  return shape;
}

StatusOr<LayoutSetting> ParseLayout(std::string_view text) {
  const std::string upper = ToUpper(Trim(text));
  const std::vector<std::string_view> parts = Split(upper, ':');
  if (parts.size() > 2 || std::any_of(parts.begin(), parts.end(), [](std::string_view part) { return part.empty(); })) {
    return InvalidArgument("expected a layout such as NCHW, or NHWC:NCHW (what clients send : what the model takes); got {}",
                           Quote(text));
  }
  for (const std::string_view part : parts) {
    const Status good = CheckLayoutPart(part);
    if (!good.ok()) {
      return InvalidArgument("expected a layout such as NHWC:NCHW of N, C, H, W, D (each once), ? and one ...; got {}: {}",
                             Quote(text), Message(good));
    }
  }
  if (parts.size() == 1) return LayoutSetting{"", std::string(parts[0])};
  return LayoutSetting{std::string(parts[0]), std::string(parts[1])};
}

StatusOr<ShapeSettings> ShapesOf(const rapidjson::Value& json) {
  const auto parse = [](std::string_view text) -> StatusOr<std::optional<PartialShape>> {
    if (Trim(text) == "auto") return std::optional<PartialShape>();
    SY_ASSIGN_OR_RETURN(PartialShape shape, ParseShape(text));
    return std::optional<PartialShape>(std::move(shape));
  };
  SY_ASSIGN_OR_RETURN(const auto values, ByName<std::optional<PartialShape>>(json, kShapesExpected, parse));
  ShapeSettings settings;
  for (const auto& [name, shape] : values) {
    if (shape.has_value()) {
      settings.shapes[name] = *shape;
    } else {
      settings.autos.insert(name);
    }
  }
  return settings;
}

StatusOr<std::map<std::string, LayoutSetting>> LayoutsOf(const rapidjson::Value& json) {
  return ByName<LayoutSetting>(json, kLayoutsExpected, ParseLayout);
}

StatusOr<ShapeSettings> ParseShapes(std::string_view text) { return FromFlag(text, kShapesExpected, ShapesOf); }

StatusOr<std::map<std::string, LayoutSetting>> ParseLayouts(std::string_view text) {
  return FromFlag(text, kLayoutsExpected, LayoutsOf);
}

StatusOr<VersionPolicy> VersionPolicyOf(const rapidjson::Value& json) {
  if (!json.IsObject() || json.MemberCount() != 1)
    return InvalidArgument("expected {}, got {}", kPolicyExpected, Describe(json));
  const auto& member = *json.MemberBegin();
  const std::string_view kind = Text(member.name);
  if (kind == "latest") return LatestOf(member.value);
  if (kind == "specific") return SpecificOf(member.value);
  if (kind != "all") return InvalidArgument("expected {}, got the key {}", kPolicyExpected, Quote(kind));
  if (!member.value.IsObject() || !member.value.ObjectEmpty()) {
    return InvalidArgument("all: expected an empty object, got {}", Describe(member.value));
  }
  VersionPolicy policy;
  policy.kind = VersionPolicy::Kind::kAll;
  return policy;
}

StatusOr<VersionPolicy> ParseVersionPolicy(std::string_view text) {
  rapidjson::Document document;
  const Status parsed = ParseJsonText(text, &document);
  if (!parsed.ok()) return InvalidArgument("expected {}, got {}: {}", kPolicyExpected, Quote(text), Message(parsed));
  return VersionPolicyOf(document);
}

StatusOr<std::map<std::string, int64_t>> LabelsOf(const rapidjson::Value& json) {
  std::map<std::string, int64_t> labels;
  for (const auto& member : json.GetObject()) {
    const std::string_view label = Text(member.name);
    if (!CheckModelName(label).ok() || label.find_first_not_of("+-0123456789") == label.npos) {
      return InvalidArgument("expected names that are not empty, have no control characters and are no numbers, got {}",
                             Quote(label));
    }
    if (!member.value.IsInt64() || member.value.GetInt64() < 1) {
      return InvalidArgument("expected the number of a version for {}, got {}", Quote(label), Describe(member.value));
    }
    labels.emplace(label, member.value.GetInt64());
  }
  return labels;
}

StatusOr<std::vector<std::string>> AliasesOf(const rapidjson::Value& json, std::string_view name) {
  std::vector<std::string> aliases;
  for (const rapidjson::Value& one : json.GetArray()) {
    const std::string alias(Text(one));
    SY_RETURN_IF_ERROR(CheckModelName(alias));
    if (alias == name || std::find(aliases.begin(), aliases.end(), alias) != aliases.end()) {
      return InvalidArgument("expected names that the model does not have yet, got {} again", Quote(alias));
    }
    aliases.push_back(alias);
  }
  return aliases;
}

Status CheckModelName(std::string_view name) {
  const bool control = std::any_of(name.begin(), name.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
  if (name.empty() || control) {
    return InvalidArgument("expected a name that is not empty and has no control characters, got {}", Quote(name));
  }
  // Clients of gRPC would refuse every message that has it.
  if (!IsUtf8(name)) return InvalidArgument("expected a name in UTF-8, got {}", Quote(name));
  if (name.size() > kLongestName) {
    return InvalidArgument("expected a name of at most {} bytes, got one of {}", kLongestName, name.size());
  }
  // Nobody could ask for it by REST.
  for (std::string_view left = name;;) {
    const size_t end = left.find('/');
    if (const std::string_view part = left.substr(0, end); part == "." || part == "..") {
      return InvalidArgument("expected a name without the parts . and .., got {}", Quote(name));
    }
    if (end == left.npos) return absl::OkStatus();
    left.remove_prefix(end + 1);
  }
}

StatusOr<std::string> ResolveBasePath(std::string_view path, const std::string& base_dir) {
  if (IsCloudUrl(path)) {
    SY_ASSIGN_OR_RETURN(const CloudUrl cloud, ParseCloudUrl(path));
    return cloud.Text();
  }
  if (path.empty() || path.find('\0') != std::string_view::npos) {
    return InvalidArgument("expected a folder of version folders, or a model file; got {}", Quote(path));
  }
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(std::filesystem::path(base_dir) / path, error);
  if (error) return InvalidArgument("the path {} cannot be made absolute: {}", Quote(path), error.message());
  std::string normal = absolute.lexically_normal().string();
  while (normal.size() > 1 && normal.back() == '/') normal.pop_back();
  return normal;
}

Status Reconcile(ModelSettings* model, Warnings warnings) {
  const bool shaped = !model->shapes.empty() || !model->auto_shapes.empty();
  if (shaped && (model->batch_size.has_value() || model->batch_auto)) {
    if (warnings == Warnings::kRefuse) {
      return InvalidArgument("batch_size: expected none beside shape, which takes its place (--strict), got both");
    }
    if (warnings == Warnings::kLog) LogWarning("Model {}: batch_size is not used, because shape is given too", model->name);
    model->batch_size.reset();
    model->batch_auto = false;
  }
  if (model->low_latency_transformation && !model->stateful.value_or(false)) {
    return InvalidArgument("low_latency_transformation: it makes a model that keeps state; set stateful to true as well");
  }
  SY_RETURN_IF_ERROR(CheckBatching(*model));
  return CheckChannels(*model);
}

}  // namespace switchyard
