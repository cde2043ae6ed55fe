#include "protocol/wire/request_arena.h"

#include <algorithm>
#include <cstdint>

namespace switchyard::wire {
namespace {

// Above this a buffer of its own wastes less than it costs, up to half of the first chunk.
constexpr size_t kLarge = 2048;
constexpr size_t kLargestChunk = 256 * 1024;

}  // namespace

std::byte* RequestArena::Allocate(size_t bytes, size_t alignment) {
  const size_t padding = -reinterpret_cast<uintptr_t>(next_) & (alignment - 1);
  if (next_ == nullptr || padding > left_ || bytes > left_ - padding) {
    if (bytes > kLarge) {
      request_.memory.push_back(Buffer::Allocate(bytes));
      return request_.memory.back().data();
    }
    request_.memory.push_back(Buffer::Allocate(chunk_bytes_));
    next_ = request_.memory.back().data();
    left_ = chunk_bytes_;
    chunk_bytes_ = std::min(chunk_bytes_ * 2, kLargestChunk);
  } else {
    next_ += padding;
    left_ -= padding;
  }
  std::byte* const data = next_;
  next_ += bytes;
  left_ -= bytes;
  return data;
}

absl::Span<std::string_view> RequestArena::NewTable(size_t count) {
  request_.string_tables.push_back(std::make_unique<std::string_view[]>(count));
  return absl::MakeSpan(request_.string_tables.back().get(), count);
}

absl::Span<const std::string_view> RequestArena::Table(absl::Span<const std::string_view> strings) {
  if (strings.empty()) return {};
  const absl::Span<std::string_view> table = NewTable(strings.size());
  std::copy(strings.begin(), strings.end(), table.begin());
  return table;
}

}  // namespace switchyard::wire
