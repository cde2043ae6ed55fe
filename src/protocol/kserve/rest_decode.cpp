#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/utf8.h"
#include "protocol/http/json_elements.h"
#include "protocol/http/json_reader.h"
#include "protocol/kserve/request_parameters.h"
#include "protocol/kserve/rest_codec.h"
#include "protocol/kserve/shared_memory.h"

namespace switchyard {
namespace {

// One entry of `inputs`, its parts found but not yet read. Views point into the JSON document.
struct InputEntry {
  std::string_view name;
  ElementType type = ElementType::kUndefined;
  Shape shape;
  std::optional<JsonValue> data;
  std::optional<uint64_t> binary_size;
  std::optional<SharedPlace> shared;
};

// The part of the body behind the JSON, handed out in the order of the inputs.
struct BinaryPart {
  const std::byte* data = nullptr;
  size_t size = 0;
  size_t used = 0;
  bool present = false;  // the request has the header

  size_t left() const { return size - used; }
};

Status BadInput(std::string_view name, std::string_view what) {
  return InvalidArgument("Could not parse input - {}; input name: {}", what, name);
}

StatusOr<std::string_view> StringField(JsonValue value, std::string_view field) {
  std::string_view text;
  if (value.get(text) == simdjson::SUCCESS) return text;
  return InvalidArgument("Could not parse request - \"{}\" must be a string, not {}", field, JsonTypeName(value));
}

// KServe's own client writes so what it leaves out.
bool IsLeftOut(JsonValue value) { return value.is_null(); }

StatusOr<JsonObject> ParametersOf(JsonValue value, std::string_view where) {
  JsonObject parameters;
  if (value.get(parameters) != simdjson::SUCCESS || !BareWord(value).empty()) {
    return InvalidArgument("Could not parse parameters - \"parameters\" of {} must be an object, not {}", where,
                           JsonTypeName(value));
  }
  for (const auto field : parameters) {
    const std::string_view type = JsonTypeName(field.value);
    if (type == "array" || type == "object" || type == "null") {
      return InvalidArgument("Could not parse parameters - parameter {} of {} must be a string, a number or a boolean, not {}",
                             field.key, where, type);
    }
  }
  return parameters;
}

// Where the tensor lies in shared memory, if it does.
StatusOr<std::optional<SharedPlace>> ReadShared(JsonObject parameters, std::string_view where) {
  kserve::SharedParameters shared;
  for (const auto field : parameters) {
    uint64_t number = 0;
    if (field.key == kserve::kRegionParameter) {
      std::string_view name;
      if (field.value.get(name) != simdjson::SUCCESS) {
        return InvalidArgument("Could not parse parameters - {} of {} must be a string, not {}", field.key, where,
                               JsonExcerpt(field.value));
      }
      shared.region = std::string(name);
    } else if (field.key == kserve::kBytesParameter || field.key == kserve::kOffsetParameter) {
      if (field.value.get(number) != simdjson::SUCCESS) {
        return InvalidArgument("Could not parse parameters - {} of {} must be an integer from 0, not {}", field.key, where,
                               JsonExcerpt(field.value));
      }
      if (field.key == kserve::kBytesParameter) {
        shared.bytes = number;
      } else {
        shared.offset = number;
        shared.has_offset = true;
      }
    }
  }
  if (!shared.any()) return std::optional<SharedPlace>();
  StatusOr<SharedPlace> place = shared.Take();
  if (!place.ok()) return InvalidArgument("Could not parse parameters - {}: {}", where, Message(place.status()));
  return std::optional<SharedPlace>(*std::move(place));
}

// The boolean `key`, or nothing when it is not there.
StatusOr<std::optional<bool>> BoolParameter(JsonObject parameters, std::string_view key) {
  JsonValue value;
  if (parameters.at_key(key).get(value) != simdjson::SUCCESS) return std::optional<bool>();
  bool truth = false;
  if (value.get(truth) == simdjson::SUCCESS) return std::optional<bool>(truth);
  return InvalidArgument("Could not parse parameters - {} must be true or false, not {}", key, JsonExcerpt(value));
}

// The whole number `key`, also as decimal text, or nothing when it is not there.
StatusOr<std::optional<uint64_t>> WholeParameter(JsonObject parameters, std::string_view key, std::string_view expected) {
  JsonValue value;
  if (parameters.at_key(key).get(value) != simdjson::SUCCESS) return std::optional<uint64_t>();
  uint64_t number = 0;
  if (value.get(number) == simdjson::SUCCESS) return std::optional<uint64_t>(number);
  std::string_view text;
  if (value.get(text) == simdjson::SUCCESS) {
    if (const auto parsed = kserve::ParseWholeNumber(text)) return parsed;
  }
  return InvalidArgument("Could not parse parameters - {} must be {}, not {}", key, expected, JsonExcerpt(value));
}

Status ReadShape(JsonValue value, InputEntry& input) {
  JsonArray dims;
  if (value.get(dims) != simdjson::SUCCESS) return BadInput(input.name, "\"shape\" must be an array of integers");
  for (const JsonValue dim : dims) {
    int64_t size = 0;
    if (dim.get(size) != simdjson::SUCCESS) {
      return BadInput(input.name, fmt::format("\"shape\" must be an array of integers, but has {}", JsonExcerpt(dim)));
    }
    input.shape.push_back(size);
  }
  return Status();
}

Status ReadBinarySize(JsonObject parameters, InputEntry& input) {
  JsonValue value;
  if (parameters.at_key("binary_data_size").get(value) != simdjson::SUCCESS) return Status();
  int64_t size = 0;
  if (value.get(size) != simdjson::SUCCESS || size < 0) {
    return BadInput(input.name, fmt::format("binary_data_size must be an integer from 0, not {}", JsonExcerpt(value)));
  }
  input.binary_size = static_cast<uint64_t>(size);
  return Status();
}

StatusOr<InputEntry> ReadInput(const JsonDocument& document, JsonValue value) {
  JsonObject object;
  if (value.get(object) != simdjson::SUCCESS) {
    return InvalidArgument("Could not parse input - every element of \"inputs\" must be an object, not {}",
                           JsonTypeName(value));
  }
  InputEntry input;
  JsonValue name;
  if (object.at_key("name").get(name) != simdjson::SUCCESS || name.get(input.name) != simdjson::SUCCESS) {
    return InvalidArgument("Could not parse input - every input needs a \"name\", which is a string");
  }
  bool has_shape = false;
  bool has_type = false;
  for (const auto field : object) {
    if (IsLeftOut(field.value)) continue;
    if (field.key == "shape" && !has_shape) {
      SY_RETURN_IF_ERROR(ReadShape(field.value, input));
      has_shape = true;
    } else if (field.key == "datatype") {
      std::string_view text;
      if (field.value.get(text) != simdjson::SUCCESS) return BadInput(input.name, "\"datatype\" must be a string");
      const auto type = FromKserveName(text);
      if (!type) return BadInput(input.name, fmt::format("datatype {} is not one of KServe v2", text));
      input.type = *type;
      has_type = true;
    } else if (field.key == "data") {
      if (!document.IsArray(field.value)) return BadInput(input.name, "\"data\" must be an array");
      input.data = field.value;
    } else if (field.key == "parameters") {
      const std::string where = fmt::format("input {}", input.name);
      SY_ASSIGN_OR_RETURN(const JsonObject parameters, ParametersOf(field.value, where));
      SY_RETURN_IF_ERROR(ReadBinarySize(parameters, input));
      SY_ASSIGN_OR_RETURN(input.shared, ReadShared(parameters, where));
    }
  }
  if (!has_shape) return BadInput(input.name, "\"shape\" is missing");
  if (!has_type) return BadInput(input.name, "\"datatype\" is missing");
  return input;
}

// Strings in KServe's raw form: each behind its length in 4 bytes, little endian.
Status ReadRawStrings(const InputEntry& input, const std::byte* data, size_t size, DecodedRequest& request, TensorView& view) {
  size_t count = 0;
  const auto walk = [&](std::string_view* table) {
    count = 0;
    for (size_t at = 0; at < size;) {
      uint32_t length = 0;
      if (size - at < sizeof(length)) return false;
      std::memcpy(&length, data + at, sizeof(length));
      at += sizeof(length);
      if (length > size - at) return false;
      if (table != nullptr) table[count] = {reinterpret_cast<const char*>(data + at), length};
      at += length;
      ++count;
    }
    return true;
  };
  if (!walk(nullptr)) {
    return InvalidArgument(
        "Inputs data does not match expected format - BYTES elements need a 4-byte length before each, and these "
        "{} bytes end within one; input name: {}",
        size, input.name);
  }
  auto table = std::make_unique<std::string_view[]>(count);
  walk(table.get());
  view.strings = absl::Span<const std::string_view>(table.get(), count);
  request.string_tables.push_back(std::move(table));
  return Status();
}

StatusOr<size_t> BinarySizeOf(const InputEntry& input, const BinaryPart& binary, size_t inputs) {
  if (input.binary_size) return static_cast<size_t>(*input.binary_size);
  if (input.type == ElementType::kBytes) {
    if (inputs == 1 && input.shape == Shape{1}) return binary.left();
    return BadInput(input.name, "BYTES in the binary part need the parameter binary_data_size");
  }
  const auto bytes = ByteCount(input.shape, ElementSize(input.type));
  if (!bytes) {
    return InvalidArgument("Invalid content size of tensor proto - the shape {} is negative or too large; input name: {}",
                           ToString(input.shape), input.name);
  }
  return *bytes;
}

Status ReadBinaryInput(const InputEntry& input, size_t inputs, BinaryPart& binary, DecodedRequest& request, TensorView& view) {
  // No bytes need no header to be found by.
  if (!binary.present && input.binary_size != uint64_t{0}) {
    return BadInput(input.name, input.binary_size
                                    ? "it says binary_data_size, but the request has no Inference-Header-Content-Length header"
                                    : "\"data\" is missing, and the request has no Inference-Header-Content-Length header");
  }
  SY_ASSIGN_OR_RETURN(const size_t size, BinarySizeOf(input, binary, inputs));
  if (size > binary.left()) {
    return InvalidArgument(
        "Binary data exceeds the request's buffer - Expected: {} bytes; Actual: {} bytes left; input name: {}", size,
        binary.left(), input.name);
  }
  const std::byte* data = binary.data + binary.used;
  binary.used += size;
  view.type = input.type;
  if (input.type == ElementType::kBytes) return ReadRawStrings(input, data, size, request, view);
  view.data = data;
  view.bytes = size;
  return Status();
}

Status ReadJsonInput(const InputEntry& input, JsonDocument& document, size_t json_size, DecodedRequest& request,
                     TensorView& view) {
  if (input.binary_size) return BadInput(input.name, "it has both \"data\" and binary_data_size; send one of them");
  if (input.type == ElementType::kFp16 || input.type == ElementType::kBf16) {
    return BadInput(input.name,
                    fmt::format("{} has no JSON form in KServe v2; send it by the binary extension", KserveName(input.type)));
  }
  // A value takes two characters at least, its comma included.
  const size_t limit = json_size / 2 + 1;
  JsonElements elements(input.type, NumberRule::kExact, ElementCount(input.shape).value_or(1), limit);
  if (const auto numbers = document.TakeNumbers(*input.data)) {
    Shape nesting;  // whatever it is: "shape" counts
    if (!elements.AppendNumbers(*numbers, nesting)) return BadInput(input.name, "\"data\" is not of plain numbers");
  } else if (const Status status = elements.AppendFlat(*input.data); !status.ok()) {
    return BadInput(input.name, fmt::format("\"data\": {}", Message(status)));
  }
  view = elements.Finish(request.memory, request.string_tables);
  return Status();
}

// Of the input that stands last in `request`.
Status TakeSharedInput(const InputEntry& input, DecodedRequest& request, TensorView& view) {
  if (input.data || input.binary_size) {
    return BadInput(input.name, "it has both data and shared_memory_region; send one of them");
  }
  view.type = input.type;
  kserve::SharedOf(request).inputs.push_back({.index = request.inputs.size() - 1, .place = *input.shared});
  return Status();
}

Status ReadInputs(JsonDocument& document, JsonValue value, size_t json_size, bool needs_inputs, BinaryPart& binary,
                  DecodedRequest& request) {
  JsonArray array;
  if (value.get(array) != simdjson::SUCCESS) {
    return InvalidArgument("Could not parse request - \"inputs\" must be an array, not {}", JsonTypeName(value));
  }
  absl::InlinedVector<InputEntry, 4> entries;
  size_t name_bytes = 0;
  for (const JsonValue one : array) {
    SY_ASSIGN_OR_RETURN(InputEntry input, ReadInput(document, one));
    name_bytes += input.name.size();
    entries.push_back(std::move(input));
  }
  if (entries.empty() && needs_inputs) {
    return InvalidArgument("Could not parse request - no inputs found: \"inputs\" is empty");
  }
  Buffer names = Buffer::Allocate(name_bytes);
  char* name_to = reinterpret_cast<char*>(names.data());
  for (const InputEntry& input : entries) {
    NamedTensor& named = request.inputs.emplace_back();
    SY_RETURN_IF_ERROR(input.shared ? TakeSharedInput(input, request, named.tensor)
                       : input.data ? ReadJsonInput(input, document, json_size, request, named.tensor)
                                    : ReadBinaryInput(input, entries.size(), binary, request, named.tensor));
    named.tensor.shape = input.shape;
    std::copy(input.name.begin(), input.name.end(), name_to);
    named.name = {name_to, input.name.size()};
    name_to += input.name.size();
  }
  request.memory.push_back(std::move(names));
  return Status();
}

Status ReadOutputs(JsonValue value, DecodedRequest& request, KserveOutputForm& form) {
  JsonArray array;
  if (value.get(array) != simdjson::SUCCESS) {
    return InvalidArgument("Could not parse output - \"outputs\" must be an array, not {}", JsonTypeName(value));
  }
  for (const JsonValue one : array) {
    JsonObject object;
    std::string_view name;
    if (one.get(object) != simdjson::SUCCESS || object.at_key("name").get(name) != simdjson::SUCCESS) {
      return InvalidArgument("Could not parse output - every element of \"outputs\" must be an object with a \"name\"");
    }
    request.requested_outputs.emplace_back(name);
    JsonValue field;
    if (object.at_key("parameters").get(field) != simdjson::SUCCESS || IsLeftOut(field)) continue;
    const std::string where = fmt::format("output {}", name);
    SY_ASSIGN_OR_RETURN(const JsonObject parameters, ParametersOf(field, where));
    SY_ASSIGN_OR_RETURN(auto shared, ReadShared(parameters, where));
    if (shared) {
      kserve::SharedOf(request).outputs.push_back({.index = request.requested_outputs.size() - 1, .place = *std::move(shared)});
    }
    JsonValue classes;
    int64_t top = -1;
    if (parameters.at_key("classification").get(classes) == simdjson::SUCCESS &&
        (classes.get(top) != simdjson::SUCCESS || top != 0)) {
      return InvalidArgument("Could not parse output - classification is not supported; output name: {}", name);
    }
    SY_ASSIGN_OR_RETURN(const auto binary, BoolParameter(parameters, "binary_data"));
    if (binary) form.binary.emplace_back(name, *binary);
  }
  return Status();
}

Status ReadSequence(JsonObject parameters, DecodedRequest& request) {
  SY_ASSIGN_OR_RETURN(const auto start, BoolParameter(parameters, "sequence_start"));
  SY_ASSIGN_OR_RETURN(const auto end, BoolParameter(parameters, "sequence_end"));
  JsonValue id;
  const bool has_id = parameters.at_key("sequence_id").get(id) == simdjson::SUCCESS;
  if (!has_id && !start && !end) return Status();
  request.sequence = std::make_unique<SequenceRequest>();
  request.sequence->by_parameters = true;
  request.sequence->start = start.value_or(false);
  request.sequence->end = end.value_or(false);
  std::string_view name;
  if (!has_id || id.get(request.sequence->id.number) == simdjson::SUCCESS) return Status();
  if (id.get(name) != simdjson::SUCCESS) {
    return InvalidArgument("Could not parse parameters - sequence_id must be an integer from 0, or a string, not {}",
                           JsonExcerpt(id));
  }
  request.sequence->id.name = std::string(name);
  return Status();
}

Status ReadRequestParameters(JsonValue value, TimePoint now, DecodedRequest& request, KserveOutputForm& form) {
  SY_ASSIGN_OR_RETURN(const JsonObject parameters, ParametersOf(value, "the request"));
  SY_ASSIGN_OR_RETURN(const auto binary, BoolParameter(parameters, "binary_data_output"));
  form.binary_default = binary.value_or(false);
  SY_RETURN_IF_ERROR(ReadSequence(parameters, request));
  SY_ASSIGN_OR_RETURN(const auto priority, WholeParameter(parameters, "priority", "an integer from 0 (1 goes first)"));
  request.priority = priority.value_or(0);
  SY_ASSIGN_OR_RETURN(const auto timeout, WholeParameter(parameters, "timeout", "an integer of microseconds from 0"));
  if (timeout) kserve::SetTimeout(*timeout, now, request);
  return Status();
}

Status ReadBody(JsonDocument& document, const StatusOr<JsonValue>& root, size_t json_size, bool needs_inputs,
                BinaryPart binary, TimePoint now, DecodedRequest& request, KserveOutputForm& form) {
  SY_RETURN_IF_ERROR(root.status());
  JsonObject object;
  if (root->get(object) != simdjson::SUCCESS) {
    return InvalidArgument("Request body should be JSON object, not {}", JsonTypeName(*root));
  }
  std::optional<JsonValue> inputs;
  for (const auto field : object) {
    if (IsLeftOut(field.value)) continue;
    if (field.key == "inputs") {
      inputs = field.value;
    } else if (field.key == "id") {
      SY_ASSIGN_OR_RETURN(const std::string_view id, StringField(field.value, "id"));
      request.id = std::string(id);
    } else if (field.key == "outputs") {
      SY_RETURN_IF_ERROR(ReadOutputs(field.value, request, form));
    } else if (field.key == "parameters") {
      SY_RETURN_IF_ERROR(ReadRequestParameters(field.value, now, request, form));
    }
  }
  if (inputs) {
    SY_RETURN_IF_ERROR(ReadInputs(document, *inputs, json_size, needs_inputs, binary, request));
  } else if (needs_inputs) {
    return InvalidArgument("Could not parse request - no inputs found: \"inputs\" is missing");
  }
  if (binary.left() == 0) return Status();
  return InvalidArgument(
      "The request's buffer is longer than its inputs - Expected: {} bytes behind the JSON; Actual: {} bytes", binary.used,
      binary.size);
}

}  // namespace

StatusOr<std::optional<uint64_t>> ParseJsonLength(const std::optional<std::string>& header) {
  if (!header) return std::optional<uint64_t>();
  uint64_t length = 0;
  const char* end = header->data() + header->size();
  const auto parsed = std::from_chars(header->data(), end, length);
  if (parsed.ec != std::errc() || parsed.ptr != end || length > kMaxJsonLength) {
    return InvalidArgument(
        "Inference-Header-Content-Length is invalid - Expected: the bytes of JSON at the start of the body, an "
        "integer from 0; Actual: {}",
        *header);
  }
  return std::optional<uint64_t>(length);
}

Status DecodeKserveInfer(HttpBody body, std::optional<uint64_t> json_length, const Signature& signature, TimePoint now,
                         DecodedRequest& request, KserveOutputForm& form) {
  if (json_length && *json_length > body.size) {
    return InvalidArgument("Inference-Header-Content-Length exceeds the body - Expected: at most {} bytes; Actual: {}",
                           body.size, *json_length);
  }
  const std::string_view json = body.view().substr(0, static_cast<size_t>(json_length.value_or(body.size)));
  BinaryPart binary;
  binary.present = json_length.has_value();
  binary.data = reinterpret_cast<const std::byte*>(body.data()) + json.size();
  binary.size = body.size - json.size();
  JsonDocument document;
  const bool needs_inputs = !signature.inputs.empty();
  const auto read = [&](const StatusOr<JsonValue>& root) {
    return ReadBody(document, root, json.size(), needs_inputs, binary, now, request, form);
  };
  const auto forget = [&] {
    request.ForgetBody();
    form = KserveOutputForm();
  };
  const Status done = document.ReadBody(json, read, forget);
  if (!done.ok() && !json_length && !IsUtf8(json)) {
    return InvalidArgument("{}; a body that has tensors behind its JSON needs the header Inference-Header-Content-Length",
                           Message(done));
  }
  SY_RETURN_IF_ERROR(done);
  request.memory.push_back(std::move(body.memory));
  return Status();
}

}  // namespace switchyard
