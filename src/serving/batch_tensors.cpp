#include "serving/batch_tensors.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

namespace switchyard {
namespace {

size_t Product(absl::Span<const int64_t> dims) {
  size_t product = 1;
  for (const int64_t dim : dims) product *= static_cast<size_t>(dim);
  return product;
}

// How the rows of a tensor lie in memory: for each of `outer`, the batch's rows of `inner` elements each.
struct RowForm {
  RowForm(const Shape& shape, size_t batch_dim)
      : outer(Product(absl::MakeConstSpan(shape).first(batch_dim))),
        inner(Product(absl::MakeConstSpan(shape).subspan(batch_dim + 1))) {}
  size_t outer;
  size_t inner;
};

// For each of `outer`, copies `bytes` from one stride to another.
void CopyStrided(std::byte* to, size_t to_stride, const std::byte* from, size_t from_stride, size_t bytes, size_t outer) {
  for (size_t i = 0; i < outer && bytes > 0; ++i) std::memcpy(to + i * to_stride, from + i * from_stride, bytes);
}

TensorView JoinStrings(size_t batch_dim, const std::vector<const TensorView*>& parts, size_t rows, DecodedRequest& memory) {
  TensorView whole = *parts.front();
  whole.shape[batch_dim] = static_cast<int64_t>(rows);
  const RowForm form(whole.shape, batch_dim);
  const size_t count = form.outer * rows * form.inner;
  auto table = std::make_unique<std::string_view[]>(count);
  size_t at = 0;
  for (const TensorView* part : parts) {
    const size_t own = static_cast<size_t>(part->shape[batch_dim]) * form.inner;
    for (size_t i = 0; i < form.outer; ++i) {
      std::copy_n(part->strings.begin() + static_cast<std::ptrdiff_t>(i * own), own, table.get() + i * rows * form.inner + at);
    }
    at += own;
  }
  whole.strings = {table.get(), count};
  memory.string_tables.push_back(std::move(table));
  return whole;
}

TensorView JoinElements(size_t batch_dim, const std::vector<const TensorView*>& parts, size_t rows, DecodedRequest& memory) {
  TensorView whole = *parts.front();
  whole.shape[batch_dim] = static_cast<int64_t>(rows);
  const RowForm form(whole.shape, batch_dim);
  const size_t row_bytes = form.inner * ElementSize(whole.type);
  const size_t stride = rows * row_bytes;
  whole.bytes = form.outer * stride;
  Buffer buffer = Buffer::Allocate(whole.bytes);
  size_t at = 0;
  for (const TensorView* part : parts) {
    const size_t own = static_cast<size_t>(part->shape[batch_dim]) * row_bytes;
    CopyStrided(buffer.data() + at, stride, part->data, own, own, form.outer);
    at += own;
  }
  for (size_t i = 0; i < form.outer && at < stride; ++i) std::memset(buffer.data() + i * stride + at, 0, stride - at);
  whole.data = buffer.data();
  memory.memory.push_back(std::move(buffer));
  return whole;
}

Status NoMemory(std::string_view what) {
  return Error(StatusCode::kUnavailable, "The server has no memory left for {} of a batch; send less at once or try later",
               what);
}

}  // namespace

StatusOr<size_t> RowsOf(const Signature& signature, const InferCall& call) {
  size_t rows = 0;
  for (size_t i = 0; i < signature.inputs.size(); ++i) {
    const TensorSpec& spec = signature.inputs[i];
    const auto own = static_cast<size_t>(call.bound_inputs[i].shape[*spec.batch_dim]);
    if (i == 0) rows = own;
    if (own == rows) continue;
    return InvalidArgument("Invalid input batch size - Expected: {}, as of input {}; Actual: {}; input name: {}", rows,
                           signature.inputs.front().name, own, spec.name);
  }
  return rows;
}

bool MayJoin(const Signature& signature, const InferCall& a, const InferCall& b) {
  for (size_t i = 0; i < signature.inputs.size(); ++i) {
    const size_t batch_dim = *signature.inputs[i].batch_dim;
    const Shape& one = a.bound_inputs[i].shape;
    const Shape& other = b.bound_inputs[i].shape;
    if (one.size() != other.size()) return false;
    for (size_t dim = 0; dim < one.size(); ++dim) {
      if (dim != batch_dim && one[dim] != other[dim]) return false;
    }
  }
  return true;
}

Status JoinInputs(const Signature& signature, const std::vector<std::shared_ptr<InferCall>>& calls, size_t rows,
                  InferCall& batch) try {
  for (size_t i = 0; i < signature.inputs.size(); ++i) {
    const size_t batch_dim = *signature.inputs[i].batch_dim;
    std::vector<const TensorView*> parts;
    for (const auto& call : calls) parts.push_back(&call->bound_inputs[i]);
    const TensorView& first = *parts.front();
    if (first.shape[batch_dim] == static_cast<int64_t>(rows)) {
      batch.bound_inputs.push_back(first);
      continue;
    }
    batch.bound_inputs.push_back(first.type == ElementType::kBytes ? JoinStrings(batch_dim, parts, rows, batch.request)
                                                                   : JoinElements(batch_dim, parts, rows, batch.request));
  }
  return absl::OkStatus();
} catch (const std::bad_alloc&) {
  return NoMemory("the inputs");
}

StatusOr<OutputTensor> SliceOutput(const TensorSpec& spec, const OutputTensor& whole, size_t first, size_t count,
                                   size_t total) try {
  const size_t batch_dim = spec.batch_dim.value_or(0);
  if (batch_dim >= whole.shape.size() || whole.shape[batch_dim] != static_cast<int64_t>(total)) {
    return Error(
        StatusCode::kInternal,
        "Output {} has the shape {} for a batch of {} rows, so that they cannot be told apart; remove dynamic_batching",
        spec.name, ToString(whole.shape), total);
  }
  const RowForm form(whole.shape, batch_dim);
  OutputTensor part{.type = whole.type, .shape = whole.shape};
  part.shape[batch_dim] = static_cast<int64_t>(count);
  if (whole.type == ElementType::kBytes) {
    for (size_t i = 0; i < form.outer; ++i) {
      const auto begin = whole.strings.begin() + static_cast<std::ptrdiff_t>((i * total + first) * form.inner);
      part.strings.insert(part.strings.end(), begin, begin + static_cast<std::ptrdiff_t>(count * form.inner));
    }
    return part;
  }
  const size_t row_bytes = form.inner * ElementSize(whole.type);
  part.bytes = form.outer * count * row_bytes;
  if (form.outer == 1) {
    part.data = whole.data + first * row_bytes;
    part.owner = whole.owner;
    return part;
  }
  auto memory = std::make_shared<Buffer>(Buffer::Allocate(part.bytes));
  CopyStrided(memory->data(), count * row_bytes, whole.data + first * row_bytes, total * row_bytes, count * row_bytes,
              form.outer);
  part.data = memory->data();
  part.owner = std::move(memory);
  return part;
} catch (const std::bad_alloc&) {
  return NoMemory("the outputs");
}

}  // namespace switchyard
