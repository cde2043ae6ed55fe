#include "tools/client_tensor.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "tensor/half.h"

namespace switchyard {
namespace {

static_assert(std::endian::native == std::endian::little, "the protocols' byte order is copied as it is");

std::string TextOf(const Number& number) {
  return std::visit([](auto value) { return fmt::format("{}", value); }, number);
}

double AsDouble(const Number& number) {
  return std::visit([](auto value) { return static_cast<double>(value); }, number);
}

template <typename T>
void AppendBits(T value, std::string* data) {
  data->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

template <typename T>
bool AppendInteger(const Number& number, std::string* data) {
  return std::visit(
      [&](auto value) {
        if constexpr (std::is_same_v<decltype(value), double>) {
          // Both bounds are powers of two or zero, so they are exact as doubles, where the greatest value itself is not.
          const double end = std::ldexp(1.0, std::numeric_limits<T>::digits);
          if (!(value >= static_cast<double>(std::numeric_limits<T>::min()) && value < end) || value != std::trunc(value)) {
            return false;
          }
        } else if (!std::in_range<T>(value)) {
          return false;
        }
        AppendBits(static_cast<T>(value), data);
        return true;
      },
      number);
}

bool AppendWhole(ElementType type, const Number& number, std::string* data) {
  switch (type) {
    case ElementType::kInt8: return AppendInteger<int8_t>(number, data);
    case ElementType::kInt16: return AppendInteger<int16_t>(number, data);
    case ElementType::kInt32: return AppendInteger<int32_t>(number, data);
    case ElementType::kInt64: return AppendInteger<int64_t>(number, data);
    case ElementType::kUint8: return AppendInteger<uint8_t>(number, data);
    case ElementType::kUint16: return AppendInteger<uint16_t>(number, data);
    case ElementType::kUint32: return AppendInteger<uint32_t>(number, data);
    case ElementType::kUint64: return AppendInteger<uint64_t>(number, data);
    default: {
      const double value = AsDouble(number);
      if (type != ElementType::kBool || (value != 0 && value != 1)) return false;
      data->push_back(value == 1 ? '\1' : '\0');
      return true;
    }
  }
}

template <typename T>
T Load(const ClientTensor& tensor, size_t index) {
  T value;
  std::memcpy(&value, tensor.data.data() + index * sizeof(T), sizeof(T));
  return value;
}

template <typename T>
std::string FormatFloat(T value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

}  // namespace

Status AppendNumber(ElementType type, const Number& number, std::string* data) {
  switch (type) {
    case ElementType::kFp64: AppendBits(AsDouble(number), data); return absl::OkStatus();
    case ElementType::kFp32: AppendBits(static_cast<float>(AsDouble(number)), data); return absl::OkStatus();
    case ElementType::kFp16: AppendBits(FloatToHalf(static_cast<float>(AsDouble(number))), data); return absl::OkStatus();
    case ElementType::kBf16: AppendBits(FloatToBfloat16(static_cast<float>(AsDouble(number))), data); return absl::OkStatus();
    case ElementType::kBytes:
    case ElementType::kUndefined:
      return InvalidArgument("expected a string, as the datatype is {}; got the number {}", KserveName(type), TextOf(number));
    default: break;
  }
  if (AppendWhole(type, number, data)) return absl::OkStatus();
  return InvalidArgument("{} is not a value of datatype {}", TextOf(number), KserveName(type));
}

Number NumberAt(const ClientTensor& tensor, size_t index) {
  switch (tensor.type) {
    case ElementType::kBool:
    case ElementType::kUint8: return uint64_t{Load<uint8_t>(tensor, index)};
    case ElementType::kUint16: return uint64_t{Load<uint16_t>(tensor, index)};
    case ElementType::kUint32: return uint64_t{Load<uint32_t>(tensor, index)};
    case ElementType::kUint64: return Load<uint64_t>(tensor, index);
    case ElementType::kInt8: return int64_t{Load<int8_t>(tensor, index)};
    case ElementType::kInt16: return int64_t{Load<int16_t>(tensor, index)};
    case ElementType::kInt32: return int64_t{Load<int32_t>(tensor, index)};
    case ElementType::kInt64: return Load<int64_t>(tensor, index);
    case ElementType::kFp16: return double{HalfToFloat(Load<uint16_t>(tensor, index))};
    case ElementType::kBf16: return double{Bfloat16ToFloat(Load<uint16_t>(tensor, index))};
    case ElementType::kFp32: return double{Load<float>(tensor, index)};
    case ElementType::kFp64: return Load<double>(tensor, index);
    default: return int64_t{0};
  }
}

std::string FormatElement(const ClientTensor& tensor, size_t index) {
  switch (tensor.type) {
    case ElementType::kBytes: return tensor.strings[index];
    case ElementType::kBool: return Load<uint8_t>(tensor, index) != 0 ? "true" : "false";
    case ElementType::kFp32: return FormatFloat(Load<float>(tensor, index));
    case ElementType::kFp16: return FormatFloat(HalfToFloat(Load<uint16_t>(tensor, index)));
    case ElementType::kBf16: return FormatFloat(Bfloat16ToFloat(Load<uint16_t>(tensor, index)));
    case ElementType::kFp64: return FormatFloat(Load<double>(tensor, index));
    default: return TextOf(NumberAt(tensor, index));
  }
}

Status CheckCount(const ClientTensor& tensor) {
  const auto expected = ElementCount(tensor.shape);
  const size_t element = ElementSize(tensor.type);
  const bool whole = element == 0 || tensor.data.size() % element == 0;
  if (expected && whole && *expected == tensor.count()) return absl::OkStatus();
  if (element == 0) {
    return InvalidArgument("tensor {} of shape {} has {} strings", tensor.name, ToString(tensor.shape), tensor.strings.size());
  }
  return InvalidArgument("tensor {} of shape {} and datatype {} has {} bytes of data", tensor.name, ToString(tensor.shape),
                         KserveName(tensor.type), tensor.data.size());
}

std::string PackStrings(const std::vector<std::string>& strings) {
  std::string bytes;
  for (const std::string& text : strings) {
    AppendBits(static_cast<uint32_t>(text.size()), &bytes);
    bytes += text;
  }
  return bytes;
}

StatusOr<std::vector<std::string>> UnpackStrings(std::string_view bytes) {
  std::vector<std::string> strings;
  while (!bytes.empty()) {
    uint32_t length = 0;
    if (bytes.size() < sizeof(length)) return InvalidArgument("the last string's length is cut off");
    std::memcpy(&length, bytes.data(), sizeof(length));
    bytes.remove_prefix(sizeof(length));
    if (length > bytes.size()) return InvalidArgument("a string of {} bytes is announced, {} are there", length, bytes.size());
    strings.emplace_back(bytes.substr(0, length));
    bytes.remove_prefix(length);
  }
  return strings;
}

}  // namespace switchyard
