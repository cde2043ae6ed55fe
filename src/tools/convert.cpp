#include "tools/convert.h"

#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/log.h"
#include "config/command_line.h"
#include "tools/command.h"
#include "tools/convert_options.h"
#include "tools/int8.h"
#include "tools/text_table.h"
#include "tools/version_folder.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

// Larger differences, in terms of an output's largest value, than the precision explains.
constexpr double kMostFp32 = 1e-3;
constexpr double kManyFp16 = 1e-2;

struct Converted {
  std::string path;
  int64_t version = 0;
  ConvertedModel model;
  Comparison comparison;
  std::optional<Int8Result> int8;
  std::vector<std::string> warnings;
};

std::string_view Name(ConvertOptions::Precision precision) {
  switch (precision) {
    case ConvertOptions::Precision::kFp32:
      return "FP32";
    case ConvertOptions::Precision::kFp16:
      return "FP16";
    case ConvertOptions::Precision::kInt8:
      return "INT8";
  }
  return "";
}

void Progress(const std::string& step) { Tell("convert", step); }

Status Judge(const ConvertOptions& options, Converted& outcome) {
  const Comparison& comparison = outcome.comparison;
  if (!comparison.not_compared.empty()) {
    outcome.warnings.push_back(fmt::format("not checked against the source: {}", comparison.not_compared));
    return absl::OkStatus();
  }
  const double relative = comparison.relative();
  if (options.precision == ConvertOptions::Precision::kFp32 && relative > kMostFp32) {
    return Error(
        StatusCode::kInternal,
        "what was written differs from its source by {:.3g} (in terms of an output's largest value), more than rounding "
        "explains; it is not kept",
        relative);
  }
  if (options.precision == ConvertOptions::Precision::kFp16 && relative > kManyFp16) {
    outcome.warnings.push_back(
        fmt::format("differs from its source by {:.3g} in terms of an output's largest value; FP32 would not", relative));
  }
  return absl::OkStatus();
}

Status Quantize(const ConvertOptions& options, const fs::path& folder, const std::atomic<bool>& interrupted,
                Converted& outcome) {
  Int8Request request{.fp32_xml = (folder / "fp32" / "model.xml").string(),
                      .int8_xml = (folder / "model.xml").string(),
                      .calibration = options.calibration,
                      .labels = options.labels,
                      .samples = options.samples.value_or(300),
                      .python = options.python};
  SY_ASSIGN_OR_RETURN(outcome.int8, QuantizeToInt8(request, Progress, interrupted));
  std::error_code error;
  fs::remove_all(folder / "fp32", error);
  outcome.model.bytes = fs::file_size(folder / "model.xml", error) + fs::file_size(folder / "model.bin", error);
  if (error) return Error(StatusCode::kInternal, "NNCF wrote no model: {}", error.message());
  if (outcome.int8->made_up) {
    outcome.warnings.emplace_back(
        "calibrated with made-up input, which costs accuracy that is not seen here; give --calibration files of real input");
  }
  return absl::OkStatus();
}

// Before anything is read, installed or written.
Status CheckFiles(const ConvertOptions& options) {
  std::error_code error;
  for (const std::string& value : options.calibration) {
    const size_t equals = value.find('=');
    const std::string file = equals == std::string::npos ? value : value.substr(equals + 1);
    if (fs::exists(value, error) || fs::exists(file, error)) continue;
    return Error(StatusCode::kNotFound, "--calibration: expected a .npy file, or a folder of them; {} is not there", file);
  }
  if (!options.labels.empty() && !fs::is_regular_file(options.labels, error)) {
    return Error(StatusCode::kNotFound, "--labels: expected a file; {} is not there", options.labels);
  }
  return absl::OkStatus();
}

Status Going(const std::atomic<bool>& interrupted) {
  return interrupted.load() ? Error(StatusCode::kCancelled, "interrupted; nothing is kept") : absl::OkStatus();
}

StatusOr<Converted> Convert(const ConvertOptions& options, ModelConverter& converter, const std::atomic<bool>& interrupted) {
  SY_RETURN_IF_ERROR(CheckFiles(options));
  SY_ASSIGN_OR_RETURN(StagedVersion staged, StagedVersion::In(options.output));
  Converted outcome;
  const bool int8 = options.precision == ConvertOptions::Precision::kInt8;
  const fs::path folder = staged.path();
  const fs::path first = int8 ? folder / "fp32" : folder;
  std::error_code error;
  fs::create_directories(first, error);
  Progress(fmt::format("reading {} and writing IR", options.request.source));
  SY_ASSIGN_OR_RETURN(outcome.model, converter.Convert(options.request, first.string()));
  SY_RETURN_IF_ERROR(Going(interrupted));
  if (int8) SY_RETURN_IF_ERROR(Quantize(options, folder, interrupted, outcome));
  Progress("checking what was written against its source on random input");
  SY_ASSIGN_OR_RETURN(outcome.comparison, converter.Compare(options.request, (folder / "model.xml").string()));
  SY_RETURN_IF_ERROR(Going(interrupted));
  SY_RETURN_IF_ERROR(Judge(options, outcome));
  outcome.warnings.insert(outcome.warnings.begin(), outcome.model.notes.begin(), outcome.model.notes.end());
  SY_ASSIGN_OR_RETURN(outcome.version, staged.Commit());
  outcome.path = (fs::path(options.output) / std::to_string(outcome.version) / "model.xml").string();
  return outcome;
}

using CompactWriter = rapidjson::Writer<rapidjson::StringBuffer>;

