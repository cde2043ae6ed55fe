// The element types that the protocols can carry, and their names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace switchyard {

enum class ElementType : uint8_t {
  kUndefined,
  kBool,
  kInt8,
  kInt16,
  kInt32,
  kInt64,
  kUint8,
  kUint16,
  kUint32,
  kUint64,
  kFp16,
  kBf16,
  kFp32,
  kFp64,
  kBytes,  // a string per element
};

// Bytes of one element in memory; 0 for kBytes and kUndefined.
size_t ElementSize(ElementType type);

// KServe v2's name: BOOL, INT8 ... UINT64, FP16, BF16, FP32, FP64, BYTES; "INVALID" for kUndefined.
std::string_view KserveName(ElementType type);
std::optional<ElementType> FromKserveName(std::string_view name);

// OVMS's short name in messages and settings: BOOL, I8 ... U64, FP16, BF16, FP32, FP64, STRING; "INVALID" for kUndefined.
std::string_view PrecisionName(ElementType type);

}  // namespace switchyard
