#include <fmt/format.h>

#include <random>

#include "tools/client_tensor.h"
#include "tools/files.h"
#include "tools/json_tensor.h"
#include "tools/npy.h"

namespace switchyard {
namespace {

// Gives flat values the model's shape. A nested array, and an array of the model's rank, keep the shape they were written in,
// also when it is wrong: it is the server's word on it that the user wants to see.
Status FitShape(const ClientTensorSpec& spec, const Shape* shape, ClientTensor* tensor) {
  if (shape != nullptr) {
    tensor->shape = *shape;
    return CheckCount(*tensor);
  }
  if (tensor->shape.size() == spec.shape.size() || tensor->shape.size() > 1) return absl::OkStatus();
  SY_ASSIGN_OR_RETURN(tensor->shape, DeduceShape(spec.shape, tensor->count()));
  return absl::OkStatus();
}

Status ReadRaw(const ClientTensorSpec& spec, const Shape* shape, std::string bytes, ClientTensor* tensor) {
  if (spec.type == ElementType::kBytes) {
    tensor->strings.push_back(std::move(bytes));
  } else {
    tensor->data = std::move(bytes);
    const size_t size = ElementSize(spec.type);
    if (tensor->data.size() % size != 0) {
      return InvalidArgument("{} bytes are not a whole number of {} elements ({} bytes each)", tensor->data.size(),
                             KserveName(spec.type), size);
    }
  }
  if (shape != nullptr) {
    tensor->shape = *shape;
    return CheckCount(*tensor);
  }
  SY_ASSIGN_OR_RETURN(tensor->shape, DeduceShape(spec.shape, tensor->count()));
  return absl::OkStatus();
}

// Not the standard's distributions, whose values differ between libraries: the same input must be the same everywhere.
Status FillRandom(uint64_t seed, ClientTensor* tensor) {
  constexpr size_t kMostElements = size_t{1} << 31;
  const auto count = ElementCount(tensor->shape);
  if (!count || *count > kMostElements) {
    return InvalidArgument("shape {} is not one that random values can be made for", ToString(tensor->shape));
  }
  std::mt19937_64 engine(seed);
  for (size_t i = 0; i < *count; ++i) {
    const uint64_t bits = engine();
    Number number = static_cast<double>(bits >> 40) / (1 << 24);  // [0, 1)
    switch (tensor->type) {
      case ElementType::kBytes:
        tensor->strings.push_back(fmt::format("{:08x}", bits >> 32));
        continue;
      case ElementType::kBool:
        number = bits & 1;
        break;
      case ElementType::kUint8:
        number = bits & 0xff;
        break;
      case ElementType::kFp16:
      case ElementType::kBf16:
      case ElementType::kFp32:
      case ElementType::kFp64:
        break;
      default:
        number = bits % 100;
        break;
    }
    SY_RETURN_IF_ERROR(AppendNumber(tensor->type, number, &tensor->data));
  }
  return absl::OkStatus();
}

Status FillFromFile(const ClientTensorSpec& spec, const std::string& path, const Shape* shape, ClientTensor* tensor) {
  SY_ASSIGN_OR_RETURN(std::string bytes, ReadFile(path));
  if (path.ends_with(".npy")) {
    SY_ASSIGN_OR_RETURN(ClientTensor array, ParseNpy(bytes));
    SY_ASSIGN_OR_RETURN(array, ConvertTo(spec.type, std::move(array)));
    tensor->data = std::move(array.data);
    tensor->shape = std::move(array.shape);
    return FitShape(spec, shape, tensor);
  }
  if (path.ends_with(".json")) {
    SY_RETURN_IF_ERROR(ParseJsonText(bytes, tensor));
    return FitShape(spec, shape, tensor);
  }
  return ReadRaw(spec, shape, std::move(bytes), tensor);
}

Status Fill(const ClientTensorSpec& spec, const std::string& text, const Shape* shape, uint64_t seed, ClientTensor* tensor) {
  if (spec.type == ElementType::kUndefined)
    return InvalidArgument("the server's metadata gives it a datatype that is not known");
  if (text.starts_with('@')) return FillFromFile(spec, text.substr(1), shape, tensor);
  if (text == "random") {
    tensor->shape = shape != nullptr ? *shape : spec.shape;
    if (shape == nullptr) {
      for (int64_t& dim : tensor->shape) dim = dim < 0 ? 1 : dim;
    }
    return FillRandom(seed, tensor);
  }
  // A word that is no JSON is a string, where a string is wanted: shells eat quotes.
  if (spec.type == ElementType::kBytes && !text.starts_with('"') && !text.starts_with('[')) {
    tensor->strings.push_back(text);
  } else {
    SY_RETURN_IF_ERROR(ParseJsonText(text, tensor));
  }
  return FitShape(spec, shape, tensor);
}

}  // namespace

StatusOr<Shape> DeduceShape(absl::Span<const int64_t> spec, size_t count) {
  Shape shape(spec.begin(), spec.end());
  size_t open = 0, last_open = 0, known = 1;
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] < 0) {
      ++open;
      last_open = i;
    } else if (__builtin_mul_overflow(known, static_cast<size_t>(shape[i]), &known)) {
      return InvalidArgument("shape {} is too large", ToString(spec));
    }
  }
  if (open == 0) {
    if (known != count) return InvalidArgument("{} values do not fit shape {}; it has {}", count, ToString(spec), known);
    return shape;
  }
  if (known == 0 || count % known != 0) return InvalidArgument("{} values do not fit shape {}", count, ToString(spec));
  const bool batch_open =
      open > 1 && shape[0] < 0;  // by convention the batch, of which there is one unless something else says so
  if (open - (batch_open ? 1 : 0) > 1 && count != known) {
    return InvalidArgument("{} values may have many shapes that fit {}; choose one with --shape name=...", count,
                           ToString(spec));
  }
  for (size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] < 0) shape[i] = i == last_open ? static_cast<int64_t>(count / known) : 1;
  }
  return shape;
}

StatusOr<ClientTensor> MakeInput(const ClientTensorSpec& spec, const std::string& text, const Shape* shape, uint64_t seed) {
  ClientTensor tensor{spec.name, spec.type, {}, {}, {}};
  const Status status = Fill(spec, text, shape, seed, &tensor);
  if (!status.ok()) return Annotate(status, fmt::format("--input {}", spec.name));
  return tensor;
}

}  // namespace switchyard