void Put(CompactWriter& writer, const char* key, const std::string& text) {
  writer.Key(key);
  writer.String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
}
void Put(CompactWriter& writer, const char* key, double number) {
  writer.Key(key);
  writer.Double(number);
}
void Put(CompactWriter& writer, const char* key, const std::optional<double>& number) {
  if (number) Put(writer, key, *number);
}
void Put(CompactWriter& writer, const char* key, const std::vector<std::string>& texts) {
  writer.Key(key);
  writer.StartArray();
  for (const std::string& text : texts) writer.String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
  writer.EndArray();
}

void PutInt8(CompactWriter& writer, const Int8Result& result) {
  writer.Key("int8");
  writer.StartObject();
  writer.Key("calibrated_with");
  writer.Int(result.calibrated_with);
  writer.Key("made_up");
  writer.Bool(result.made_up);
  writer.Key("samples");
  writer.Int(result.samples);
  Put(writer, "largest_difference", result.largest_difference);
  Put(writer, "largest_value", result.largest_value);
  Put(writer, "mean_difference", result.mean_difference);
  Put(writer, "top1_agreement", result.top1_agreement);
  Put(writer, "accuracy_fp32", result.accuracy_fp32);
  Put(writer, "accuracy_int8", result.accuracy_int8);
  writer.EndObject();
}

std::string ConvertedJson(const ConvertOptions& options, const Converted& outcome) {
  rapidjson::StringBuffer buffer;
  CompactWriter writer(buffer);
  writer.StartObject();
  Put(writer, "model", outcome.path);
  writer.Key("version");
  writer.Int64(outcome.version);
  Put(writer, "precision", std::string(Name(options.precision)));
  writer.Key("bytes");
  writer.Uint64(outcome.model.bytes);
  Put(writer, "inputs", outcome.model.inputs);
  Put(writer, "outputs", outcome.model.outputs);
  writer.Key("compared");
  writer.Bool(outcome.comparison.not_compared.empty());
  if (outcome.comparison.not_compared.empty()) {
    Put(writer, "largest_difference", outcome.comparison.difference());
    writer.Key("differences");
    writer.StartObject();
    for (const Comparison::Output& output : outcome.comparison.outputs) Put(writer, output.name.c_str(), output.difference);
    writer.EndObject();
  }
  if (outcome.int8) PutInt8(writer, *outcome.int8);
  Put(writer, "warnings", outcome.warnings);
  writer.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

std::string Int8Text(const Int8Result& result) {
  std::string text = fmt::format(
      "INT8 against FP32, on {} samples that were not calibrated with ({} were): largest difference {:.3g} where values reach "
      "{:.3g}, "
      "mean {:.3g}\n",
      result.samples, result.calibrated_with, result.largest_difference, result.largest_value, result.mean_difference);
  if (result.accuracy_fp32 && result.accuracy_int8) {
    text += fmt::format("Accuracy: FP32 {:.2f} %, INT8 {:.2f} %; the drop is {:.2f} points\n", 100 * *result.accuracy_fp32,
                        100 * *result.accuracy_int8, 100 * (*result.accuracy_fp32 - *result.accuracy_int8));
  } else if (result.top1_agreement) {
    text += fmt::format("Accuracy drop: INT8 names another first class than FP32 for {:.2f} % of the samples (no --labels)\n",
                        100 * (1 - *result.top1_agreement));
  }
  return text;
}

std::string ConvertedText(const ConvertOptions& options, const Converted& outcome) {
  std::string text = fmt::format("{}: {}, {}\n", outcome.path, Name(options.precision), BytesText(outcome.model.bytes));
  for (const std::string& input : outcome.model.inputs) text += fmt::format("  input  {}\n", input);
  for (const std::string& output : outcome.model.outputs) text += fmt::format("  output {}\n", output);
  const Comparison& comparison = outcome.comparison;
  if (comparison.not_compared.empty()) {
    text += fmt::format("Largest difference to the source on {} random inputs: {:.3g}\n", comparison.inputs_tried,
                        comparison.difference());
    if (comparison.outputs.size() > 1) {
      for (const Comparison::Output& output : comparison.outputs) {
        text += fmt::format("  {}: {:.3g} where values reach {:.3g}\n", output.name, output.difference, output.largest);
      }
    }
  }
  if (outcome.int8) text += Int8Text(*outcome.int8);
  return text;
}

}  // namespace

int RunConvert(int argc, const char* const* argv, ConverterFactory make_converter) {
  const auto options = ParseConvertOptions(std::vector<std::string>(argv + std::min(2, argc), argv + argc));
  if (!options.ok()) return Fail("convert", kExitUsage, Message(options.status()));
  if (options->help) {
    std::fwrite(kConvertHelp.data(), 1, kConvertHelp.size(), stdout);
    return kExitOk;
  }
  LogToStderr();
  auto converter = make_converter();
  if (!converter.ok()) return Fail("convert", kExitFailure, Message(converter.status()));
  const auto outcome = Convert(*options, **converter, CatchInterrupts());
  if (!outcome.ok()) {
    return Fail("convert", ExitOf(outcome.status()), fmt::format("{}: {}", options->request.source, Message(outcome.status())));
  }
  for (const std::string& warning : outcome->warnings) Progress("warning: " + warning);
  const std::string text = options->json ? ConvertedJson(*options, *outcome) + "\n" : ConvertedText(*options, *outcome);
  std::fwrite(text.data(), 1, text.size(), stdout);
  return kExitOk;
}

}  // namespace switchyard
