#include "tools/convert_options.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "config/model_values.h"
#include "config/preprocess_values.h"
#include "config/text.h"

namespace switchyard {

const std::string_view kConvertHelp =
    "Makes OpenVINO IR of a model, in the next version folder, and checks it against its source on random input.\n\n"
    "switchyard convert --input MODEL --output DIR [flags]\n"
    "  --input MODEL              a .onnx, .pb, .tflite, .pdmodel or .xml file, or the folder of a SavedModel\n"
    "  --output DIR               the model's folder; what is written goes to DIR/1, or the number after the highest there\n"
    "  --precision FP32           FP32, FP16 (weights of half the size), or INT8 (quantized, by NNCF)\n"
    "  --input_shape SHAPE        (1,3,224,224) or [1,3,224,224], with -1 for any and 1:8 for a range;\n"
    "                             data[1,3,224,224],info[1,3] for several inputs, or a JSON object\n"
    "  --mean, --scale NUMBERS    taken from the input, and by which it is divided then: one number, or one for each channel\n"
    "                             as [123.68,116.78,103.94]; data[...],info[...] for several inputs, or a JSON object\n"
    "  --reverse_input_channels   clients send BGR where the model takes RGB, or the other way round; before mean and scale\n"
    "  --layout LAYOUT            NHWC:NCHW (what clients will send : what the model takes), or NCHW; or a JSON object\n"
    "  --json                     print an object in place of the text\n"
    "INT8 alone:\n"
    "  --calibration [INPUT=]FILE .npy files, or folders of them, of what clients send; may be given several times. Without\n"
    "                             them random ones are made up, which costs accuracy\n"
    "  --labels FILE              .npy with the class of each sample: the accuracy itself is measured\n"
    "  --samples N                calibrate with at most so many; default: 300\n"
    "  --python FILE              a Python that has nncf and openvino; default: an environment is made and thrown away\n"
    "Exit code: 0; 1 when the model cannot be converted, with the reason, and nothing is left behind; 64 when the command "
    "line\n"
    "is at fault.\n";

namespace {

using Set = std::function<Status(const std::string& value, ConvertOptions&)>;

// "data[1,2],info[3]" to {"data": "[1,2]", "info": "[3]"}; nothing when the text is not of that form.
std::optional<std::map<std::string, std::string>> ByBrackets(std::string_view text) {
  std::map<std::string, std::string> parts;
  text = Trim(text);
  while (!text.empty()) {
    const size_t open = text.find_first_of("[(");
    const size_t close = open == text.npos ? text.npos : text.find_first_of("])", open);
    if (open == 0 || close == text.npos) return std::nullopt;
    const std::string name(Trim(text.substr(0, open)));
    if (name.empty() || !parts.emplace(name, text.substr(open, close - open + 1)).second) return std::nullopt;
    text = Trim(text.substr(close + 1));
    if (text.empty()) break;
    if (text.front() != ',') return std::nullopt;
    text = Trim(text.substr(1));
    if (text.empty()) return std::nullopt;
  }
  return parts.empty() ? std::nullopt : std::optional(std::move(parts));
}

std::string WithParentheses(std::string_view text) {
  std::string shape(Trim(text));
  if (shape.size() >= 2 && shape.front() == '[' && shape.back() == ']') shape.front() = '(', shape.back() = ')';
  return shape;
}

Status SetPrecision(const std::string& value, ConvertOptions& options) {
  const std::string name = ToUpper(value);
  if (name != "FP32" && name != "FP16" && name != "INT8")
    return InvalidArgument("expected FP32, FP16 or INT8, got {}", Quote(value));
  options.precision = name == "FP32"   ? ConvertOptions::Precision::kFp32
                      : name == "FP16" ? ConvertOptions::Precision::kFp16
                                       : ConvertOptions::Precision::kInt8;
  return absl::OkStatus();
}

Status SetSamples(const std::string& value, ConvertOptions& options) {
  int samples = 0;
  const auto [stop, error] = std::from_chars(value.data(), value.data() + value.size(), samples);
  if (error != std::errc() || stop != value.data() + value.size() || samples < 1 || samples > 1000000) {
    return InvalidArgument("expected a whole number from 1 to 1000000, got {}", Quote(value));
  }
  options.samples = samples;
  return absl::OkStatus();
}

// What `parse` makes of the value, into a member of the settings.
template <typename T, typename Parse>
Set Into(T ModelSettings::*member, Parse parse) {
  return [member, parse](const std::string& value, ConvertOptions& options) -> Status {
    SY_ASSIGN_OR_RETURN(options.request.settings.*member, parse(value));
    return absl::OkStatus();
  };
}

Set Into(std::string ConvertOptions::*member) {
  return [member](const std::string& value, ConvertOptions& options) {
    if (value.empty()) return InvalidArgument("expected a path, got \"\"");
    options.*member = value;
    return absl::OkStatus();
  };
}

const std::map<std::string, Set>& Flags() {
  static const auto* const flags = new std::map<std::string, Set>{
      {"input",
       [](const std::string& value, ConvertOptions& options) {
         if (value.empty()) return InvalidArgument("expected the path of a model, got \"\"");
         options.request.source = value;
         return absl::OkStatus();
       }},
      {"output", Into(&ConvertOptions::output)},
      {"precision", SetPrecision},
      {"input_shape", Into(&ModelSettings::shapes, ParseInputShapes)},
      {"mean", Into(&ModelSettings::means, [](std::string_view text) { return ParseInputNumbers(text, false); })},
      {"scale", Into(&ModelSettings::scales, [](std::string_view text) { return ParseInputNumbers(text, true); })},
      {"layout", Into(&ModelSettings::layouts, ParseLayouts)},
      {"calibration",
       [](const std::string& value, ConvertOptions& options) {
         if (value.empty()) return InvalidArgument("expected a .npy file or a folder of them, got \"\"");
         options.calibration.push_back(value);
         return absl::OkStatus();
       }},
      {"labels", Into(&ConvertOptions::labels)},
      {"samples", SetSamples},
      {"python", Into(&ConvertOptions::python)},
  };
  return *flags;
}

Status CheckWhole(const ConvertOptions& options) {
  if (options.request.source.empty()) return InvalidArgument("--input is missing: name the model to convert");
  if (options.output.empty()) return InvalidArgument("--output is missing: name the folder for the version folders");
  if (options.precision == ConvertOptions::Precision::kInt8) return absl::OkStatus();
  if (!options.calibration.empty()) return InvalidArgument("--calibration is for --precision INT8");
  if (!options.labels.empty()) return InvalidArgument("--labels is for --precision INT8");
  if (options.samples) return InvalidArgument("--samples is for --precision INT8");
  if (!options.python.empty()) return InvalidArgument("--python is for --precision INT8");
  return absl::OkStatus();
}

}  // namespace

StatusOr<std::map<std::string, PartialShape>> ParseInputShapes(std::string_view text) {
  if (const auto parts = ByBrackets(text)) {
    std::map<std::string, PartialShape> shapes;
    for (const auto& [name, shape] : *parts) {
      SY_ASSIGN_OR_RETURN(shapes[name], ParseShape(WithParentheses(shape)));
    }
    return shapes;
  }
  SY_ASSIGN_OR_RETURN(ShapeSettings settings, ParseShapes(WithParentheses(text)));
  if (!settings.autos.empty()) return InvalidArgument("expected a shape such as (1,3,224,224); auto is for servers");
  return std::move(settings.shapes);
}

StatusOr<std::map<std::string, std::vector<float>>> ParseInputNumbers(std::string_view text, bool scale) {
  const auto parts = ByBrackets(text);
  if (!parts) return scale ? ParseScales(text) : ParseMeans(text);
  std::map<std::string, std::vector<float>> numbers;
  for (const auto& [name, values] : *parts) {
    SY_ASSIGN_OR_RETURN(auto one, scale ? ParseScales(values) : ParseMeans(values));
    numbers[name] = std::move(one[""]);
  }
  return numbers;
}

StatusOr<ConvertOptions> ParseConvertOptions(const std::vector<std::string>& arguments) {
  ConvertOptions options;
  options.request.settings.name = "model";
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--help" || argument == "-h") {
      options.help = true;
      return options;
    }
    if (argument == "--json" || argument == "--reverse_input_channels") {
      (argument == "--json" ? options.json : options.request.reverse_input_channels) = true;
      continue;
    }
    const size_t equals = argument.find('=');
    const std::string name = argument.starts_with("--") ? argument.substr(2, equals - 2) : "";
    const auto flag = Flags().find(name);
    if (flag == Flags().end()) {
      return InvalidArgument("{} is no flag of convert; see `switchyard convert --help`", Quote(argument));
    }
    if (equals == std::string::npos && i + 1 == arguments.size()) return InvalidArgument("--{}: its value is missing", name);
    const Status set = flag->second(equals == std::string::npos ? arguments[++i] : argument.substr(equals + 1), options);
    if (!set.ok()) return InvalidArgument("--{}: {}", name, Message(set));
  }
  SY_RETURN_IF_ERROR(CheckWhole(options));
  options.request.half = options.precision == ConvertOptions::Precision::kFp16;
  return options;
}

}  // namespace switchyard
