// Where a decoder puts what it copies out of a message: large tensors each in a pooled buffer of their own, everything small
// (names, small tensors, string views) side by side in one.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include <absl/types/span.h>

#include "serving/infer_call.h"
#include "tensor/buffer.h"

namespace switchyard::wire {

// Hands out memory that `request` owns and keeps; addresses stay. Not initialised. Not thread-safe.
class RequestArena {
 public:
  explicit RequestArena(DecodedRequest& request) : request_(request) {}

  // `alignment` is a power of two, at most kBufferAlignment. Never null.
  std::byte* Allocate(size_t bytes, size_t alignment = kBufferAlignment);
  // A table of its own for strings that lie elsewhere.
  absl::Span<const std::string_view> Table(absl::Span<const std::string_view> strings);
  absl::Span<std::string_view> NewTable(size_t count);

 private:
  DecodedRequest& request_;
  std::byte* next_ = nullptr;
  size_t left_ = 0;
  size_t chunk_bytes_ = 4096;
};

}  // namespace switchyard::wire
