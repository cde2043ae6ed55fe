#include <cstdint>
#include <cstring>
#include <utility>

#include "base/utf8.h"
#include "protocol/kserve/grpc_codec.h"
#include "protocol/kserve/shared_memory.h"
#include "protocol/wire/wire_writer.h"
#include "tensor/element_type.h"

namespace switchyard::kserve {
namespace {

using wire::AppendField;
using wire::AppendHead;
using wire::AppendVarint;
using wire::FieldSize;

// Below this, copying costs less than carrying a reference through gRPC.
constexpr size_t kCopiedBytes = 4096;

// An entry of map<string, InferParameter>, field 4 of whatever has parameters.
void AppendParameter(std::string& text, std::string_view key, std::string_view value) {
  const size_t size = FieldSize(3, value.size());
  AppendHead(text, 4, FieldSize(1, key.size()) + FieldSize(2, size));
  AppendField(text, 1, key);
  AppendHead(text, 2, size);
  AppendField(text, 3, value);
}

void AppendParameter(std::string& text, std::string_view key, uint64_t value) {
  // As a signed number where it is one: all clients know that field.
  const uint32_t field = value <= INT64_MAX ? 2 : 5;
  const size_t size = wire::VarintFieldSize(field, value);
  AppendHead(text, 4, FieldSize(1, key.size()) + FieldSize(2, size));
  AppendField(text, 1, key);
  AppendHead(text, 2, size);
  wire::AppendVarintField(text, field, value);
}

void AppendFlag(std::string& text, std::string_view key, bool value) {
  const size_t size = wire::VarintFieldSize(1, value);
  AppendHead(text, 4, FieldSize(1, key.size()) + FieldSize(2, size));
  AppendField(text, 1, key);
  AppendHead(text, 2, size);
  wire::AppendVarintField(text, 1, value);
}

// An InferOutputTensor without its elements.
void AppendOutput(std::string& text, const NamedOutput& output) {
  const std::string_view datatype = KserveName(output.tensor.type);
  const size_t shape = wire::PackedSize(output.tensor.shape);
  std::string place;
  if (output.shared != nullptr) {
    AppendParameter(place, kRegionParameter, output.shared->region);
    AppendParameter(place, kBytesParameter, static_cast<uint64_t>(output.tensor.bytes));
    if (output.shared->offset != 0) AppendParameter(place, kOffsetParameter, output.shared->offset);
  }
  AppendHead(text, 5, FieldSize(1, output.spec->name.size()) + FieldSize(2, datatype.size()) +
                          (output.tensor.shape.empty() ? 0 : FieldSize(3, shape)) + place.size());
  AppendField(text, 1, output.spec->name);
  AppendField(text, 2, datatype);
  if (!output.tensor.shape.empty()) {
    AppendHead(text, 3, shape);
    for (const int64_t dim : output.tensor.shape) AppendVarint(text, static_cast<uint64_t>(dim));
  }
  text += place;
}

void AppendStrings(std::string& text, const std::vector<std::string>& strings) {
  size_t size = 0;
  for (const std::string& string : strings) size += 4 + string.size();
  AppendHead(text, 6, size);
  text.reserve(text.size() + size);
  for (const std::string& string : strings) {
    const auto length = static_cast<uint32_t>(string.size());
    char prefix[4];
    std::memcpy(prefix, &length, sizeof(prefix));
    text.append(prefix, sizeof(prefix));
    text.append(string);
  }
}

void AppendSequenceId(std::string& text, const SequenceId& id) {
  if (id.name.empty()) {
    AppendParameter(text, "sequence_id", id.number);
  } else {
    AppendParameter(text, "sequence_id", id.name);
  }
}

}  // namespace

Frame EncodeInferResponse(const InferCall& call) {
  size_t copied = 64 + call.version->model_name().size() + call.request.id.size();
  for (const NamedOutput& output : call.outputs) {
    copied += 64 + output.spec->name.size() + (output.tensor.bytes <= kCopiedBytes ? output.tensor.bytes : 0);
  }
  Frame frame;
  std::string text;
  text.reserve(copied);
  AppendField(text, 1, call.version->model_name());
  AppendField(text, 2, call.version->number_text());
  if (!call.request.id.empty()) AppendField(text, 3, call.request.id);
  if (call.sequence != nullptr && call.request.sequence->by_parameters) AppendSequenceId(text, call.sequence->id());
  for (const NamedOutput& output : call.outputs) AppendOutput(text, output);
  for (const NamedOutput& output : call.outputs) {
    const OutputTensor& tensor = output.tensor;
    if (output.shared != nullptr) {
      AppendHead(text, 6, 0);
      continue;
    }
    if (tensor.type == ElementType::kBytes) {
      AppendStrings(text, tensor.strings);
      continue;
    }
    AppendHead(text, 6, tensor.bytes);
    if (tensor.bytes <= kCopiedBytes) {
      text.append(reinterpret_cast<const char*>(tensor.data), tensor.bytes);
    } else {
      frame.Append(std::exchange(text, {}));
      frame.Append(tensor.data, tensor.bytes, tensor.owner);
    }
  }
  frame.Append(std::move(text));
  return frame;
}

Frame EncodeStreamResponse(const InferCall& call) {
  Frame response = EncodeInferResponse(call);
  // Triton's clients, asked to, read on until an answer says that it is the last of its request.
  std::string last;
  AppendFlag(last, "triton_final_response", true);
  std::string head;
  AppendHead(head, 2, response.size() + last.size());
  head += last;
  Frame frame(std::move(head));
  for (Frame::Segment& segment : response.segments()) {
    if (segment.data == nullptr) {
      frame.Append(std::move(segment.own));
    } else {
      frame.Append(segment.data, segment.size, std::move(segment.owner));
    }
  }
  return frame;
}

Frame EncodeStreamError(const Status& error, std::string_view id) {
  std::string text;
  AppendField(text, 1, MakeUtf8(Message(error)));
  AppendHead(text, 2, id.empty() ? 0 : FieldSize(3, id.size()));
  if (!id.empty()) AppendField(text, 3, id);
  return Frame(std::move(text));
}

}  // namespace switchyard::kserve
