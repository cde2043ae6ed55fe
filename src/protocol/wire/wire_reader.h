// Walks protobuf's wire format once, without generated messages: a request's tensors go straight to where the device reads
// them.
#pragma once

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/wire/request_arena.h"

namespace switchyard::wire {

// What one request may hold. An empty entry takes two bytes on the wire and a hundred here: without a limit, a message within
// its size could take all memory.
inline constexpr size_t kMaxTensors = 4096;
inline constexpr size_t kMaxRank = 64;  // TensorFlow's own limit is 254

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kLengthDelimited = 2, kFixed32 = 5 };
constexpr uint32_t Tag(uint32_t field, WireType type) { return field << 3 | type; }

// Errors stick: after the first one Next() is false, and every other call gives an empty value. So a decoder is a loop
//   while (reader.Next()) {
//     switch (reader.tag()) { case Tag(1, kLengthDelimited): reader.Text(name); break; default: reader.Skip(); }
//   }
// and one look at ok() at the end. Memory is taken only for bytes that are there. Not thread-safe.
class WireReader {
 public:
  // `size` is exactly the number of bytes in `stream`, which must outlive the reader.
  WireReader(google::protobuf::io::ZeroCopyInputStream& stream, size_t size);

  // The message that the reader stands at, as long as this lives; the inner loop must come to its end.
  class Scope {
   public:
    Scope(google::protobuf::io::CodedInputStream& input, int outer) : input_(input), outer_(outer) {}
    Scope(const Scope&) = delete;
    ~Scope() { input_.PopLimit(outer_); }

   private:
    google::protobuf::io::CodedInputStream& input_;
    const int outer_;
  };

  // To the next field of the current message; false at its end, or when something was malformed.
  bool Next();
  uint32_t tag() const { return tag_; }
  uint32_t field() const { return tag_ >> 3; }
  bool ok() const { return !failed_; }
  // Marks the message as malformed.
  void Fail() { failed_ = true; }

  void Skip();
  uint64_t Varint();
  uint32_t Fixed32();
  uint64_t Fixed64();
  // Enters a length-delimited field: a message, or packed values until AtEnd().
  [[nodiscard]] Scope Enter();
  bool AtEnd() const { return failed_ || input_.BytesUntilLimit() <= 0; }
  // Bytes up to the end of what was entered last.
  size_t Remaining() const;
  // `size` bytes, at most Remaining().
  void Raw(std::byte* to, size_t size);

  // A string field of proto3, which must be UTF-8.
  void Text(std::string& value);
  std::string_view Text(RequestArena& arena);
  // A bytes field, at an address aligned to `alignment`.
  std::string_view Bytes(RequestArena& arena, size_t alignment);

 private:
  size_t Length();

  google::protobuf::io::CodedInputStream input_;
  uint32_t tag_ = 0;
  bool failed_ = false;
};

}  // namespace switchyard::wire
