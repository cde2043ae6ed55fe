#include "tensor/element_type.h"

#include <array>

namespace switchyard {
namespace {

struct Row {
  ElementType type;
  size_t size;
  std::string_view kserve;
  std::string_view precision;
};

constexpr std::array<Row, 15> kRows = {{
    {ElementType::kUndefined, 0, "INVALID", "INVALID"},
    {ElementType::kBool, 1, "BOOL", "BOOL"},
    {ElementType::kInt8, 1, "INT8", "I8"},
    {ElementType::kInt16, 2, "INT16", "I16"},
    {ElementType::kInt32, 4, "INT32", "I32"},
    {ElementType::kInt64, 8, "INT64", "I64"},
    {ElementType::kUint8, 1, "UINT8", "U8"},
    {ElementType::kUint16, 2, "UINT16", "U16"},
    {ElementType::kUint32, 4, "UINT32", "U32"},
    {ElementType::kUint64, 8, "UINT64", "U64"},
    {ElementType::kFp16, 2, "FP16", "FP16"},
    {ElementType::kBf16, 2, "BF16", "BF16"},
    {ElementType::kFp32, 4, "FP32", "FP32"},
    {ElementType::kFp64, 8, "FP64", "FP64"},
    {ElementType::kBytes, 0, "BYTES", "STRING"},
}};

const Row& RowOf(ElementType type) { return kRows[static_cast<size_t>(type)]; }

}  // namespace

size_t ElementSize(ElementType type) { return RowOf(type).size; }
std::string_view KserveName(ElementType type) { return RowOf(type).kserve; }
std::string_view PrecisionName(ElementType type) { return RowOf(type).precision; }

std::optional<ElementType> FromKserveName(std::string_view name) {
  for (const Row& row : kRows) {
    if (row.type != ElementType::kUndefined && row.kserve == name) return row.type;
  }
  return std::nullopt;
}

}  // namespace switchyard
