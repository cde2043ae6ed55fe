#include <algorithm>
#include <cstring>
#include <utility>

#include <absl/container/flat_hash_map.h>

#include "protocol/tfs/dtype.h"
#include "protocol/tfs/grpc_codec.h"
#include "protocol/wire/value_list.h"
#include "protocol/wire/wire_reader.h"
#include "serving/encoded_inputs.h"

namespace switchyard::tfs {
namespace {

using wire::kLengthDelimited;
using wire::kMaxRank;
using wire::kMaxTensors;
using wire::kVarint;
using wire::RequestArena;
using wire::Tag;
using wire::ValueList;
using wire::WireReader;

constexpr size_t kMaxExpandedBytes = size_t{1} << 30;
// What a string takes beside its text, until the model has it.
constexpr size_t kStringOverhead = 128;

// The value fields of TensorProto by number; nothing for what carries no elements that a tensor here can have.
std::optional<ValueList::Kind> ValueKind(uint32_t field) {
  using Kind = ValueList::Kind;
  switch (field) {
    case 5: return Kind::kFloat;
    case 6: return Kind::kDouble;
    case 7: return Kind::kInt32;
    case 8: return Kind::kBytes;
    case 10: return Kind::kInt64;
    case 11: return Kind::kBool;
    case 13: return Kind::kInt32;
    case 16: return Kind::kUint32;
    case 17: return Kind::kUint64;
    default: return std::nullopt;
  }
}

// A TensorProto as it is read. Two of them for one map entry are merged, as protobuf does.
struct WireTensor {
  int32_t dtype = 0;
  Shape shape;
  bool unknown_rank = false;
  std::string_view content;
  ValueList values;
};

struct ModelSpec {
  int64_t version = 0;
  std::string label;
  std::string signature_name;
};

class Decoder {
 public:
  Decoder(google::protobuf::io::ZeroCopyInputStream& message, size_t size, DecodedRequest& request)
      : reader_(message, size), arena_(request), request_(request) {}

  Status Decode();

 private:
  void ReadModelSpec();
  int64_t ReadInt64Value(int64_t value);
  void ReadInput();
  void ReadTensor(WireTensor& tensor);
  void ReadShape(WireTensor& tensor);
  int64_t ReadDim();
  Status Finish(WireTensor& wire, NamedTensor& input);
  Status TakeValues(ValueList& values, NamedTensor& input);
  void DropOverwrittenInputs();

  // Keeps the first fault; the rest is read all the same, so that a malformed message is always told as one.
  void Note(Status fault) {
    if (fault_.ok()) fault_ = std::move(fault);
  }

