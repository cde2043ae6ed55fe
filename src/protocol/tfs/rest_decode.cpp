#include <algorithm>
#include <cstring>

#include "protocol/http/json_elements.h"
#include "protocol/http/json_reader.h"
#include "protocol/tfs/rest_codec.h"
#include "serving/encoded_inputs.h"
#include "serving/sequences.h"

namespace switchyard {
namespace {

enum class Format { kRow, kColumn };

bool IsArrayOrObject(JsonValue value) { return value.is_array() || (value.is_object() && !IsValueObject(value)); }

// Elements that a model of known size will want; otherwise a guess that grows.
size_t HintFor(const TensorSpec& spec) {
  constexpr size_t kGuess = 64;
  return spec.shape.is_static() ? ElementCount(spec.shape.ToShape()).value_or(kGuess) : kGuess;
}

// The values of one input, as they come.
class InputReader {
 public:
  InputReader(JsonDocument& document, const TensorSpec& spec, Format format, size_t json_size)
      : document_(document), spec_(spec), format_(format), limit_(json_size / 2 + 1) {}

  const TensorSpec& spec() const { return spec_; }
  // Row format: how often a value came, which is the batch.
  int64_t rows() const { return rows_; }

  // One value of any rank: the whole input in column format, one row of it in row format.
  Status Append(JsonValue value) {
    if (!elements_) {
      encoded_ = IsEncoded(value);
      elements_.emplace(encoded_ ? ElementType::kBytes : spec_.type, NumberRule::kCast, HintFor(spec_), limit_);
    }
    if (const auto numbers = document_.TakeNumbers(value)) {
      SY_RETURN_IF_ERROR(AppendNumbers(*numbers));
    } else {
      SY_RETURN_IF_ERROR(Visit(value, 0));
    }
    settled_ = true;
    ++rows_;
    return Status();
  }

  NamedTensor Finish(DecodedRequest& request) {
    NamedTensor named;
    named.name = spec_.name;
    const auto count = static_cast<int64_t>(elements_->count());
    named.tensor = elements_->Finish(request.memory, request.string_tables);
    if (encoded_) {
      named.tensor.shape = {count};
      return named;
    }
    if (format_ == Format::kRow) named.tensor.shape.push_back(rows_);
    named.tensor.shape.insert(named.tensor.shape.end(), shape_.begin(), shape_.end());
    return named;
  }

 private:
  // Pictures or texts that stand for the tensor: the first value tells, and all others must be like it.
  bool IsEncoded(JsonValue value) const {
    if (!value.is_array() && document_.IsArray(value)) return false;  // of numbers
    const EncodedForm form = EncodedFormOf(spec_);
    for (JsonArray array; form != EncodedForm::kNone && value.get(array) == simdjson::SUCCESS && array.size() > 0;) {
      value = *array.begin();
    }
    return form != EncodedForm::kNone && (IsBase64Object(value) || (form == EncodedForm::kRows && value.is_string()));
  }

  Status Bad(std::string_view what) const {
    return InvalidArgument("Could not parse {} - Not valid ndarray detected: {}; input name: {}",
                           format_ == Format::kRow ? "instance content" : "input content", what, spec_.name);
  }

  // What is not as it should be is told when the document is read again, with all of its numbers.
  Status AppendNumbers(std::string_view numbers) {
    Shape shape;
    if (!elements_->AppendNumbers(numbers, shape) || (settled_ && shape != shape_)) return Bad("not all of it are numbers");
    shape_ = std::move(shape);
    return Status();
  }

  // The first time a level is met its size is the dimension; every later time it must be the same.
  Status Settle(size_t level, int64_t size) {
    if (level == shape_.size() && !settled_) {
      shape_.push_back(size);
      return Status();
    }
    if (level < shape_.size() && shape_[level] == size) return Status();
    return Bad(level < shape_.size() ? fmt::format("arrays of {} and of {} elements at level {}", shape_[level], size, level)
                                     : std::string("some elements are arrays where others are values"));
  }

  Status Leaf(Status status, JsonValue value) const {
    if (status.ok()) return status;
    const bool encoded = IsBase64Object(value);
    if (spec_.type != ElementType::kBytes && !encoded_ && (encoded || value.is_string())) {
      return InvalidArgument("Invalid input precision - Expected: {}; Actual: STRING ({}); input name: {}",
                             PrecisionName(spec_.type), Message(status), spec_.name);
    }
    return Bad(Message(status));
  }

