#include "config/preprocess_values.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <system_error>
#include <utility>

#include "config/json_text.h"
#include "config/text.h"
#include "config/values_by_name.h"

namespace switchyard {
namespace {

constexpr std::string_view kValuesExpected =
    "a number such as 123.675, one for each channel such as [123.675,116.28,103.53], or an object of them by input";
constexpr std::string_view kColorsExpected = "RGB:BGR (what the model gets : what clients send), or an object of them by input";
constexpr std::string_view kPrecisionsExpected =
    "UINT8:FP32 (what clients send : what it is converted to), UINT8, or an object of them by input";
constexpr std::array<std::string_view, 7> kColors = {"RGB", "BGR", "GRAY", "NV12", "NV12_2", "I420", "I420_3"};

// What OVMS calls the types, and what metadata does.
struct NamedType {
  std::string_view name;
  ElementType type;
};
constexpr std::array<NamedType, 21> kTypes = {{
    {"FP32", ElementType::kFp32},     {"FP16", ElementType::kFp16},     {"BF16", ElementType::kBf16},
    {"FP64", ElementType::kFp64},     {"INT8", ElementType::kInt8},     {"INT16", ElementType::kInt16},
    {"INT32", ElementType::kInt32},   {"INT64", ElementType::kInt64},   {"UINT8", ElementType::kUint8},
    {"UINT16", ElementType::kUint16}, {"UINT32", ElementType::kUint32}, {"UINT64", ElementType::kUint64},
    {"I8", ElementType::kInt8},       {"I16", ElementType::kInt16},     {"I32", ElementType::kInt32},
    {"I64", ElementType::kInt64},     {"U8", ElementType::kUint8},      {"U16", ElementType::kUint16},
    {"U32", ElementType::kUint32},    {"U64", ElementType::kUint64},    {"BOOL", ElementType::kBool},
}};

std::optional<float> Number(std::string_view text) {
  text = Trim(text);
  double value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || stop != text.data() + text.size()) return std::nullopt;
  const float narrow = static_cast<float>(value);
  return std::isfinite(narrow) ? std::optional<float>(narrow) : std::nullopt;
}

StatusOr<ElementType> TypeOf(std::string_view name, std::string_view text) {
  for (const NamedType& known : kTypes) {
    if (known.name == name) return known.type;
  }
  if (name == "INT4" || name == "UINT4" || name == "UINT1") {
    return InvalidArgument("{} in {} has less than a byte for an element, which no protocol can carry; take INT8 or UINT8",
                           Quote(name), Quote(text));
  }
  return InvalidArgument("expected {}, of BOOL, INT8 to INT64, UINT8 to UINT64, FP16, BF16, FP32, FP64; got {} in {}",
                         kPrecisionsExpected, Quote(name), Quote(text));
}

StatusOr<std::vector<float>> ChannelValuesOf(const rapidjson::Value& json) {
  if (json.IsString()) return ParseChannelValues(Text(json));
  std::vector<float> values;
  const auto add = [&values](const rapidjson::Value& number) {
    if (!number.IsNumber() || !std::isfinite(static_cast<float>(number.GetDouble()))) return false;
    values.push_back(static_cast<float>(number.GetDouble()));
    return true;
  };
  if (json.IsArray()) {
    for (const rapidjson::Value& number : json.GetArray()) {
      if (!add(number)) return InvalidArgument("expected finite numbers, got {} in the list", Describe(number));
    }
    if (!values.empty()) return values;
  } else if (add(json)) {
    return values;
  }
  return InvalidArgument("expected a finite number, or a list with one for each channel; got {}", Describe(json));
}

// One value for the single input, or an object of them.
template <typename T, typename Parse>
StatusOr<std::map<std::string, T>> ByInput(const rapidjson::Value& json, std::string_view expected, Parse parse) {
  if (json.IsObject()) return ValuesByName<T>(json, "an input", expected, parse);
  std::map<std::string, T> values;
  SY_ASSIGN_OR_RETURN(values[""], parse(json));
  return values;
}

// The parser of a setting that is always text.
template <typename Parse>
auto OfText(Parse parse, std::string_view expected) {
  return [parse, expected](const rapidjson::Value& json) -> decltype(parse("")) {
    if (!json.IsString()) return InvalidArgument("expected {}, got {}", expected, Describe(json));
    return parse(Text(json));
  };
}

// The layout that holds for this input; null when none was given.
const LayoutSetting* LayoutFor(const ModelSettings& model, const std::string& input) {
  auto found = model.layouts.find(input);
  if (found == model.layouts.end()) found = model.layouts.find("");
  // A model of one input may be meant by its name in one setting and by no name in the other.
  if (found == model.layouts.end() && input.empty() && model.layouts.size() == 1) found = model.layouts.begin();
  return found == model.layouts.end() ? nullptr : &found->second;
}

Status NeedChannels(const ModelSettings& model, const std::string& input, std::string_view setting) {
  const LayoutSetting* layout = LayoutFor(model, input);
  if (layout != nullptr && layout->model.find('C') != std::string::npos) return absl::OkStatus();
  const std::string of = input.empty() ? "" : fmt::format(" of input {}", Quote(input));
  return InvalidArgument(
      "{}{} needs to know which dimension the channels are: expected a layout with C, such as NHWC:NCHW, got {}", setting, of,
      layout == nullptr ? "no layout" : Quote(layout->model));
}

}  // namespace