  WireReader reader_;
  RequestArena arena_;
  DecodedRequest& request_;
  ModelSpec spec_;
  Status fault_;
};

int64_t Decoder::ReadInt64Value(int64_t value) {
  const auto message = reader_.Enter();
  while (reader_.Next()) {
    if (reader_.tag() == Tag(1, kVarint)) {
      value = static_cast<int64_t>(reader_.Varint());
    } else {
      reader_.Skip();
    }
  }
  return value;
}

void Decoder::ReadModelSpec() {
  const auto message = reader_.Enter();
  while (reader_.Next()) {
    switch (reader_.tag()) {
      case Tag(1, kLengthDelimited): reader_.Text(request_.model_name); break;
      case Tag(2, kLengthDelimited):
        // One of a oneof: the last one that comes is meant.
        spec_.version = ReadInt64Value(spec_.version);
        spec_.label.clear();
        break;
      case Tag(3, kLengthDelimited): reader_.Text(spec_.signature_name); break;
      case Tag(4, kLengthDelimited):
        reader_.Text(spec_.label);
        spec_.version = 0;
        break;
      default: reader_.Skip();
    }
  }
}

int64_t Decoder::ReadDim() {
  int64_t size = 0;
  const auto message = reader_.Enter();
  while (reader_.Next()) {
    if (reader_.tag() == Tag(1, kVarint)) {
      size = static_cast<int64_t>(reader_.Varint());
    } else {
      reader_.Skip();
    }
  }
  return size;
}

void Decoder::ReadShape(WireTensor& tensor) {
  const auto message = reader_.Enter();
  while (reader_.Next()) {
    switch (reader_.tag()) {
      case Tag(2, kLengthDelimited): {
        const int64_t dim = ReadDim();
        if (tensor.shape.size() <= kMaxRank) tensor.shape.push_back(dim);
        break;
      }
      case Tag(3, kVarint): tensor.unknown_rank = reader_.Varint() != 0; break;
      default: reader_.Skip();
    }
  }
}

void Decoder::ReadTensor(WireTensor& tensor) {
  const auto message = reader_.Enter();
  while (reader_.Next()) {
    if (const auto kind = ValueKind(reader_.field())) {
      tensor.values.Read(*kind, reader_, arena_);
      continue;
    }
    switch (reader_.tag()) {
      case Tag(1, kVarint): tensor.dtype = static_cast<int32_t>(reader_.Varint()); break;
      case Tag(2, kLengthDelimited): ReadShape(tensor); break;
      case Tag(4, kLengthDelimited): tensor.content = reader_.Bytes(arena_, kBufferAlignment); break;
      default: reader_.Skip();
    }
  }
}

void Decoder::ReadInput() {
  if (request_.inputs.size() >= kMaxTensors) {
    reader_.Fail();
    return;
  }
  request_.inputs.emplace_back();
  NamedTensor& input = request_.inputs.back();
  WireTensor tensor;
  {
    const auto message = reader_.Enter();
    while (reader_.Next()) {
      switch (reader_.tag()) {
        case Tag(1, kLengthDelimited): input.name = reader_.Text(arena_); break;
        case Tag(2, kLengthDelimited): ReadTensor(tensor); break;
        default: reader_.Skip();
      }
    }
  }
  if (reader_.ok()) Note(Finish(tensor, input));
}

Status Decoder::Finish(WireTensor& wire, NamedTensor& input) {
  if (wire.unknown_rank || wire.shape.size() > kMaxRank) {
    return InvalidArgument("Invalid number of shape dimensions - Expected: a known rank of at most {}; Actual: {}; input "
                           "name: {}",
                           kMaxRank, wire.unknown_rank ? "unknown" : "more", input.name);
  }
  const auto type = FromDtypeNumber(wire.dtype);
  if (!type) {
    return InvalidArgument("Invalid input precision - Expected: a dtype that a model can take, such as DT_FLOAT; Actual: "
                           "INVALID (tensorflow.DataType {}); input name: {}", wire.dtype, input.name);
  }
  input.tensor.type = *type;
  input.tensor.shape = std::move(wire.shape);
  if (wire.content.empty()) return wire.values.count() > 0 ? TakeValues(wire.values, input) : absl::OkStatus();
  if (*type == ElementType::kBytes) {
    return InvalidArgument("Invalid content of tensor proto - Expected: strings in string_val; Actual: tensor_content; "
                           "input name: {}",
                           input.name);
  }
  input.tensor.data = reinterpret_cast<const std::byte*>(wire.content.data());
  input.tensor.bytes = wire.content.size();
  return absl::OkStatus();
}

Status Decoder::TakeValues(ValueList& values, NamedTensor& input) {
  const ElementType type = input.tensor.type;
  const ValueField expected = ValueFieldOf(type);
  if (values.mixed() || values.field() != expected.number) {
    return InvalidArgument("Invalid number of values in tensor proto container - Expected: values of {} in {} alone; "
                           "Actual: values "
                           "in {}{}; input name: {}", DtypeName(type), expected.name, ValueFieldName(values.field()),
                           values.mixed() ? " and in other fields" : "", input.name);
  }
  input.tensor.origin = TensorView::Origin::kValues;
  if (type == ElementType::kBytes) {
    input.tensor.strings = arena_.Table(values.strings());
    return absl::OkStatus();
  }
  // half_val holds bits, of which the lower 16 count.
  const bool bits = type == ElementType::kFp16 || type == ElementType::kBf16;
  if (const size_t fitting = values.Narrow(type, bits); fitting != values.count()) {
    return InvalidArgument("Invalid value in {} - element {} is out of the range of {}; input name: {}", expected.name, fitting,
                           DtypeName(type), input.name);
  }
  input.tensor.data = values.data();
  input.tensor.bytes = values.bytes();
  return absl::OkStatus();
}

// Of the entries of a map with the same key, the last one counts.
void Decoder::DropOverwrittenInputs() {
  auto& inputs = request_.inputs;
  if (inputs.size() < 2) return;
  absl::flat_hash_map<std::string_view, size_t> last;
  for (size_t i = 0; i < inputs.size(); ++i) last[inputs[i].name] = i;
  if (last.size() == inputs.size()) return;
  size_t kept = 0;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (last[inputs[i].name] != i) continue;
    if (kept != i) inputs[kept] = std::move(inputs[i]);
    ++kept;
  }
  inputs.resize(kept);
}

Status Decoder::Decode() {
  while (reader_.Next()) {
    switch (reader_.tag()) {
      case Tag(1, kLengthDelimited): ReadModelSpec(); break;
      case Tag(2, kLengthDelimited): ReadInput(); break;
      case Tag(3, kLengthDelimited):
        if (request_.requested_outputs.size() >= kMaxTensors) {
          reader_.Fail();
        } else {
          reader_.Text(request_.requested_outputs.emplace_back());
        }
        break;
      default: reader_.Skip();
    }
  }
  if (!reader_.ok()) {
    return InvalidArgument("The message could not be decoded as tensorflow.serving.PredictRequest: it is malformed, has "
                           "text that is "
                           "not UTF-8, or more than {} tensors", kMaxTensors);
  }
  request_.label.name = std::move(spec_.label);
  if (spec_.version != 0) request_.version = spec_.version;
  SY_RETURN_IF_ERROR(fault_);
  DropOverwrittenInputs();
  return absl::OkStatus();
}

bool Takes(const TensorSpec& spec, const TensorView& tensor) {
  if (tensor.type == ElementType::kBytes && EncodedFormOf(spec) != EncodedForm::kNone) {
    return tensor.shape.size() == 1 && spec.shape.dims[0].Accepts(tensor.shape[0]);
  }
  if (spec.type != tensor.type) return false;
  if (spec.shape.dynamic_rank) return true;
  return spec.shape.dims.size() == tensor.shape.size() &&
         std::equal(tensor.shape.begin(), tensor.shape.end(), spec.shape.dims.begin(),
                    [](int64_t size, const Dimension& dim) { return dim.Accepts(size); });
}

size_t CountOf(const TensorView& tensor) {
  return tensor.type == ElementType::kBytes ? tensor.strings.size() : tensor.bytes / ElementSize(tensor.type);
}

// `have` bytes of whole elements to `want` bytes, the last element repeated; by doubling, which memcpy does at full speed.
void RepeatLast(const std::byte* from, size_t have, size_t want, size_t element, std::byte* to) {
  std::memcpy(to, from, have);
  std::byte* const tail = to + have - element;
  const size_t tail_bytes = want - have + element;
  for (size_t done = element; done < tail_bytes;) {
    const size_t more = std::min(done, tail_bytes - done);
    std::memcpy(tail + done, tail, more);
    done += more;
  }
}

}  // namespace

