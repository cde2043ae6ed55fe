// TensorFlow's element types: numbers, names and the fields that carry them. The one table for both of its front ends, gRPC and
// REST.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tensor/element_type.h"

namespace switchyard::tfs {

// The number of tensorflow.DataType; 0 (DT_INVALID) for kUndefined.
int DtypeNumber(ElementType type);
// "DT_FLOAT"; "DT_INVALID" for kUndefined.
std::string_view DtypeName(ElementType type);
// Nothing for what no tensor here can be: complex, quantised, resource and unknown types.
std::optional<ElementType> FromDtypeNumber(int64_t number);

// The field of tensorflow.TensorProto that carries elements of the type one by one: number and name.
struct ValueField {
  uint32_t number = 0;
  std::string_view name;
};
ValueField ValueFieldOf(ElementType type);
// "float_val"; "" for a field that carries no values.
std::string_view ValueFieldName(uint32_t number);

}  // namespace switchyard::tfs
