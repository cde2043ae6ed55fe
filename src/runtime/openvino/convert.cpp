#include "runtime/openvino/convert.h"

#include <algorithm>
#include <array>
#include <vector>

namespace switchyard {
namespace {

constexpr size_t kMaxLines = 3;
// Words with which the GPU plugin begins its advice: what follows is not about this error, and some of it is not for our users.
constexpr std::string_view kAdvice[] = {"Due to a driver bug, any subsequent", "error typically occurs in"};
constexpr size_t kMaxMessageBytes = 600;

// Lines that tell where in OpenVINO's source something was checked, not what is wrong.
bool IsNoise(std::string_view line) {
  return line.starts_with("Exception from ") || line.starts_with("FrontEnd API failed with") ||
         line.starts_with("Standard exception from compilation library: Exception from ") ||
         (line.starts_with("Check '") && line.find("' failed at ") != std::string_view::npos);
}

bool IsAdvice(std::string_view line) {
  return std::any_of(std::begin(kAdvice), std::end(kAdvice),
                     [&](std::string_view words) { return line.find(words) != std::string_view::npos; });
}

std::string_view Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

}  // namespace

ElementType FromOpenVino(const ov::element::Type& type) {
  switch (static_cast<ov::element::Type_t>(type)) {
    case ov::element::Type_t::boolean:
      return ElementType::kBool;
    case ov::element::Type_t::i8:
      return ElementType::kInt8;
    case ov::element::Type_t::i16:
      return ElementType::kInt16;
    case ov::element::Type_t::i32:
      return ElementType::kInt32;
    case ov::element::Type_t::i64:
      return ElementType::kInt64;
    case ov::element::Type_t::u8:
      return ElementType::kUint8;
    case ov::element::Type_t::u16:
      return ElementType::kUint16;
    case ov::element::Type_t::u32:
      return ElementType::kUint32;
    case ov::element::Type_t::u64:
      return ElementType::kUint64;
    case ov::element::Type_t::f16:
      return ElementType::kFp16;
    case ov::element::Type_t::bf16:
      return ElementType::kBf16;
    case ov::element::Type_t::f32:
      return ElementType::kFp32;
    case ov::element::Type_t::f64:
      return ElementType::kFp64;
    case ov::element::Type_t::string:
      return ElementType::kBytes;
    default:
      return ElementType::kUndefined;
  }
}

ov::element::Type ToOpenVino(ElementType type) {
  switch (type) {
    case ElementType::kBool:
      return ov::element::boolean;
    case ElementType::kInt8:
      return ov::element::i8;
    case ElementType::kInt16:
      return ov::element::i16;
    case ElementType::kInt32:
      return ov::element::i32;
    case ElementType::kInt64:
      return ov::element::i64;
    case ElementType::kUint8:
      return ov::element::u8;
    case ElementType::kUint16:
      return ov::element::u16;
    case ElementType::kUint32:
      return ov::element::u32;
    case ElementType::kUint64:
      return ov::element::u64;
    case ElementType::kFp16:
      return ov::element::f16;
    case ElementType::kBf16:
      return ov::element::bf16;
    case ElementType::kFp32:
      return ov::element::f32;
    case ElementType::kFp64:
      return ov::element::f64;
    case ElementType::kBytes:
      return ov::element::string;
    case ElementType::kUndefined:
      break;
  }
  return ov::element::dynamic;
}

PartialShape FromOpenVino(const ov::PartialShape& shape) {
  if (shape.rank().is_dynamic()) return {.dims = {}, .dynamic_rank = true};
  PartialShape result;
  for (const ov::Dimension& dimension : shape) {
    const int64_t max = dimension.get_max_length();
    result.dims.push_back({.min = dimension.get_min_length(), .max = max < 0 ? Dimension::kUnbounded : max});
  }
  return result;
}

ov::PartialShape ToOpenVino(const PartialShape& shape) {
  if (shape.dynamic_rank) return ov::PartialShape::dynamic();
  std::vector<ov::Dimension> dims;
  for (const Dimension& dimension : shape.dims) {
    dims.emplace_back(dimension.min, dimension.max == Dimension::kUnbounded ? -1 : dimension.max);
  }
  return ov::PartialShape(std::move(dims));
}

std::string ReadableMessage(std::string_view what) {
  std::string message;
  std::string_view first;
  size_t lines = 0;
  while (!what.empty() && lines < kMaxLines) {
    const size_t end = std::min(what.find('\n'), what.size());
    const std::string_view line = Trim(what.substr(0, end));
    what.remove_prefix(std::min(end + 1, what.size()));
    if (line.empty()) continue;
    if (first.empty()) first = line;
    if (IsNoise(line)) continue;
    if (lines > 0 && IsAdvice(line)) break;
    if (lines++ > 0) message += "; ";
    message += line;
  }
  if (message.empty()) message = first.empty() ? "no reason given" : first;
  if (message.size() > kMaxMessageBytes) message.resize(kMaxMessageBytes);
  return message;
}

std::string LayerMessage(std::string_view what) {
  constexpr std::string_view kNode = "While validating node '";
  constexpr std::string_view kName = "with friendly_name '";
  const size_t node = what.find(kNode);
  const size_t name = what.find(kName);
  if (node == std::string_view::npos || name == std::string_view::npos || name < node) return ReadableMessage(what);
  const std::string_view type = what.substr(node + kNode.size());
  const std::string_view friendly = what.substr(name + kName.size());
  const size_t line = friendly.find('\n');
  const std::string_view reason = line == std::string_view::npos ? std::string_view() : friendly.substr(line);
  // A name may hold quotes itself; what ends it stands at the end of the line.
  const std::string_view whole = friendly.substr(0, line);
  return fmt::format("layer \"{}\" ({}) cannot take it: {}", whole.substr(0, whole.rfind('\'')), type.substr(0, type.find(' ')),
                     ReadableMessage(reason));
}

}  // namespace switchyard
