#include <cstring>
#include <string>
#include <string_view>
#include <utility>

#include "protocol/tfs/dtype.h"
#include "protocol/tfs/grpc_codec.h"
#include "protocol/tfs/signature_names.h"
#include "protocol/wire/wire_writer.h"
#include "serving/sequences.h"

namespace switchyard::tfs {
namespace {

using wire::AppendField;
using wire::AppendHead;
using wire::AppendVarintField;
using wire::FieldSize;
using wire::VarintFieldSize;

// Below this, copying costs less than carrying a reference through gRPC.
constexpr size_t kCopiedBytes = 4096;

// Field numbers of TensorProto.
constexpr uint32_t kDtype = 1;
constexpr uint32_t kTensorShape = 2;
constexpr uint32_t kTensorContent = 4;
constexpr uint32_t kStringVal = 8;
constexpr uint32_t kUint64Val = 17;

size_t DimSize(int64_t dim) { return VarintFieldSize(1, static_cast<uint64_t>(dim)); }

size_t ShapeSize(const Shape& shape) {
  size_t size = 0;
  for (const int64_t dim : shape) size += FieldSize(2, DimSize(dim));
  return size;
}

// Clients read it there, as OVMS has it.
bool IsSequenceId(const NamedOutput& output) { return output.spec == &SequenceIdOutput(); }

uint64_t NumberOf(const OutputTensor& tensor) {
  uint64_t number;
  std::memcpy(&number, tensor.data, sizeof(number));
  return number;
}

size_t PayloadSize(const NamedOutput& output) {
  const OutputTensor& tensor = output.tensor;
  if (IsSequenceId(output)) return FieldSize(kUint64Val, wire::VarintSize(NumberOf(tensor)));
  if (tensor.type != ElementType::kBytes) return FieldSize(kTensorContent, tensor.bytes);
  size_t size = 0;
  for (const std::string& string : tensor.strings) size += FieldSize(kStringVal, string.size());
  return size;
}

// One entry of map<string, TensorProto> outputs.
void AppendOutput(std::string& text, const NamedOutput& output, Frame& frame) {
  const OutputTensor& tensor = output.tensor;
  const size_t shape = ShapeSize(tensor.shape);
  const auto dtype = static_cast<uint64_t>(DtypeNumber(tensor.type));
  const size_t proto = VarintFieldSize(kDtype, dtype) + FieldSize(kTensorShape, shape) + PayloadSize(output);
  AppendHead(text, 1, FieldSize(1, output.spec->name.size()) + FieldSize(2, proto));
  AppendField(text, 1, output.spec->name);
  AppendHead(text, 2, proto);
  AppendVarintField(text, kDtype, dtype);
  AppendHead(text, kTensorShape, shape);
  for (const int64_t dim : tensor.shape) {
    AppendHead(text, 2, DimSize(dim));
    AppendVarintField(text, 1, static_cast<uint64_t>(dim));
  }
  if (tensor.type == ElementType::kBytes) {
    for (const std::string& string : tensor.strings) AppendField(text, kStringVal, string);
    return;
  }
  if (IsSequenceId(output)) {
    AppendHead(text, kUint64Val, wire::VarintSize(NumberOf(tensor)));
    return wire::AppendVarint(text, NumberOf(tensor));
  }
  AppendHead(text, kTensorContent, tensor.bytes);
  if (tensor.bytes <= kCopiedBytes) {
    text.append(reinterpret_cast<const char*>(tensor.data), tensor.bytes);
    return;
  }
  frame.Append(std::exchange(text, {}));
  frame.Append(tensor.data, tensor.bytes, tensor.owner);
}

}  // namespace

Frame EncodePredictResponse(const InferCall& call) {
  Frame frame;
  std::string text;
  size_t copied = 96 + call.version->model_name().size();
  for (const NamedOutput& output : call.outputs) {
    copied += 96 + output.spec->name.size() + (output.tensor.bytes <= kCopiedBytes ? output.tensor.bytes : 0);
  }
  text.reserve(copied);
  const std::string& name = call.version->model_name();
  const auto number = static_cast<uint64_t>(call.version->number());
  const size_t version = VarintFieldSize(1, number);
  AppendHead(text, 2, FieldSize(1, name.size()) + FieldSize(2, version) + FieldSize(3, kSignatureName.size()));
  AppendField(text, 1, name);
  AppendHead(text, 2, version);
  AppendVarintField(text, 1, number);
  AppendField(text, 3, kSignatureName);
  for (const NamedOutput& output : call.outputs) AppendOutput(text, output, frame);
  frame.Append(std::move(text));
  return frame;
}

}  // namespace switchyard::tfs
