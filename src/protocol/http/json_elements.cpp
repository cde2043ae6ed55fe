#include "protocol/http/json_elements.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <type_traits>

#include "protocol/http/base64.h"
#include "tensor/half.h"

namespace switchyard {
namespace {

struct Half {
  uint16_t bits;
};
struct Brain {
  uint16_t bits;
};
struct Bool {
  uint8_t value;
};

bool ReadDouble(JsonValue value, double& out) {
  if (value.get(out) == simdjson::SUCCESS) return true;
  std::string_view word = BareWord(value);
  if (word.empty() && value.get(word) != simdjson::SUCCESS) return false;
  if (word == "NaN") {
    out = std::numeric_limits<double>::quiet_NaN();
  } else if (word == "Infinity") {
    out = std::numeric_limits<double>::infinity();
  } else if (word == "-Infinity") {
    out = -std::numeric_limits<double>::infinity();
  } else {
    return false;
  }
  return true;
}

bool Convert(JsonValue value, NumberRule, double& out) { return ReadDouble(value, out); }

bool Convert(JsonValue value, NumberRule, float& out) {
  double wide;
  if (!ReadDouble(value, wide)) return false;
  out = static_cast<float>(wide);
  return std::isfinite(out) || !std::isfinite(wide);
}

bool Convert(JsonValue value, NumberRule, Half& out) {
  double wide;
  if (!ReadDouble(value, wide)) return false;
  out.bits = FloatToHalf(static_cast<float>(wide));
  return (out.bits & 0x7C00) != 0x7C00 || !std::isfinite(wide);
}

bool Convert(JsonValue value, NumberRule, Brain& out) {
  double wide;
  if (!ReadDouble(value, wide)) return false;
  out.bits = FloatToBfloat16(static_cast<float>(wide));
  return (out.bits & 0x7F80) != 0x7F80 || !std::isfinite(wide);
}

bool Convert(JsonValue value, NumberRule rule, Bool& out) {
  bool truth = false;
  if (value.get(truth) == simdjson::SUCCESS) {
    out.value = truth ? 1 : 0;
    return true;
  }
  double number = 0;
  if (rule == NumberRule::kExact || value.get(number) != simdjson::SUCCESS || (number != 0 && number != 1)) return false;
  out.value = number != 0 ? 1 : 0;
  return true;
}

template <typename T>
bool Truncate(double number, T& out) {
  number = std::trunc(number);
  // 2 to the power of the type's digits is exact as a double, where the largest value itself may not be.
  const double beyond = std::ldexp(1.0, std::numeric_limits<T>::digits);
  const double lowest = std::is_signed_v<T> ? -beyond : 0.0;
  if (!(number >= lowest && number < beyond)) return false;
  out = static_cast<T>(number);
  return true;
}

template <typename T>
requires std::is_integral_v<T>
bool Convert(JsonValue value, NumberRule rule, T& out) {
  using Wide = std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>;
  Wide wide = 0;
  if (value.get(wide) == simdjson::SUCCESS) {
    out = static_cast<T>(wide);
    return static_cast<Wide>(out) == wide;
  }
  double number = 0;
  if (rule == NumberRule::kExact || value.get(number) != simdjson::SUCCESS) return false;
  return Truncate(number, out);
}

bool Read(const NumberToken& token, NumberRule, double& out) { return ToDouble(token, out); }

bool Narrow(float value, float& out) {
  out = value;
  return true;
}

bool Narrow(float value, Half& out) {
  out.bits = FloatToHalf(value);
  return (out.bits & 0x7C00) != 0x7C00;
}

bool Narrow(float value, Brain& out) {
  out.bits = FloatToBfloat16(value);
  return (out.bits & 0x7F80) != 0x7F80;
}

template <typename T>
requires std::is_integral_v<T>
bool Read(const NumberToken& token, NumberRule rule, T& out) {
  if (token.integer) {
    const uint64_t digits = token.digits;
    // What needs all of 64 bits is the general parser's.
    if (token.many || digits > uint64_t{std::numeric_limits<int64_t>::max()}) return false;
    const int64_t wide = token.negative ? -static_cast<int64_t>(digits) : static_cast<int64_t>(digits);
    out = static_cast<T>(wide);
    return std::in_range<T>(wide);
  }
  double number = 0;
  return rule == NumberRule::kCast && ToDouble(token, number) && Truncate(number, out);
}

}  // namespace

bool IsBase64Object(JsonValue value) {
  JsonObject object;
  if (value.get(object) != simdjson::SUCCESS || object.size() != 1) return false;
  const auto field = *object.begin();
  return field.key == "b64" && field.value.is_string();
}

bool IsValueObject(JsonValue value) { return IsBase64Object(value) || !BareWord(value).empty(); }

JsonElements::JsonElements(ElementType type, NumberRule rule, size_t hint, size_t limit)
    : type_(type), rule_(rule), limit_(std::max<size_t>(limit, 1)) {
  if (type_ == ElementType::kBytes) return;
  capacity_ = std::clamp<size_t>(hint, 1, limit_);
  values_ = Buffer::Allocate(capacity_ * ElementSize(type_));
}

void JsonElements::Grow() {
  capacity_ = std::max(std::min(2 * capacity_, limit_), count_ + 1);
  Buffer larger = Buffer::Allocate(capacity_ * ElementSize(type_));
  std::memcpy(larger.data(), values_.data(), count_ * ElementSize(type_));
  values_ = std::move(larger);
}

Status JsonElements::Unfit(JsonValue value) const {
  return InvalidArgument("{} ({}) is not a value of {}", JsonExcerpt(value), JsonTypeName(value), KserveName(type_));
}

template <typename T, bool kNested>
Status JsonElements::AppendAs(JsonArray array) {
  for (const JsonValue value : array) {
    if (count_ == capacity_) Grow();
    T element;
    if (Convert(value, rule_, element)) {
      std::memcpy(values_.data() + count_++ * sizeof(T), &element, sizeof(T));
    } else if (JsonArray inner; kNested && value.get(inner) == simdjson::SUCCESS) {
      Status status = AppendAs<T, kNested>(inner);
      if (!status.ok()) return status;
    } else {
      return Unfit(value);
    }
  }
  return Status();
}

Status JsonElements::AppendString(JsonValue value) {
  std::string_view text;
  if (value.get(text) == simdjson::SUCCESS) {
    strings_.push_back(text);
  } else if (rule_ == NumberRule::kCast && IsBase64Object(value)) {
    auto bytes = DecodeBase64(value["b64"].get_string().value_unsafe());
    if (!bytes) return InvalidArgument("the value of \"b64\" is not base64");
    strings_.push_back(decoded_.emplace_back(*std::move(bytes)));
  } else {
    return Unfit(value);
  }
  ++count_;
  return Status();
}

template <bool kNested>
Status JsonElements::AppendArray(JsonArray array) {
  switch (type_) {
    case ElementType::kBool: return AppendAs<Bool, kNested>(array);
    case ElementType::kInt8: return AppendAs<int8_t, kNested>(array);
    case ElementType::kInt16: return AppendAs<int16_t, kNested>(array);
    case ElementType::kInt32: return AppendAs<int32_t, kNested>(array);
    case ElementType::kInt64: return AppendAs<int64_t, kNested>(array);
    case ElementType::kUint8: return AppendAs<uint8_t, kNested>(array);
    case ElementType::kUint16: return AppendAs<uint16_t, kNested>(array);
    case ElementType::kUint32: return AppendAs<uint32_t, kNested>(array);
    case ElementType::kUint64: return AppendAs<uint64_t, kNested>(array);
    case ElementType::kFp16: return AppendAs<Half, kNested>(array);
    case ElementType::kBf16: return AppendAs<Brain, kNested>(array);
    case ElementType::kFp32: return AppendAs<float, kNested>(array);
    case ElementType::kFp64: return AppendAs<double, kNested>(array);
    case ElementType::kBytes:
      for (const JsonValue value : array) {
        JsonArray inner;
        const bool nested = kNested && value.get(inner) == simdjson::SUCCESS;
        SY_RETURN_IF_ERROR(nested ? AppendArray<kNested>(inner) : AppendString(value));
      }
      return Status();
    case ElementType::kUndefined: break;
  }
  return InvalidArgument("the element type is not known");
}

// Behind the number at `at`; null when none is there that is a value of the type.
template <typename T>
const char* ReadElement(const char* at, NumberRule rule, T& element) {
  if constexpr (std::is_integral_v<T> || std::is_same_v<T, double>) {
    NumberToken token;
    return ReadToken(at, token) && Read(token, rule, element) ? token.end : nullptr;
  } else {
    float value = 0;
    const char* const end = ReadFloat(at, value);
    return end != nullptr && Narrow(value, element) ? end : nullptr;
  }
}

// The numbers from `at` on that stand side by side; null when something else does.
template <typename T>
const char* JsonElements::AppendRow(const char* at, int64_t& size) {
  for (size = 1;; ++size) {
    if (count_ == capacity_) Grow();
    T element;
    at = ReadElement(at, rule_, element);
    if (at == nullptr) return nullptr;
    std::memcpy(values_.data() + count_++ * sizeof(T), &element, sizeof(T));
    at = SkipJsonSpace(at);
    if (*at != ',') return at;
    at = SkipJsonSpace(at + 1);
  }
}

// Nothing behind the bracket at the end of `text` is looked at but by what reads a number, which looks ahead.
template <typename T>
bool JsonElements::AppendNumbersAs(std::string_view text, Shape& shape) {
  const char* at = text.data();
  const char* const end = at + text.size();
  absl::InlinedVector<int64_t, 8> sizes;  // of the arrays that are open, as far as they were read
  shape.clear();
  if (text.empty() || text.front() != '[' || text.back() != ']') return false;
  while (true) {
    for (; *at == '['; at = SkipJsonSpace(at + 1)) sizes.push_back(0);
    if (shape.empty()) shape.assign(sizes.size(), -1);
    if (sizes.size() != shape.size()) return false;
    at = AppendRow<T>(at, sizes.back());
    if (at == nullptr) return false;
    for (; *at == ']'; at = SkipJsonSpace(at)) {
      int64_t& size = shape[sizes.size() - 1];
      if (size < 0) size = sizes.back();
      if (size != sizes.back()) return false;
      sizes.pop_back();
      ++at;
      if (sizes.empty() || at == end) return sizes.empty() && at == end;
      ++sizes.back();
    }
    if (*at != ',') return false;
    at = SkipJsonSpace(at + 1);
    if (*at != '[') return false;
  }
}

bool JsonElements::AppendNumbers(std::string_view text, Shape& shape) {
  switch (type_) {
    case ElementType::kInt8: return AppendNumbersAs<int8_t>(text, shape);
    case ElementType::kInt16: return AppendNumbersAs<int16_t>(text, shape);
    case ElementType::kInt32: return AppendNumbersAs<int32_t>(text, shape);
    case ElementType::kInt64: return AppendNumbersAs<int64_t>(text, shape);
    case ElementType::kUint8: return AppendNumbersAs<uint8_t>(text, shape);
    case ElementType::kUint16: return AppendNumbersAs<uint16_t>(text, shape);
    case ElementType::kUint32: return AppendNumbersAs<uint32_t>(text, shape);
    case ElementType::kUint64: return AppendNumbersAs<uint64_t>(text, shape);
    case ElementType::kFp16: return AppendNumbersAs<Half>(text, shape);
    case ElementType::kBf16: return AppendNumbersAs<Brain>(text, shape);
    case ElementType::kFp32: return AppendNumbersAs<float>(text, shape);
    case ElementType::kFp64: return AppendNumbersAs<double>(text, shape);
    default: return false;  // true and false, and texts
  }
}

Status JsonElements::AppendLeaves(JsonArray array) { return AppendArray<false>(array); }

Status JsonElements::AppendFlat(JsonValue value) {
  JsonArray array;
  if (value.get(array) == simdjson::SUCCESS) return AppendArray<true>(array);
  return AppendLeaf(value);
}

template <typename T>
static bool StoreOne(JsonValue value, NumberRule rule, std::byte* to) {
  T element;
  if (!Convert(value, rule, element)) return false;
  std::memcpy(to, &element, sizeof(T));
  return true;
}

Status JsonElements::AppendLeaf(JsonValue value) {
  if (type_ == ElementType::kBytes) return AppendString(value);
  if (count_ == capacity_) Grow();
  std::byte* to = values_.data() + count_ * ElementSize(type_);
  const bool stored = [&] {
    switch (type_) {
      case ElementType::kBool: return StoreOne<Bool>(value, rule_, to);
      case ElementType::kInt8: return StoreOne<int8_t>(value, rule_, to);
      case ElementType::kInt16: return StoreOne<int16_t>(value, rule_, to);
      case ElementType::kInt32: return StoreOne<int32_t>(value, rule_, to);
      case ElementType::kInt64: return StoreOne<int64_t>(value, rule_, to);
      case ElementType::kUint8: return StoreOne<uint8_t>(value, rule_, to);
      case ElementType::kUint16: return StoreOne<uint16_t>(value, rule_, to);
      case ElementType::kUint32: return StoreOne<uint32_t>(value, rule_, to);
      case ElementType::kUint64: return StoreOne<uint64_t>(value, rule_, to);
      case ElementType::kFp16: return StoreOne<Half>(value, rule_, to);
      case ElementType::kBf16: return StoreOne<Brain>(value, rule_, to);
      case ElementType::kFp32: return StoreOne<float>(value, rule_, to);
      case ElementType::kFp64: return StoreOne<double>(value, rule_, to);
      default: return false;
    }
  }();
  if (!stored) return Unfit(value);
  ++count_;
  return Status();
}

TensorView JsonElements::Finish(std::vector<Buffer>& memory, std::vector<std::unique_ptr<std::string_view[]>>& tables) {
  TensorView view;
  view.type = type_;
  view.origin = TensorView::Origin::kValues;
  if (type_ != ElementType::kBytes) {
    view.data = values_.data();
    view.bytes = count_ * ElementSize(type_);
    memory.push_back(std::move(values_));
    return view;
  }
  // The document goes before the request does, so its texts move into memory of the request.
  size_t total = 0;
  for (const std::string_view text : strings_) total += text.size();
  Buffer blob = Buffer::Allocate(total);
  auto table = std::make_unique<std::string_view[]>(strings_.size());
  char* to = reinterpret_cast<char*>(blob.data());
  for (size_t i = 0; i < strings_.size(); ++i) {
    if (!strings_[i].empty()) std::memcpy(to, strings_[i].data(), strings_[i].size());
    table[i] = {to, strings_[i].size()};
    to += strings_[i].size();
  }
  view.strings = absl::Span<const std::string_view>(table.get(), strings_.size());
  memory.push_back(std::move(blob));
  tables.push_back(std::move(table));
  return view;
}

}  // namespace switchyard