StatusOr<std::vector<float>> ParseChannelValues(std::string_view text) {
  std::string_view inner = Trim(text);
  const bool list =
      inner.size() >= 2 && ((inner.front() == '[' && inner.back() == ']') || (inner.front() == '(' && inner.back() == ')'));
  if (list) inner = inner.substr(1, inner.size() - 2);
  std::vector<float> values;
  for (const std::string_view part : list ? Split(inner, ',') : std::vector<std::string_view>{inner}) {
    const std::optional<float> value = Number(part);
    if (!value.has_value()) {
      return InvalidArgument(
          "expected a finite number such as 123.675, or one for each channel such as [123.675,116.28,103.53]; got {}",
          Quote(text));
    }
    values.push_back(*value);
  }
  return values;
}

StatusOr<ColorSetting> ParseColorFormat(std::string_view text) {
  const std::string upper = ToUpper(Trim(text));
  const std::vector<std::string_view> parts = Split(upper, ':');
  const auto known = [](std::string_view part) {
    return std::find(kColors.begin(), kColors.end(), Trim(part)) != kColors.end();
  };
  if (parts.size() != 2 || !std::all_of(parts.begin(), parts.end(), known)) {
    return InvalidArgument(
        "expected two of RGB, BGR, GRAY, NV12, NV12_2, I420, I420_3 as MODEL:CLIENT (RGB:BGR: the model gets RGB, clients send "
        "BGR); "
        "got {}",
        Quote(text));
  }
  return ColorSetting{std::string(Trim(parts[0])), std::string(Trim(parts[1]))};
}

StatusOr<PrecisionSetting> ParsePrecision(std::string_view text) {
  const std::string upper = ToUpper(Trim(text));
  const std::vector<std::string_view> parts = Split(upper, ':');
  if (parts.size() > 2) return InvalidArgument("expected {}; got {}", kPrecisionsExpected, Quote(text));
  PrecisionSetting setting;
  SY_ASSIGN_OR_RETURN(setting.tensor, TypeOf(Trim(parts[0]), text));
  if (parts.size() == 2) {
    SY_ASSIGN_OR_RETURN(setting.model, TypeOf(Trim(parts[1]), text));
  }
  return setting;
}

StatusOr<ChannelValues> MeansOf(const rapidjson::Value& json) {
  return ByInput<std::vector<float>>(json, kValuesExpected, ChannelValuesOf);
}

StatusOr<ChannelValues> ScalesOf(const rapidjson::Value& json) {
  const auto parse = [](const rapidjson::Value& value) -> StatusOr<std::vector<float>> {
    SY_ASSIGN_OR_RETURN(std::vector<float> values, ChannelValuesOf(value));
    if (std::find(values.begin(), values.end(), 0.0f) != values.end()) {
      return InvalidArgument("expected numbers other than 0, since the input is divided by them; got {}",
                             value.IsString() ? Quote(Text(value)) : Describe(value));
    }
    return values;
  };
  return ByInput<std::vector<float>>(json, kValuesExpected, parse);
}

StatusOr<std::map<std::string, ColorSetting>> ColorFormatsOf(const rapidjson::Value& json) {
  return ByInput<ColorSetting>(json, kColorsExpected, OfText(ParseColorFormat, kColorsExpected));
}

StatusOr<std::map<std::string, PrecisionSetting>> PrecisionsOf(const rapidjson::Value& json) {
  return ByInput<PrecisionSetting>(json, kPrecisionsExpected, OfText(ParsePrecision, kPrecisionsExpected));
}

StatusOr<ChannelValues> ParseMeans(std::string_view text) { return FromFlag(text, kValuesExpected, MeansOf); }
StatusOr<ChannelValues> ParseScales(std::string_view text) { return FromFlag(text, kValuesExpected, ScalesOf); }
StatusOr<std::map<std::string, ColorSetting>> ParseColorFormats(std::string_view text) {
  return FromFlag(text, kColorsExpected, ColorFormatsOf);
}
StatusOr<std::map<std::string, PrecisionSetting>> ParsePrecisions(std::string_view text) {
  return FromFlag(text, kPrecisionsExpected, PrecisionsOf);
}

Status CheckChannels(const ModelSettings& model) {
  for (const auto& [input, color] : model.color_formats) SY_RETURN_IF_ERROR(NeedChannels(model, input, "color_format"));
  for (const auto& [input, values] : model.means) {
    if (values.size() > 1) SY_RETURN_IF_ERROR(NeedChannels(model, input, "mean with a value for each channel"));
  }
  for (const auto& [input, values] : model.scales) {
    if (values.size() > 1) SY_RETURN_IF_ERROR(NeedChannels(model, input, "scale with a value for each channel"));
  }
  return absl::OkStatus();
}

}  // namespace switchyard
