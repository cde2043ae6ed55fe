#include "serving/shared_tensors.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "serving/infer_call.h"
#include "serving/string_outputs.h"

namespace switchyard {
namespace {

// Of what is copied out of a region for one tensor.
constexpr uint64_t kMaxCopiedBytes = uint64_t{1} << 30;

// Where the place is; null when it is not within the region.
std::byte* Find(const RegionHandle& region, const SharedPlace& place) {
  const bool within = place.offset <= region.size() && place.bytes <= region.size() - place.offset;
  return within ? region.data() + place.offset : nullptr;
}

Status Resolve(const SharedRegions& regions, const std::string& what, SharedTensors& shared, SharedTensors::Tensor& tensor) {
  const SharedPlace& place = tensor.place;
  auto held = std::find_if(shared.regions.begin(), shared.regions.end(),
                           [&](const RegionHandle& region) { return region.name() == place.region; });
  if (held == shared.regions.end()) {
    StatusOr<RegionHandle> region = regions.Acquire(place.region);
    if (!region.ok()) return Annotate(region.status(), what);
    shared.regions.push_back(*std::move(region));
    held = shared.regions.end() - 1;
  }
  tensor.data = Find(*held, place);
  if (tensor.data != nullptr) return absl::OkStatus();
  return InvalidArgument(
      "Invalid place in shared memory - Expected: within the {} bytes of region {}; Actual: {} bytes from {} on; {}",
      held->size(), place.region, place.bytes, place.offset, what);
}

bool MayBeIndices(ElementType type) {
  return type == ElementType::kInt32 || type == ElementType::kInt64 || type == ElementType::kUint32 ||
         type == ElementType::kUint64;
}

// Each string behind its length in 4 bytes, little endian, up to the shape's number of elements: a region may be longer.
Status SplitStrings(const std::byte* data, size_t size, const NamedTensor& input, DecodedRequest& request, TensorView& tensor) {
  const auto count = ElementCount(tensor.shape);
  if (!count || *count > size / sizeof(uint32_t)) {
    return InvalidArgument(
        "Invalid number of values in shared memory - Expected: at most {}, in {} bytes; Actual: shape {}; "
        "input name: {}",
        size / sizeof(uint32_t), size, ToString(tensor.shape), input.name);
  }
  auto table = std::make_unique<std::string_view[]>(*count);
  size_t at = 0;
  for (size_t i = 0; i < *count; ++i) {
    uint32_t length = 0;
    if (size - at >= sizeof(length)) std::memcpy(&length, data + at, sizeof(length));
    if (size - at < sizeof(length) || length > size - at - sizeof(length)) {
      return InvalidArgument(
          "Shared memory does not match the expected format, a 4-byte length before each element - element: "
          "{}; input name: {}",
          i, input.name);
    }
    table[i] = {reinterpret_cast<const char*>(data) + at + sizeof(length), length};
    at += sizeof(length) + length;
  }
  tensor.strings = {table.get(), *count};
  request.string_tables.push_back(std::move(table));
  return absl::OkStatus();
}

Status TakeInput(const SharedTensors::Tensor& from, DecodedRequest& request) {
  NamedTensor& input = request.inputs[from.index];
  TensorView& tensor = input.tensor;
  const uint64_t bytes = from.place.bytes;
  tensor.origin = TensorView::Origin::kBytes;
  const bool strings = tensor.type == ElementType::kBytes;
  const bool aligned = strings || reinterpret_cast<uintptr_t>(from.data) % std::max<size_t>(1, ElementSize(tensor.type)) == 0;
  if (!strings && aligned && !MayBeIndices(tensor.type)) {
    tensor.data = from.data;
    tensor.bytes = static_cast<size_t>(bytes);
    return absl::OkStatus();
  }
  // The validator would say the same, but after the copy.
  const auto expected = strings ? std::optional<size_t>(bytes) : ByteCount(tensor.shape, ElementSize(tensor.type));
  if (expected != bytes || bytes > kMaxCopiedBytes) {
    return InvalidArgument("Invalid content size of tensor proto - Expected: {} bytes; Actual: {} bytes; input name: {}",
                           std::min<uint64_t>(expected.value_or(kMaxCopiedBytes), kMaxCopiedBytes), bytes, input.name);
  }
  Buffer copy = Buffer::Allocate(static_cast<size_t>(bytes));
  std::memcpy(copy.data(), from.data, static_cast<size_t>(bytes));
  tensor.data = strings ? nullptr : copy.data();
  tensor.bytes = strings ? 0 : static_cast<size_t>(bytes);
  const std::byte* const data = copy.data();
  request.memory.push_back(std::move(copy));
  return strings ? SplitStrings(data, static_cast<size_t>(bytes), input, request, tensor) : absl::OkStatus();
}

Status TooSmall(const TensorSpec& spec, size_t needed, const SharedPlace& place) {
  return InvalidArgument(
      "The place in shared memory is too small for the output - Expected: at least {} bytes (shared_memory_byte_size); Actual: "
      "{} bytes in region {}; output name: {}",
      needed, place.bytes, place.region, spec.name);
}

size_t FramedBytes(const std::vector<std::string>& strings) {
  size_t bytes = 0;
  for (const std::string& text : strings) bytes += sizeof(uint32_t) + text.size();
  return bytes;
}

void WriteStrings(const std::vector<std::string>& strings, std::byte* to) {
  for (const std::string& text : strings) {
    const auto length = static_cast<uint32_t>(text.size());
    std::memcpy(to, &length, sizeof(length));
    std::memcpy(to + sizeof(length), text.data(), text.size());
    to += sizeof(length) + text.size();
  }
}

}  // namespace

Status SharedTensors::Health() const {
  for (const RegionHandle& region : regions) SY_RETURN_IF_ERROR(region.Health());
  return absl::OkStatus();
}

Status ResolveShared(const SharedRegions* regions, InferCall& call) {
  DecodedRequest& request = call.request;
  if (request.shared == nullptr) return absl::OkStatus();
  if (regions == nullptr) {
    return Error(
        StatusCode::kPermissionDenied,
        "Shared memory is off on this server: start it with --allow_shared_memory, or send the tensors in the request");
  }
  SharedTensors& shared = *request.shared;
  for (SharedTensors::Tensor& tensor : shared.inputs) {
    SY_RETURN_IF_ERROR(Resolve(*regions, fmt::format("input name: {}", request.inputs[tensor.index].name), shared, tensor));
    SY_RETURN_IF_ERROR(TakeInput(tensor, request));
  }
  for (SharedTensors::Tensor& tensor : shared.outputs) {
    const std::string& name = request.requested_outputs[tensor.index];
    SY_RETURN_IF_ERROR(Resolve(*regions, fmt::format("output name: {}", name), shared, tensor));
  }
  // What was copied may be zeros of our own.
  return shared.Health();
}

Status PlaceOutputs(InferCall& call) {
  SharedTensors* const shared = call.request.shared.get();
  if (shared == nullptr || shared->outputs.empty()) return absl::OkStatus();
  const std::vector<TensorSpec>& outputs = call.version->signature().outputs;
  call.output_places.resize(outputs.size());
  for (SharedTensors::Tensor& tensor : shared->outputs) {
    const std::string& name = call.request.requested_outputs[tensor.index];
    const auto spec = std::find_if(outputs.begin(), outputs.end(), [&](const TensorSpec& each) { return each.name == name; });
    tensor.index = static_cast<size_t>(spec - outputs.begin());
    // Written as strings, whose size nobody knows yet.
    if (spec->type == ElementType::kBytes || GivesStringRows(*spec)) continue;
    const size_t size = ElementSize(spec->type);
    if (spec->shape.is_static()) {
      const size_t needed = ByteCount(spec->shape.ToShape(), size).value_or(std::numeric_limits<size_t>::max());
      if (needed > tensor.place.bytes) return TooSmall(*spec, needed, tensor.place);
    }
    if (reinterpret_cast<uintptr_t>(tensor.data) % size != 0) continue;
    call.output_places[tensor.index] = {tensor.data, static_cast<size_t>(tensor.place.bytes)};
  }
  return absl::OkStatus();
}

Status PutOutput(const InferCall& call, size_t index, NamedOutput& output) {
  const SharedTensors* const shared = call.request.shared.get();
  if (shared == nullptr) return absl::OkStatus();
  const auto found = std::find_if(shared->outputs.begin(), shared->outputs.end(),
                                  [&](const SharedTensors::Tensor& tensor) { return tensor.index == index; });
  if (found == shared->outputs.end()) return absl::OkStatus();
  OutputTensor& tensor = output.tensor;
  const bool strings = tensor.type == ElementType::kBytes;
  if (strings) tensor.bytes = FramedBytes(tensor.strings);
  if (tensor.bytes > found->place.bytes) return TooSmall(*output.spec, tensor.bytes, found->place);
  if (strings) {
    WriteStrings(tensor.strings, found->data);
    tensor.strings.clear();
  } else if (tensor.data != found->data && tensor.bytes > 0) {
    std::memcpy(found->data, tensor.data, tensor.bytes);
  }
  tensor.data = found->data;
  tensor.owner = nullptr;
  output.shared = &found->place;
  return absl::OkStatus();
}

}  // namespace switchyard
