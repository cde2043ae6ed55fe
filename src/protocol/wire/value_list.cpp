#include "protocol/wire/value_list.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace switchyard::wire {
namespace {

using Kind = ValueList::Kind;

WireType WireTypeOf(Kind kind) {
  switch (kind) {
    case Kind::kFloat: return kFixed32;
    case Kind::kDouble: return kFixed64;
    case Kind::kBytes: return kLengthDelimited;
    default: return kVarint;
  }
}

// Forward in place is safe: no element is written behind the one that was read.
template <typename From, typename To>
size_t NarrowInPlace(std::byte* data, size_t count, bool wrap) {
  for (size_t i = 0; i < count; ++i) {
    From value;
    std::memcpy(&value, data + i * sizeof(From), sizeof(From));
    const To narrow = static_cast<To>(value);
    if (!wrap && static_cast<From>(narrow) != value) return i;
    std::memcpy(data + i * sizeof(To), &narrow, sizeof(To));
  }
  return count;
}

template <typename To>
size_t NarrowFrom(Kind kind, std::byte* data, size_t count, bool wrap) {
  return kind == Kind::kUint32 ? NarrowInPlace<uint32_t, To>(data, count, wrap)
                               : NarrowInPlace<int32_t, To>(data, count, wrap);
}

}  // namespace

bool ValueList::Accepts(uint32_t field) {
  if (field_ == 0) field_ = field;
  if (field_ == field) return true;
  mixed_ = true;
  return false;
}

void ValueList::Reserve(size_t more, RequestArena& arena) {
  if (more <= capacity_ - bytes_) return;
  const size_t capacity = std::max({bytes_ + more, capacity_ * 2, size_t{64}});
  std::byte* const data = arena.Allocate(capacity);
  if (bytes_ > 0) std::memcpy(data, data_, bytes_);
  data_ = data;
  capacity_ = capacity;
}

template <typename T>
void ValueList::Append(T value, RequestArena& arena) {
  Reserve(sizeof(T), arena);
  std::memcpy(data_ + bytes_, &value, sizeof(T));
  bytes_ += sizeof(T);
  ++count_;
}

void ValueList::ReadOne(Kind kind, WireReader& reader, RequestArena& arena) {
  switch (kind) {
    case Kind::kBool: Append<uint8_t>(reader.Varint() != 0, arena); break;
    case Kind::kInt32:
    case Kind::kUint32: Append(static_cast<uint32_t>(reader.Varint()), arena); break;
    case Kind::kInt64:
    case Kind::kUint64: Append(reader.Varint(), arena); break;
    case Kind::kFloat: Append(reader.Fixed32(), arena); break;
    case Kind::kDouble: Append(reader.Fixed64(), arena); break;
    case Kind::kBytes:
      strings_.push_back(reader.Bytes(arena, 1));
      ++count_;
      break;
  }
}

void ValueList::Read(Kind kind, WireReader& reader, RequestArena& arena) {
  const uint32_t field = reader.field();
  const WireType type = WireTypeOf(kind);
  const bool packed = kind != Kind::kBytes && reader.tag() == Tag(field, kLengthDelimited);
  if (!packed && reader.tag() != Tag(field, type)) {
    reader.Skip();
    return;
  }
  if (!packed) {
    if (!Accepts(field)) return reader.Skip();
    kind_ = kind;
    ReadOne(kind, reader, arena);
    return;
  }
  const auto values = reader.Enter();
  const size_t length = reader.Remaining();
  if (length == 0) return;
  if (!Accepts(field)) {
    // The first field's values are enough for the message that says so.
    std::byte* const dropped = arena.Allocate(length);
    reader.Raw(dropped, length);
    return;
  }
  kind_ = kind;
  if (type == kVarint) {
    while (!reader.AtEnd()) ReadOne(kind, reader, arena);
    return;
  }
  const size_t element = type == kFixed32 ? 4 : 8;
  if (length % element != 0) return reader.Fail();
  Reserve(length, arena);
  reader.Raw(data_ + bytes_, length);
  bytes_ += length;
  count_ += length / element;
}

size_t ValueList::Narrow(ElementType type, bool wrap) {
  size_t fitting = count_;
  switch (type) {
    case ElementType::kInt8: fitting = NarrowFrom<int8_t>(kind_, data_, count_, wrap); break;
    case ElementType::kUint8: fitting = NarrowFrom<uint8_t>(kind_, data_, count_, wrap); break;
    case ElementType::kInt16: fitting = NarrowFrom<int16_t>(kind_, data_, count_, wrap); break;
    case ElementType::kUint16:
    case ElementType::kFp16:
    case ElementType::kBf16: fitting = NarrowFrom<uint16_t>(kind_, data_, count_, wrap); break;
    default: return count_;
  }
  if (fitting == count_) bytes_ = count_ * ElementSize(type);
  return fitting;
}

}  // namespace switchyard::wire
