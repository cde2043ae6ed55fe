// Aligned memory for requests and responses, kept for reuse: taking 600 KB from the system for each call costs more than
// copying them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace switchyard {

// Every buffer starts on such a boundary: a cache line, and the widest vector register.
inline constexpr size_t kBufferAlignment = 64;

// Owns memory, not initialised. Movable. Goes back to the process-wide pool on destruction, from any thread, without a lock.
class Buffer {
 public:
  Buffer() = default;
  // At least `bytes`, aligned to kBufferAlignment; data() is never null, also for 0 bytes. Throws std::bad_alloc when the
  // system has no memory.
  static Buffer Allocate(size_t bytes);

  Buffer(Buffer&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Buffer();

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  // As asked for; the memory behind may be larger.
  size_t size() const { return size_; }
  explicit operator bool() const { return data_ != nullptr; }

  // Hands the memory to C-style owners: give the pointer to Free() once. size() is needed for that too.
  std::byte* Release() {
    size_ = 0;
    return std::exchange(data_, nullptr);
  }
  static void Free(std::byte* data, size_t size);

 private:
  Buffer(std::byte* data, size_t size) : data_(data), size_(size) {}

  std::byte* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace switchyard