Status DecodePredictRequest(google::protobuf::io::ZeroCopyInputStream& message, size_t size, TimePoint,
                            DecodedRequest& request) {
  return Decoder(message, size, request).Decode();
}

Status ExpandValues(const Signature& signature, DecodedRequest& request) {
  RequestArena arena(request);
  size_t expanded = 0;
  for (NamedTensor& input : request.inputs) {
    TensorView& tensor = input.tensor;
    if (tensor.origin != TensorView::Origin::kValues) continue;
    const size_t have = CountOf(tensor);
    if (have == 0) continue;
    const bool strings = tensor.type == ElementType::kBytes;
    const size_t element = strings ? tensor.strings.back().size() + kStringOverhead : ElementSize(tensor.type);
    const auto count = ElementCount(tensor.shape);
    if (!count || *count <= have) continue;
    const auto spec = std::find_if(signature.inputs.begin(), signature.inputs.end(),
                                   [&](const TensorSpec& candidate) { return candidate.name == input.name; });
    // The validator says what is wrong with it.
    if (spec == signature.inputs.end() || !Takes(*spec, tensor)) continue;
    const auto bytes = ByteCount(tensor.shape, element);
    if (!bytes || *bytes > kMaxExpandedBytes - expanded) {
      return InvalidArgument("Invalid content size of tensor proto - the shape {} is too large for values that stand for many "
                             "elements: at most {} bytes in one request{}; input name: {}",
                             ToString(tensor.shape), kMaxExpandedBytes,
                             strings ? fmt::format(", each string with {} bytes beside its text", kStringOverhead) : "",
                             input.name);
    }
    expanded += *bytes;
    if (strings) {
      const absl::Span<std::string_view> table = arena.NewTable(*count);
      std::copy(tensor.strings.begin(), tensor.strings.end(), table.begin());
      std::fill(table.begin() + static_cast<std::ptrdiff_t>(have), table.end(), tensor.strings.back());
      tensor.strings = table;
      continue;
    }
    std::byte* const data = arena.Allocate(*bytes);
    RepeatLast(tensor.data, tensor.bytes, *bytes, element, data);
    tensor.data = data;
    tensor.bytes = *bytes;
  }
  return absl::OkStatus();
}

}  // namespace switchyard::tfs
