#include <algorithm>
#include <cstring>
#include <limits>
#include <variant>

#include "protocol/kserve/grpc_codec.h"
#include "protocol/kserve/metadata.h"
#include "protocol/kserve/request_parameters.h"
#include "protocol/kserve/shared_memory.h"
#include "protocol/wire/value_list.h"
#include "protocol/wire/wire_reader.h"
#include "tensor/element_type.h"

namespace switchyard::kserve {
namespace {

using wire::kFixed64;
using wire::kLengthDelimited;
using wire::kMaxRank;
using wire::kMaxTensors;
using wire::kVarint;
using wire::RequestArena;
using wire::Tag;
using wire::ValueList;
using wire::WireReader;

// Field numbers of InferTensorContents.
constexpr uint32_t kBoolContents = 1;
constexpr uint32_t kIntContents = 2;
constexpr uint32_t kInt64Contents = 3;
constexpr uint32_t kUintContents = 4;
constexpr uint32_t kUint64Contents = 5;
constexpr uint32_t kFp32Contents = 6;
constexpr uint32_t kFp64Contents = 7;
constexpr uint32_t kBytesContents = 8;
constexpr std::string_view kContentsNames[] = {"",
                                               "bool_contents",
                                               "int_contents",
                                               "int64_contents",
                                               "uint_contents",
                                               "uint64_contents",
                                               "fp32_contents",
                                               "fp64_contents",
                                               "bytes_contents"};

// Which field carries elements of a type; 0: none does.
uint32_t ContentsField(ElementType type) {
  switch (type) {
    case ElementType::kBool: return kBoolContents;
    case ElementType::kInt8:
    case ElementType::kInt16:
    case ElementType::kInt32: return kIntContents;
    case ElementType::kInt64: return kInt64Contents;
    case ElementType::kUint8:
    case ElementType::kUint16:
    case ElementType::kUint32: return kUintContents;
    case ElementType::kUint64: return kUint64Contents;
    case ElementType::kFp32: return kFp32Contents;
    case ElementType::kFp64: return kFp64Contents;
    case ElementType::kBytes: return kBytesContents;
    default: return 0;
  }
}

using Parameter = std::variant<std::monostate, bool, int64_t, uint64_t, double, std::string>;

// One entry of map<string, InferParameter>.
struct ParameterEntry {
  std::string key;
  Parameter value;
};

void ReadParameterValue(WireReader& reader, Parameter& value) {
  const auto message = reader.Enter();
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(1, kVarint): value = reader.Varint() != 0; break;
      case Tag(2, kVarint): value = static_cast<int64_t>(reader.Varint()); break;
      case Tag(3, kLengthDelimited): reader.Text(value.emplace<std::string>()); break;
      case Tag(4, kFixed64): {
        const uint64_t bits = reader.Fixed64();
        double number;
        std::memcpy(&number, &bits, sizeof(number));
        value = number;
        break;
      }
      case Tag(5, kVarint): value = reader.Varint(); break;
      default: reader.Skip();
    }
  }
}

ParameterEntry ReadParameter(WireReader& reader) {
  ParameterEntry entry;
  const auto message = reader.Enter();
  while (reader.Next()) {
    switch (reader.tag()) {
      case Tag(1, kLengthDelimited): reader.Text(entry.key); break;
      case Tag(2, kLengthDelimited): ReadParameterValue(reader, entry.value); break;
      default: reader.Skip();
    }
  }
  return entry;
}

// A whole number, saturated.
StatusOr<int64_t> WholeNumber(const ParameterEntry& entry, std::string_view expected) {
  const Parameter& value = entry.value;
  if (const auto* number = std::get_if<int64_t>(&value); number != nullptr && *number >= 0) return *number;
  if (const auto* number = std::get_if<uint64_t>(&value)) {
    return static_cast<int64_t>(std::min<uint64_t>(*number, std::numeric_limits<int64_t>::max()));
  }
  if (const auto* text = std::get_if<std::string>(&value)) {
    const auto number = ParseWholeNumber(*text);
    if (number) return static_cast<int64_t>(std::min<uint64_t>(*number, std::numeric_limits<int64_t>::max()));
  }
  return InvalidArgument("Invalid parameter {} - Expected: {}", entry.key, expected);
}

