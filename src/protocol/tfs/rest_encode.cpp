#include <algorithm>

#include "base/utf8.h"
#include "protocol/http/base64.h"
#include "protocol/http/json_writer.h"
#include "protocol/tfs/rest_codec.h"

namespace switchyard {
namespace {

// Writes one output, or a part of it, as nested arrays.
class TensorWriter {
 public:
  explicit TensorWriter(const NamedOutput& output)
      : tensor_(output.tensor), all_base64_(output.spec->name.ends_with("_bytes")) {}

  void WriteAll(std::string& out) const { Write(out, 0, 0); }
  // Element `row` of the first dimension.
  void WriteRow(std::string& out, size_t row) const { Write(out, 1, row * Size(1)); }

 private:
  // Elements of one array of level `level`.
  size_t Size(size_t level) const {
    size_t size = 1;
    for (size_t i = level; i < tensor_.shape.size(); ++i) size *= static_cast<size_t>(tensor_.shape[i]);
    return size;
  }

  void Write(std::string& out, size_t level, size_t at) const {
    const size_t rank = tensor_.shape.size();
    if (level >= rank) return WriteElements(out, at, 1);
    const auto count = static_cast<size_t>(tensor_.shape[level]);
    out += '[';
    if (level + 1 == rank) {
      WriteElements(out, at, count);
    } else {
      const size_t step = Size(level + 1);
      for (size_t i = 0; i < count; ++i) {
        if (i != 0) out += ',';
        Write(out, level + 1, at + i * step);
      }
    }
    out += ']';
  }

  void WriteElements(std::string& out, size_t at, size_t count) const {
    if (tensor_.type != ElementType::kBytes) {
      AppendJsonElements(out, tensor_.type, tensor_.data + at * ElementSize(tensor_.type), count);
      return;
    }
    for (size_t i = 0; i < count; ++i) {
      if (i != 0) out += ',';
      const std::string& text = tensor_.strings[at + i];
      if (!all_base64_ && IsUtf8(text)) {
        AppendJsonString(out, text);
      } else {
        out += "{\"b64\":\"";
        AppendBase64(out, text);
        out += "\"}";
      }
    }
  }

  const OutputTensor& tensor_;
  const bool all_base64_;
};

StatusOr<size_t> CommonBatch(const InferCall& call) {
  const auto& first = call.outputs[0];
  for (const NamedOutput& output : call.outputs) {
    if (output.tensor.shape.empty() || output.tensor.shape[0] != first.tensor.shape[0]) {
      return InvalidArgument(
          "The outputs cannot be written in row format, because they don't share their first dimension - {} has "
          "{}, {} has {}; send the request in column format (\"inputs\")",
          first.spec->name, ToString(first.tensor.shape), output.spec->name, ToString(output.tensor.shape));
    }
  }
  return static_cast<size_t>(first.tensor.shape[0]);
}

void AppendNamed(std::string& out, const NamedOutput& output) {
  AppendJsonString(out, output.spec->name);
  out += ':';
}

Status AppendRows(std::string& out, const InferCall& call) {
  SY_ASSIGN_OR_RETURN(const size_t batch, CommonBatch(call));
  out += '[';
  for (size_t row = 0; row < batch; ++row) {
    out += row == 0 ? "{" : ",{";
    for (size_t i = 0; i < call.outputs.size(); ++i) {
      if (i != 0) out += ',';
      AppendNamed(out, call.outputs[i]);
      TensorWriter(call.outputs[i]).WriteRow(out, row);
    }
    out += '}';
  }
  out += ']';
  return Status();
}

}  // namespace

StatusOr<std::string> EncodeTfsPredict(const InferCall& call, bool rows) {
  if (call.outputs.empty()) return Error(StatusCode::kInternal, "The model gave no outputs");
  std::string out = rows ? "{\"predictions\":" : "{\"outputs\":";
  if (call.outputs.size() == 1) {
    if (rows) SY_RETURN_IF_ERROR(CommonBatch(call).status());
    TensorWriter(call.outputs[0]).WriteAll(out);
  } else if (rows) {
    SY_RETURN_IF_ERROR(AppendRows(out, call));
  } else {
    for (size_t i = 0; i < call.outputs.size(); ++i) {
      out += i == 0 ? '{' : ',';
      AppendNamed(out, call.outputs[i]);
      TensorWriter(call.outputs[i]).WriteAll(out);
    }
    out += '}';
  }
  out += '}';
  return out;
}

}  // namespace switchyard
