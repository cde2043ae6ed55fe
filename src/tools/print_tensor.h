// Output tensors, for people and for programs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"
#include "tools/client_tensor.h"

namespace switchyard {

// Names of the indices of a classifier's output: a JSON list of strings, or one name a line.
StatusOr<std::vector<std::string>> ParseLabels(std::string_view text);

// The `k` greatest values of the `length` elements from `begin` on, greatest first, with their index in the row. NaN comes
// last.
std::vector<std::pair<size_t, double>> TopK(const ClientTensor& tensor, size_t begin, size_t length, size_t k);

// "name FP32 (1,214)" and below it the values: all of a short tensor; of rows of floating-point numbers that are long, or of
// any when `top_k` is not 0, the greatest; the beginning of every other one.
std::string ToText(const ClientTensor& tensor, uint64_t top_k, const std::vector<std::string>& labels);

// {"name":...,"datatype":...,"shape":[...],"data":[...]}, the data flat.
std::string ToJson(const ClientTensor& tensor);

}  // namespace switchyard
