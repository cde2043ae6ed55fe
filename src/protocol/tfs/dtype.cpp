#include "protocol/tfs/dtype.h"


namespace switchyard::tfs {
namespace {

struct Row {
  ElementType type;
  int number;
  std::string_view name;
  ValueField field;
};

constexpr Row kRows[] = {
    {ElementType::kUndefined, 0, "DT_INVALID", {0, ""}},
    {ElementType::kFp32, 1, "DT_FLOAT", {5, "float_val"}},
    {ElementType::kFp64, 2, "DT_DOUBLE", {6, "double_val"}},
    {ElementType::kInt32, 3, "DT_INT32", {7, "int_val"}},
    {ElementType::kUint8, 4, "DT_UINT8", {7, "int_val"}},
    {ElementType::kInt16, 5, "DT_INT16", {7, "int_val"}},
    {ElementType::kInt8, 6, "DT_INT8", {7, "int_val"}},
    {ElementType::kBytes, 7, "DT_STRING", {8, "string_val"}},
    {ElementType::kInt64, 9, "DT_INT64", {10, "int64_val"}},
    {ElementType::kBool, 10, "DT_BOOL", {11, "bool_val"}},
    {ElementType::kBf16, 14, "DT_BFLOAT16", {13, "half_val"}},
    {ElementType::kUint16, 17, "DT_UINT16", {7, "int_val"}},
    {ElementType::kFp16, 19, "DT_HALF", {13, "half_val"}},
    {ElementType::kUint32, 22, "DT_UINT32", {16, "uint32_val"}},
    {ElementType::kUint64, 23, "DT_UINT64", {17, "uint64_val"}},
};

const Row& RowOf(ElementType type) {
  for (const Row& row : kRows) {
    if (row.type == type) return row;
  }
  return kRows[0];
}

}  // namespace

int DtypeNumber(ElementType type) { return RowOf(type).number; }

std::string_view DtypeName(ElementType type) { return RowOf(type).name; }

std::optional<ElementType> FromDtypeNumber(int64_t number) {
  for (const Row& row : kRows) {
    if (row.number == number && row.type != ElementType::kUndefined) return row.type;
  }
  return std::nullopt;
}

ValueField ValueFieldOf(ElementType type) { return RowOf(type).field; }

std::string_view ValueFieldName(uint32_t number) {
  for (const Row& row : kRows) {
    if (row.field.number == number) return row.field.name;
  }
  return "";
}

}  // namespace switchyard::tfs
