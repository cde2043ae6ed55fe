#include "serving/string_outputs.h"

#include <cstring>

namespace switchyard {

bool GivesStringRows(const TensorSpec& spec) {
  return spec.type == ElementType::kUint8 && !spec.shape.dynamic_rank && spec.shape.dims.size() == 2 &&
         spec.name.ends_with("_string");
}

OutputTensor ToStrings(const OutputTensor& rows) {
  OutputTensor result;
  result.type = ElementType::kBytes;
  result.shape = {rows.shape[0]};
  const auto width = static_cast<size_t>(rows.shape[1]);
  const auto* text = reinterpret_cast<const char*>(rows.data);
  result.strings.reserve(static_cast<size_t>(rows.shape[0]));
  for (int64_t i = 0; i < rows.shape[0]; ++i, text += width) result.strings.emplace_back(text, strnlen(text, width));
  return result;
}

}  // namespace switchyard
