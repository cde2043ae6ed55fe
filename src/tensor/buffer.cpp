#include "tensor/buffer.h"

#include <array>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <new>

namespace switchyard {
namespace {

// Size classes are powers of two, from 4 KiB (below, malloc's own per-thread cache is as quick) to 64 MiB (above, the system's
// page faults are small against the copy). Each keeps a few free blocks: what one burst gives back, the next one takes.
constexpr int kSmallestClassLog2 = 12;
constexpr int kLargestClassLog2 = 26;
constexpr size_t kSlots = 16;

struct alignas(64) SizeClass {
  std::array<std::atomic<std::byte*>, kSlots> free{};
};

std::array<SizeClass, kLargestClassLog2 - kSmallestClassLog2 + 1>& Classes() {
  // Never destroyed: buffers may outlive static destruction, in a callback that comes late.
  static auto& classes = *new std::array<SizeClass, kLargestClassLog2 - kSmallestClassLog2 + 1>();
  return classes;
}

// The class that holds `size`, or -1 when the pool does not keep such blocks.
int ClassOf(size_t size) {
  if (size <= (size_t{1} << (kSmallestClassLog2 - 1)) || size > (size_t{1} << kLargestClassLog2)) return -1;
  const int log2 = std::bit_width(size - 1);
  return log2 < kSmallestClassLog2 ? 0 : log2 - kSmallestClassLog2;
}

// Blocks of one class that may wait: 16 small ones, but no more than 64 MiB of large ones.
size_t SlotsOf(int size_class) {
  const size_t bytes = size_t{1} << (size_class + kSmallestClassLog2);
  const size_t fitting = (size_t{64} << 20) / bytes;
  return fitting < kSlots ? fitting : kSlots;
}

std::byte* SystemAllocate(size_t bytes) {
  return static_cast<std::byte*>(::operator new (bytes, std::align_val_t{kBufferAlignment}));
}
void SystemFree(std::byte* data) { ::operator delete (data, std::align_val_t{kBufferAlignment}); }

}  // namespace

Buffer Buffer::Allocate(size_t bytes) {
  const int size_class = ClassOf(bytes);
  if (size_class < 0) return Buffer(SystemAllocate(bytes == 0 ? 1 : bytes), bytes);
  auto& slots = Classes()[size_class].free;
  for (size_t i = 0; i < SlotsOf(size_class); ++i) {
    if (slots[i].load(std::memory_order_relaxed) == nullptr) continue;
    if (std::byte* data = slots[i].exchange(nullptr, std::memory_order_acquire)) return Buffer(data, bytes);
  }
  return Buffer(SystemAllocate(size_t{1} << (size_class + kSmallestClassLog2)), bytes);
}

void Buffer::Free(std::byte* data, size_t size) {
  if (data == nullptr) return;
  const int size_class = ClassOf(size);
  if (size_class >= 0) {
    auto& slots = Classes()[size_class].free;
    for (size_t i = 0; i < SlotsOf(size_class); ++i) {
      std::byte* empty = nullptr;
      if (slots[i].load(std::memory_order_relaxed) == nullptr &&
          slots[i].compare_exchange_strong(empty, data, std::memory_order_release, std::memory_order_relaxed)) {
        return;
      }
    }
  }
  SystemFree(data);
}

Buffer::~Buffer() { Free(data_, size_); }

}  // namespace switchyard