// The parameters that say which sequence a call belongs to, as Triton's clients send them.
Status TakeSequenceParameter(const ParameterEntry& entry, DecodedRequest& request) {
  if (request.sequence == nullptr) {
    request.sequence = std::make_unique<SequenceRequest>();
    request.sequence->by_parameters = true;
  }
  if (entry.key != "sequence_id") {
    const auto* flag = std::get_if<bool>(&entry.value);
    if (flag == nullptr) return InvalidArgument("Invalid parameter {} - Expected: true or false", entry.key);
    (entry.key == "sequence_start" ? request.sequence->start : request.sequence->end) = *flag;
    return absl::OkStatus();
  }
  SequenceId& id = request.sequence->id;
  if (const auto* text = std::get_if<std::string>(&entry.value)) {
    id.name = *text;
  } else if (const auto* number = std::get_if<uint64_t>(&entry.value)) {
    id.number = *number;
  } else if (const auto* number = std::get_if<int64_t>(&entry.value); number != nullptr && *number >= 0) {
    id.number = static_cast<uint64_t>(*number);
  } else {
    return InvalidArgument("Invalid parameter sequence_id - Expected: a whole number of at least 0, or a string");
  }
  return absl::OkStatus();
}

struct RawContent {
  std::byte* data = nullptr;
  size_t size = 0;
};

class Decoder {
 public:
  Decoder(google::protobuf::io::ZeroCopyInputStream& message, size_t size, TimePoint now, DecodedRequest& request)
      : reader_(message, size), arena_(request), now_(now), request_(request) {}

  Status Decode();

 private:
  void ReadRequestParameter();
  void ReadInput();
  void ReadShape(Shape& shape);
  void ReadContents(ValueList& values);
  Status TakeSharedInput(const SharedParameters& shared, bool has_contents);
  void ReadOutput();
  Status TakeTensorParameter(const ParameterEntry& entry, SharedParameters& shared);
  Status FinishInput(std::string_view datatype, bool too_many_dims, ValueList& values, NamedTensor& input);
  Status TakeContents(ValueList& values, NamedTensor& input);
  Status AssignRaw();
  Status SplitStrings(NamedTensor& input, const RawContent& raw);

  // Keeps the first fault. The rest is read all the same: the id may come last.
  void Note(Status fault) {
    if (fault_.ok()) fault_ = std::move(fault);
  }

  WireReader reader_;
  RequestArena arena_;
  const TimePoint now_;
  DecodedRequest& request_;
  std::string version_;
  absl::InlinedVector<RawContent, 4> raw_;
  size_t with_contents_ = 0;
  Status fault_;
};

void Decoder::ReadRequestParameter() {
  const ParameterEntry entry = ReadParameter(reader_);
  if (!reader_.ok()) return;
  if (entry.key == "sequence_id" || entry.key == "sequence_start" || entry.key == "sequence_end") {
    return Note(TakeSequenceParameter(entry, request_));
  }
  if (entry.key == "priority") {
    const StatusOr<int64_t> priority = WholeNumber(entry, "a whole number of at least 0; 1 goes first");
    if (!priority.ok()) return Note(priority.status());
    request_.priority = static_cast<uint64_t>(*priority);
  }
  if (entry.key != "timeout") return;
  const StatusOr<int64_t> timeout = WholeNumber(entry, "microseconds as a whole number of at least 0");
  if (!timeout.ok()) return Note(timeout.status());
  SetTimeout(static_cast<uint64_t>(*timeout), now_, request_);
}

Status Decoder::TakeTensorParameter(const ParameterEntry& entry, SharedParameters& shared) {
  if (entry.key == kRegionParameter) {
    const auto* name = std::get_if<std::string>(&entry.value);
    if (name == nullptr) return InvalidArgument("Invalid parameter {} - Expected: the name of a region", entry.key);
    shared.region = *name;
  } else if (entry.key == kBytesParameter || entry.key == kOffsetParameter) {
    SY_ASSIGN_OR_RETURN(const int64_t number, WholeNumber(entry, "bytes as a whole number of at least 0"));
    if (entry.key == kBytesParameter) {
      shared.bytes = static_cast<uint64_t>(number);
    } else {
      shared.offset = static_cast<uint64_t>(number);
      shared.has_offset = true;
    }
  }
  if (entry.key == "classification") {
    const auto* count = std::get_if<int64_t>(&entry.value);
    const auto* unsigned_count = std::get_if<uint64_t>(&entry.value);
    const bool none = (count != nullptr && *count == 0) || (unsigned_count != nullptr && *unsigned_count == 0);
    if (!none) {
      return InvalidArgument("The classification extension is not supported; ask for the output without it");
    }
  }
  return absl::OkStatus();
}

void Decoder::ReadShape(Shape& shape) {
  if (reader_.tag() == Tag(3, kVarint)) {
    const auto dim = static_cast<int64_t>(reader_.Varint());
    if (shape.size() <= kMaxRank) shape.push_back(dim);
    return;
  }
  const auto packed = reader_.Enter();
  while (!reader_.AtEnd()) {
    const auto dim = static_cast<int64_t>(reader_.Varint());
    if (shape.size() <= kMaxRank) shape.push_back(dim);
  }
}