  Status VisitArray(JsonArray array, size_t level) {
    const auto first = array.begin();
    if (first != array.end() && (*first).is_array()) {
      // The dimension's place is taken before the inner levels take theirs.
      int64_t size = 0;
      const bool mine = level == shape_.size() && !settled_;
      if (mine) shape_.push_back(-1);
      for (const JsonValue inner : array) {
        if (!inner.is_array()) return Bad("some elements are arrays where others are values");
        SY_RETURN_IF_ERROR(Visit(inner, level + 1));
        // What the first element did not have, no later one may have.
        if (mine && size == 0) settled_ = true;
        ++size;
      }
      if (mine) shape_[level] = size;
      return mine ? Status() : Settle(level, size);
    }
    const size_t before = elements_->count();
    if (const Status status = elements_->AppendLeaves(array); !status.ok()) {
      for (const JsonValue value : array) {
        if (value.is_array()) return Bad("some elements are arrays where others are values");
      }
      // The one that failed is the first that was not counted.
      size_t index = elements_->count() - before;
      for (const JsonValue value : array) {
        if (index-- == 0) return Leaf(status, value);
      }
      return status;
    }
    SY_RETURN_IF_ERROR(Settle(level, static_cast<int64_t>(elements_->count() - before)));
    return CheckLeafLevel(level + 1);
  }

  Status CheckLeafLevel(size_t level) const {
    if (level == shape_.size()) return Status();
    return Bad("some elements are arrays where others are values");
  }

  Status Visit(JsonValue value, size_t level) {
    JsonArray array;
    if (value.get(array) == simdjson::SUCCESS) return VisitArray(array, level);
    SY_RETURN_IF_ERROR(Leaf(elements_->AppendLeaf(value), value));
    return CheckLeafLevel(level);
  }

