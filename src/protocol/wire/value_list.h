// The repeated scalar fields that carry a tensor's elements one by one (KServe's *_contents, TensorFlow's *_val), gathered into
// one run of elements.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include <absl/types/span.h>

#include "protocol/wire/request_arena.h"
#include "protocol/wire/wire_reader.h"
#include "tensor/element_type.h"

namespace switchyard::wire {

// Of one tensor. Memory comes from the arena and grows as values come.
class ValueList {
 public:
  // How the elements stand on the wire, and in memory: 1, 4, 4, 8, 8, 4, 8 bytes each; kBytes as views.
  enum class Kind : uint8_t { kBool, kInt32, kUint32, kInt64, kUint64, kFloat, kDouble, kBytes };

  // Appends the field that the reader stands at, packed or not. Of a wire type that does not belong to `kind`: skips it.
  void Read(Kind kind, WireReader& reader, RequestArena& arena);

  // The field that values came in; 0: none came.
  uint32_t field() const { return field_; }
  // Values came in more than one field, of which only the first one's are here.
  bool mixed() const { return mixed_; }
  size_t count() const { return count_; }
  // The elements, aligned to kBufferAlignment; not for kBytes.
  std::byte* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  absl::Span<const std::string_view> strings() const { return strings_; }

  // Makes the 32-bit integers that are here the elements of an 8- or 16-bit type, in place. The index of the first one that
  // does not fit, or count(). `wrap`: the low bits are taken of each, and all fit.
  size_t Narrow(ElementType type, bool wrap = false);

 private:
  bool Accepts(uint32_t field);
  void Reserve(size_t more, RequestArena& arena);
  template <typename T>
  void Append(T value, RequestArena& arena);
  void ReadOne(Kind kind, WireReader& reader, RequestArena& arena);

  uint32_t field_ = 0;
  Kind kind_ = Kind::kBool;
  bool mixed_ = false;
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
  size_t capacity_ = 0;
  size_t count_ = 0;
  std::vector<std::string_view> strings_;
};

}  // namespace switchyard::wire
