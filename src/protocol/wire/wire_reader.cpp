#include "protocol/wire/wire_reader.h"

#include <limits>

#include <google/protobuf/wire_format_lite.h>
#include <simdjson.h>

namespace switchyard::wire {

using google::protobuf::internal::WireFormatLite;

WireReader::WireReader(google::protobuf::io::ZeroCopyInputStream& stream, size_t size) : input_(&stream) {
  if (size >= static_cast<size_t>(std::numeric_limits<int>::max())) {
    failed_ = true;
    return;
  }
  input_.PushLimit(static_cast<int>(size));
}

bool WireReader::Next() {
  if (failed_) return false;
  tag_ = input_.ReadTag();
  if (tag_ != 0) return true;
  // A tag of zero, or one that is cut off, is not an end. The stream may also end before the limit that its length promised.
  if (!input_.ConsumedEntireMessage() || input_.BytesUntilLimit() > 0) failed_ = true;
  return false;
}

void WireReader::Skip() {
  if (!failed_ && !WireFormatLite::SkipField(&input_, tag_)) failed_ = true;
}

uint64_t WireReader::Varint() {
  uint64_t value = 0;
  if (failed_ || !input_.ReadVarint64(&value)) {
    failed_ = true;
    return 0;
  }
  return value;
}

uint32_t WireReader::Fixed32() {
  uint32_t value = 0;
  if (failed_ || !input_.ReadLittleEndian32(&value)) failed_ = true;
  return value;
}

uint64_t WireReader::Fixed64() {
  uint64_t value = 0;
  if (failed_ || !input_.ReadLittleEndian64(&value)) failed_ = true;
  return value;
}

size_t WireReader::Remaining() const {
  const int bytes = input_.BytesUntilLimit();
  return failed_ || bytes < 0 ? 0 : static_cast<size_t>(bytes);
}

size_t WireReader::Length() {
  const uint64_t length = Varint();
  if (length > Remaining()) failed_ = true;
  return failed_ ? 0 : static_cast<size_t>(length);
}

WireReader::Scope WireReader::Enter() {
  const size_t length = Length();
  return Scope(input_, input_.PushLimit(static_cast<int>(length)));
}

void WireReader::Raw(std::byte* to, size_t size) {
  if (size > Remaining() || !input_.ReadRaw(to, static_cast<int>(size))) failed_ = true;
}

std::string_view WireReader::Bytes(RequestArena& arena, size_t alignment) {
  const size_t length = Length();
  if (failed_) return {};
  std::byte* const data = arena.Allocate(length, alignment);
  Raw(data, length);
  return failed_ ? std::string_view() : std::string_view(reinterpret_cast<const char*>(data), length);
}

std::string_view WireReader::Text(RequestArena& arena) {
  const std::string_view text = Bytes(arena, 1);
  if (!simdjson::validate_utf8(text.data(), text.size())) failed_ = true;
  return text;
}

void WireReader::Text(std::string& value) {
  const size_t length = Length();
  if (failed_ || !input_.ReadString(&value, static_cast<int>(length)) || !simdjson::validate_utf8(value.data(), value.size())) {
    value.clear();
    failed_ = true;
  }
}

}  // namespace switchyard::wire