  JsonDocument& document_;
  const TensorSpec& spec_;
  const Format format_;
  const size_t limit_;
  std::optional<JsonElements> elements_;
  bool encoded_ = false;
  Shape shape_;
  bool settled_ = false;
  int64_t rows_ = 0;
};

// An input that the model does not have: the validator counts and names it, its values don't matter.
void AddUnknownInput(std::string_view name, DecodedRequest& request) {
  for (const NamedTensor& input : request.inputs) {
    if (input.name == name) return;
  }
  Buffer memory = Buffer::Allocate(name.size());
  if (!name.empty()) std::memcpy(memory.data(), name.data(), name.size());
  request.inputs.push_back(NamedTensor{{reinterpret_cast<const char*>(memory.data()), name.size()}, TensorView()});
  request.memory.push_back(std::move(memory));
}

const TensorSpec* FindSpec(const Signature& signature, std::string_view name) {
  for (const TensorSpec& spec : signature.inputs) {
    if (spec.name == name) return &spec;
  }
  return SequenceInputSpec(name);
}

StatusOr<const TensorSpec*> SingleInput(const Signature& signature) {
  if (signature.inputs.size() == 1) return &signature.inputs[0];
  return InvalidArgument("Request does not have the expected format - the model has {} inputs, so that each must be named",
                         signature.inputs.size());
}

// Every row has one value for each input: else values of different rows would be put together.
Status DecodeNamedRows(JsonDocument& document, JsonArray instances, size_t json_size, const Signature& signature,
                       DecodedRequest& request) {
  const auto unlike = [](int64_t row, std::string_view what, std::string_view name) {
    return InvalidArgument(
        "Values in instances have different batch sizes - instances[{}] has {} for {}; Expected: one, as in every row", row,
        what, name);
  };
  std::deque<InputReader> readers;
  int64_t row = 0;
  for (const JsonValue instance : instances) {
    JsonObject object;
    if (instance.get(object) != simdjson::SUCCESS || IsValueObject(instance)) {
      return InvalidArgument("Could not parse instance - all named instances must be objects, but there is {} ({})",
                             JsonExcerpt(instance), JsonTypeName(instance));
    }
    for (const auto field : object) {
      auto reader =
          std::find_if(readers.begin(), readers.end(), [&](const InputReader& r) { return r.spec().name == field.key; });
      if (reader == readers.end()) {
        const TensorSpec* spec = FindSpec(signature, field.key);
        if (spec == nullptr) {
          AddUnknownInput(field.key, request);
          continue;
        }
        if (row > 0) return unlike(0, "no value", field.key);
        readers.emplace_back(document, *spec, Format::kRow, json_size);
        reader = readers.end() - 1;
      }
      if (reader->rows() > row) return unlike(row, "several values", field.key);
      SY_RETURN_IF_ERROR(reader->Append(field.value));
    }
    ++row;
    for (const InputReader& reader : readers) {
      if (reader.rows() < row) return unlike(row - 1, "no value", reader.spec().name);
    }
  }
  for (InputReader& reader : readers) request.inputs.push_back(reader.Finish(request));
  if (row == 1 || !request.inputs.empty() || !signature.inputs.empty()) return Status();
  return InvalidArgument("The model has no inputs, of which there could be rows - Expected: one instance; Actual: {}", row);
}

Status ReadSingleInput(JsonDocument& document, JsonValue value, size_t json_size, const Signature& signature,
                       DecodedRequest& request) {
  SY_ASSIGN_OR_RETURN(const TensorSpec* spec, SingleInput(signature));
  InputReader reader(document, *spec, Format::kColumn, json_size);
  SY_RETURN_IF_ERROR(reader.Append(value));
  request.inputs.push_back(reader.Finish(request));
  return Status();
}

Status DecodeRows(JsonDocument& document, JsonValue value, size_t json_size, const Signature& signature,
                  DecodedRequest& request) {
  // The rows of a single input are one array whose outermost level is the batch: read at once where they are values.
  if (!value.is_array() && document.IsArray(value)) return ReadSingleInput(document, value, json_size, signature, request);
  JsonArray instances;
  if (value.get(instances) != simdjson::SUCCESS) {
    return InvalidArgument("Could not parse request - instances is not an array, but {}", JsonTypeName(value));
  }
  const auto first = instances.begin();
  if (first == instances.end()) return InvalidArgument("Could not parse request - Missing instances: the array is empty");
  if ((*first).is_null() || (*first).is_bool()) {
    const auto spec = SingleInput(signature);
    const bool truth = (*first).is_bool() && spec.ok() && (*spec)->type == ElementType::kBool;
    if (!truth) return InvalidArgument("Could not parse request - instances are neither named or nonamed values");
  }
  if ((*first).is_object() && !IsValueObject(*first))
    return DecodeNamedRows(document, instances, json_size, signature, request);
  return ReadSingleInput(document, value, json_size, signature, request);
}

Status DecodeColumns(JsonDocument& document, JsonValue value, size_t json_size, const Signature& signature,
                     DecodedRequest& request) {
  if (!value.is_object() || IsValueObject(value)) {
    if (value.is_null()) return InvalidArgument("Could not parse request - inputs is not a JSON object, array or value");
    if (!IsArrayOrObject(value) && value.is_string() && signature.inputs.size() != 1) {
      return InvalidArgument("Could not parse request - inputs is not a JSON object");
    }
    return ReadSingleInput(document, value, json_size, signature, request);
  }
  const JsonObject object = value.get_object().value_unsafe();
  bool any = false;
  for (const auto field : object) {
    any = true;
    const TensorSpec* spec = FindSpec(signature, field.key);
    if (spec == nullptr) {
      AddUnknownInput(field.key, request);
      continue;
    }
    InputReader reader(document, *spec, Format::kColumn, json_size);
    SY_RETURN_IF_ERROR(reader.Append(field.value));
    request.inputs.push_back(reader.Finish(request));
  }
  if (!any && !signature.inputs.empty()) {
    return InvalidArgument("Could not parse request - missing inputs: the object is empty");
  }
  return Status();
}

Status ReadBody(JsonDocument& document, const StatusOr<JsonValue>& root, size_t json_size, const Signature& signature,
                DecodedRequest& request, bool& rows) {
  SY_RETURN_IF_ERROR(root.status());
  JsonObject object;
  if (root->get(object) != simdjson::SUCCESS) {
    return InvalidArgument("Request body should be JSON object, not {}", JsonTypeName(*root));
  }
  std::optional<JsonValue> instances;
  std::optional<JsonValue> inputs;
  for (const auto field : object) {
    if (field.key == "instances") instances = field.value;
    if (field.key == "inputs") inputs = field.value;
  }
  if (instances.has_value() == inputs.has_value()) {
    return InvalidArgument(
        "Could not tell row or column format - the body must have either \"instances\" or \"inputs\", and has {}",
        instances ? "both" : "neither");
  }
  rows = instances.has_value();
  return rows ? DecodeRows(document, *instances, json_size, signature, request)
              : DecodeColumns(document, *inputs, json_size, signature, request);
}

}  // namespace

Status DecodeTfsPredict(const HttpBody& body, const Signature& signature, DecodedRequest& request, bool& rows) {
  JsonDocument document;
  const auto read = [&](const StatusOr<JsonValue>& root) {
    return ReadBody(document, root, body.size, signature, request, rows);
  };
  return document.ReadBody(body.view(), read, [&] { request.ForgetBody(); });
}

}  // namespace switchyard