void Decoder::ReadContents(ValueList& values) {
  using Kind = ValueList::Kind;
  static constexpr Kind kKinds[] = {Kind::kBool, Kind::kBool,   Kind::kInt32, Kind::kInt64, Kind::kUint32,
                                    Kind::kUint64, Kind::kFloat, Kind::kDouble, Kind::kBytes};
  const auto message = reader_.Enter();
  while (reader_.Next()) {
    if (reader_.field() >= kBoolContents && reader_.field() <= kBytesContents) {
      values.Read(kKinds[reader_.field()], reader_, arena_);
    } else {
      reader_.Skip();
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
  std::string_view datatype;
  ValueList values;
  SharedParameters shared;
  {
    const auto message = reader_.Enter();
    while (reader_.Next()) {
      switch (reader_.tag()) {
        case Tag(1, kLengthDelimited): input.name = reader_.Text(arena_); break;
        case Tag(2, kLengthDelimited): datatype = reader_.Text(arena_); break;
        case Tag(3, kVarint):
        case Tag(3, kLengthDelimited): ReadShape(input.tensor.shape); break;
        case Tag(4, kLengthDelimited): Note(TakeTensorParameter(ReadParameter(reader_), shared)); break;
        case Tag(5, kLengthDelimited): ReadContents(values); break;
        default: reader_.Skip();
      }
    }
  }
  if (!reader_.ok()) return;
  with_contents_ += values.count() > 0;
  const bool too_many_dims = input.tensor.shape.size() > kMaxRank;
  Note(FinishInput(datatype, too_many_dims, values, input));
  if (shared.any()) Note(TakeSharedInput(shared, values.count() > 0));
}

// Of the input that was read last.
Status Decoder::TakeSharedInput(const SharedParameters& shared, bool has_contents) {
  const std::string_view name = request_.inputs.back().name;
  StatusOr<SharedPlace> place = shared.Take();
  if (!place.ok()) return InvalidArgument("{}; input name: {}", Message(place.status()), name);
  if (has_contents) {
    return InvalidArgument("Invalid contents - the input has both values and {}; input name: {}", kRegionParameter, name);
  }
  SharedOf(request_).inputs.push_back({.index = request_.inputs.size() - 1, .place = *std::move(place)});
  return absl::OkStatus();
}

Status Decoder::FinishInput(std::string_view datatype, bool too_many_dims, ValueList& values, NamedTensor& input) {
  if (too_many_dims) {
    return InvalidArgument("Invalid number of shape dimensions - Expected: at most {}; Actual: more; input name: {}", kMaxRank,
                           input.name);
  }
  const auto type = FromKserveName(datatype);
  if (!type || *type == ElementType::kUndefined) {
    return InvalidArgument("Invalid input precision - Expected: a datatype of KServe v2, such as FP32 or BYTES; Actual: {}; "
                           "input name: {}", datatype, input.name);
  }
  input.tensor.type = *type;
  input.tensor.origin = TensorView::Origin::kValues;
  return values.count() > 0 ? TakeContents(values, input) : absl::OkStatus();
}

Status Decoder::TakeContents(ValueList& values, NamedTensor& input) {
  const uint32_t expected = ContentsField(input.tensor.type);
  if (expected == 0) {
    return InvalidArgument("Invalid number of values in tensor proto container - {} has no typed contents; send it in "
                           "raw_input_contents; input name: {}", KserveName(input.tensor.type), input.name);
  }
  if (values.mixed() || values.field() != expected) {
    return InvalidArgument("Invalid number of values in tensor proto container - Expected: values of {} in {} alone; Actual: "
                           "values in {}{}; input name: {}", KserveName(input.tensor.type), kContentsNames[expected],
                           kContentsNames[values.field()], values.mixed() ? " and in other fields" : "", input.name);
  }
  if (input.tensor.type == ElementType::kBytes) {
    input.tensor.strings = arena_.Table(values.strings());
    return absl::OkStatus();
  }
  if (const size_t fitting = values.Narrow(input.tensor.type); fitting != values.count()) {
    return InvalidArgument("Invalid value in {} - element {} is out of the range of {}; input name: {}",
                           kContentsNames[expected], fitting, KserveName(input.tensor.type), input.name);
  }
  input.tensor.data = values.data();
  input.tensor.bytes = values.bytes();
  return absl::OkStatus();
}

void Decoder::ReadOutput() {
  if (request_.requested_outputs.size() >= kMaxTensors) {
    reader_.Fail();
    return;
  }
  std::string name;
  SharedParameters shared;
  const auto message = reader_.Enter();
  while (reader_.Next()) {
    switch (reader_.tag()) {
      case Tag(1, kLengthDelimited): reader_.Text(name); break;
      case Tag(2, kLengthDelimited): Note(TakeTensorParameter(ReadParameter(reader_), shared)); break;
      default: reader_.Skip();
    }
  }
  if (shared.any()) {
    StatusOr<SharedPlace> place = shared.Take();
    if (place.ok()) {
      SharedOf(request_).outputs.push_back({.index = request_.requested_outputs.size(), .place = *std::move(place)});
    } else {
      Note(InvalidArgument("{}; output name: {}", Message(place.status()), name));
    }
  }
  request_.requested_outputs.push_back(std::move(name));
}

Status Decoder::SplitStrings(NamedTensor& input, const RawContent& raw) {
  const auto* const text = reinterpret_cast<const char*>(raw.data);
  const auto length_at = [&](size_t offset) {
    uint32_t length;
    std::memcpy(&length, raw.data + offset, sizeof(length));
    return size_t{length};
  };
  size_t count = 0;
  for (size_t offset = 0; offset < raw.size; ++count) {
    if (raw.size - offset < 4 || raw.size - offset - 4 < length_at(offset)) {
      return InvalidArgument("Input byte format is not valid: raw_input_contents does not match expected format, a 4-byte "
                             "length "
                             "before each element; element: {}; input name: {}", count, input.name);
    }
    offset += 4 + length_at(offset);
  }
  const absl::Span<std::string_view> strings = arena_.NewTable(count);
  size_t offset = 0;
  for (std::string_view& string : strings) {
    string = {text + offset + 4, length_at(offset)};
    offset += 4 + string.size();
  }
  input.tensor.strings = strings;
  return absl::OkStatus();
}

Status Decoder::AssignRaw() {
  if (raw_.empty()) return absl::OkStatus();
  const size_t inputs = request_.inputs.size();
  if (with_contents_ > 0) {
    return InvalidArgument(
        "Passing buffers both in ModelInferRequest::InferInputTensor::contents and in ModelInferRequest::raw_input_contents is "
        "not allowed - {} inputs have contents, raw_input_contents has {} entries; use one form for all inputs",
        with_contents_, raw_.size());
  }
  const auto* const shared = request_.shared.get();
  const size_t elsewhere = shared == nullptr ? 0 : shared->inputs.size();
  if (raw_.size() != inputs - elsewhere) {
    return InvalidArgument("Size of raw_input_contents: {} is different than number of inputs: {}{}", raw_.size(),
                           inputs - elsewhere, elsewhere == 0 ? "" : " that are not in shared memory");
  }
  size_t next = 0;
  size_t next_shared = 0;
  for (size_t i = 0; i < inputs; ++i) {
    NamedTensor& input = request_.inputs[i];
    if (next_shared < elsewhere && shared->inputs[next_shared].index == i) {
      ++next_shared;
      continue;
    }
    const RawContent& raw = raw_[next++];
    input.tensor.origin = TensorView::Origin::kBytes;
    if (input.tensor.type == ElementType::kBytes) {
      SY_RETURN_IF_ERROR(SplitStrings(input, raw));
    } else {
      input.tensor.data = raw.data;
      input.tensor.bytes = raw.size;
    }
  }
  return absl::OkStatus();
}

Status Decoder::Decode() {
  while (reader_.Next()) {
    switch (reader_.tag()) {
      case Tag(1, kLengthDelimited): reader_.Text(request_.model_name); break;
      case Tag(2, kLengthDelimited): reader_.Text(version_); break;
      case Tag(3, kLengthDelimited): reader_.Text(request_.id); break;
      case Tag(4, kLengthDelimited): ReadRequestParameter(); break;
      case Tag(5, kLengthDelimited): ReadInput(); break;
      case Tag(6, kLengthDelimited): ReadOutput(); break;
      case Tag(7, kLengthDelimited): {
        if (raw_.size() >= kMaxTensors) {
          reader_.Fail();
          break;
        }
        const std::string_view raw = reader_.Bytes(arena_, kBufferAlignment);
        raw_.push_back({reinterpret_cast<std::byte*>(const_cast<char*>(raw.data())), raw.size()});
        break;
      }
      default: reader_.Skip();
    }
  }
  if (!reader_.ok()) {
    return InvalidArgument("The message could not be decoded as inference.ModelInferRequest: it is malformed, has text that "
                           "is not "
                           "UTF-8, or more than {} tensors", kMaxTensors);
  }
  // First: what is wrong with the rest is a failure of the version that the request names.
  VersionText version = ParseVersion(version_);
  request_.version = version.number;
  request_.label = std::move(version.label);
  SY_RETURN_IF_ERROR(fault_);
  return AssignRaw();
}

}  // namespace

Status DecodeInferRequest(google::protobuf::io::ZeroCopyInputStream& message, size_t size, TimePoint now,
                          DecodedRequest& request) {
  return Decoder(message, size, now, request).Decode();
}

}  // namespace switchyard::kserve
