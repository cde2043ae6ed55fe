// TensorFlow's names and numbers of element types, as its wire formats have them (tensorflow/core/framework/types.proto).
#pragma once

#include <string_view>

#include "tensor/element_type.h"

namespace switchyard {

struct TfsType {
  ElementType type;
  int number;
  std::string_view name;
};

inline constexpr TfsType kTfsTypes[] = {
    {ElementType::kFp32, 1, "DT_FLOAT"},     {ElementType::kFp64, 2, "DT_DOUBLE"},    {ElementType::kInt32, 3, "DT_INT32"},
    {ElementType::kUint8, 4, "DT_UINT8"},    {ElementType::kInt16, 5, "DT_INT16"},    {ElementType::kInt8, 6, "DT_INT8"},
    {ElementType::kBytes, 7, "DT_STRING"},   {ElementType::kInt64, 9, "DT_INT64"},    {ElementType::kBool, 10, "DT_BOOL"},
    {ElementType::kBf16, 14, "DT_BFLOAT16"}, {ElementType::kUint16, 17, "DT_UINT16"}, {ElementType::kFp16, 19, "DT_HALF"},
    {ElementType::kUint32, 22, "DT_UINT32"}, {ElementType::kUint64, 23, "DT_UINT64"},
};

inline ElementType FromTfsName(std::string_view name) {
  for (const TfsType& row : kTfsTypes) {
    if (row.name == name) return row.type;
  }
  return ElementType::kUndefined;
}

inline ElementType FromTfsNumber(int number) {
  for (const TfsType& row : kTfsTypes) {
    if (row.number == number) return row.type;
  }
  return ElementType::kUndefined;
}

inline int TfsNumber(ElementType type) {
  for (const TfsType& row : kTfsTypes) {
    if (row.type == type) return row.number;
  }
  return 0;
}

}  // namespace switchyard
