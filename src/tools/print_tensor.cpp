#include "tools/print_tensor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "tools/json_tensor.h"

namespace switchyard {
namespace {

constexpr size_t kShort = 32;
constexpr size_t kMostRows = 16;
constexpr uint64_t kDefaultTopK = 5;

bool IsFloat(ElementType type) {
  return type == ElementType::kFp16 || type == ElementType::kBf16 || type == ElementType::kFp32 || type == ElementType::kFp64;
}

std::string TopRows(const ClientTensor& tensor, size_t row_length, uint64_t k, const std::vector<std::string>& labels) {
  std::string out;
  const size_t rows = tensor.count() / row_length;
  for (size_t row = 0; row < std::min(rows, kMostRows); ++row) {
    if (rows > 1) out += fmt::format("  row {}:\n", row);
    for (const auto& [index, value] : TopK(tensor, row * row_length, row_length, k)) {
      out += fmt::format("  {:>6}  {:<10.6g}", index, value);
      if (index < labels.size()) {
        out += "  " + labels[index];
      } else {
        out.erase(out.find_last_not_of(' ') + 1);
      }
      out += '\n';
    }
  }
  if (rows > kMostRows) out += fmt::format("  ... {} more rows\n", rows - kMostRows);
  return out;
}

}  // namespace

StatusOr<std::vector<std::string>> ParseLabels(std::string_view text) {
  std::vector<std::string> labels;
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first != std::string_view::npos && text[first] == '[') {
    rapidjson::Document document;
    SY_RETURN_IF_ERROR(ParseJsonDocument(text, &document));
    for (const rapidjson::Value& label : document.GetArray()) {
      if (!label.IsString()) return InvalidArgument("the labels are a JSON list with something else than strings in it");
      labels.emplace_back(label.GetString(), label.GetStringLength());
    }
    return labels;
  }
  while (!text.empty()) {
    const size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    labels.emplace_back(line);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return labels;
}

std::vector<std::pair<size_t, double>> TopK(const ClientTensor& tensor, size_t begin, size_t length, size_t k) {
  std::vector<std::pair<size_t, double>> values(length);
  for (size_t i = 0; i < length; ++i) {
    values[i] = {i, std::visit([](auto value) { return static_cast<double>(value); }, NumberAt(tensor, begin + i))};
  }
  const auto greater = [](const auto& a, const auto& b) {
    if (std::isnan(a.second) || std::isnan(b.second)) return !std::isnan(a.second) && std::isnan(b.second);
    return a.second > b.second;
  };
  const size_t kept = std::min(k, length);
  std::stable_sort(values.begin(), values.end(), greater);
  values.resize(kept);
  return values;
}

std::string ToText(const ClientTensor& tensor, uint64_t top_k, const std::vector<std::string>& labels) {
  std::string out = fmt::format("{} {} {}", tensor.name, KserveName(tensor.type), ToString(tensor.shape));
  const size_t count = tensor.count();
  const size_t row_length = tensor.shape.empty() ? 0 : static_cast<size_t>(tensor.shape.back());
  const bool numeric = tensor.type != ElementType::kBytes;
  const bool long_row = IsFloat(tensor.type) && row_length > kShort && tensor.shape.size() <= 2;
  if (count != 0 && row_length > 1 && ((numeric && top_k != 0) || long_row)) {
    const uint64_t k = top_k != 0 ? top_k : kDefaultTopK;
    return out + fmt::format(", top {}:\n", std::min<uint64_t>(k, row_length)) + TopRows(tensor, row_length, k, labels);
  }
  out += ":\n  ";
  if (count <= kShort) {
    AppendJsonTensor(tensor, JsonLayout::kNested, JsonStrings::kPlain, &out);
    return out + "\n";
  }
  for (size_t i = 0; i < kShort; ++i) {
    out += (i == 0 ? "" : ", ") + (numeric ? FormatElement(tensor, i) : JsonString(tensor.strings[i]));
  }
  return out + fmt::format(", ... {} more\n", count - kShort);
}

std::string ToJson(const ClientTensor& tensor) {
  std::string out = fmt::format("{{\"name\":{},\"datatype\":\"{}\",\"shape\":[{}],\"data\":", JsonString(tensor.name),
                                KserveName(tensor.type), fmt::join(tensor.shape, ","));
  AppendJsonTensor(tensor, JsonLayout::kFlat, JsonStrings::kPlain, &out);
  return out + "}";
}

}  // namespace switchyard
