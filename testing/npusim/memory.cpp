#include "testing/npusim/memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "testing/npusim/driver.h"
#include "testing/npusim/level_zero.h"
#include "testing/npusim/settings.h"

namespace npusim {
namespace {

constexpr size_t kPage = 4096;

struct Block {
  uintptr_t begin = 0;
  size_t size = 0;
  uint64_t id = 0;
};

struct Memory {
  std::mutex mutex;
  std::map<uintptr_t, Block> blocks;
  uint64_t next_id = 1, allocated = 0;
};

Memory& Get() {
  static auto* memory = new Memory;  // the host frees until its last static object is gone
  return *memory;
}

// The block that holds the address; an empty one where none does. The mutex is held.
Block Find(const Memory& memory, const void* address) {
  auto at = reinterpret_cast<uintptr_t>(address);
  auto next = memory.blocks.upper_bound(at);
  if (next == memory.blocks.begin()) return {};
  const Block& block = std::prev(next)->second;
  return at < block.begin + std::max<size_t>(block.size, 1) ? block : Block{};
}

}  // namespace

uint64_t AllocatedBytes() {
  Memory& memory = Get();
  std::lock_guard<std::mutex> lock(memory.mutex);
  return memory.allocated;
}

}  // namespace npusim

using namespace npusim;  // NOLINT: what follows has C's names

NPUSIM_API zeMemAllocHost(Handle, void*, size_t size, size_t alignment, void** address) {
  if (Faults().Strikes("alloc")) return kOutOfHostMemory;
  if (size > kTotalMemory) return kOutOfHostMemory;
  alignment = std::max(alignment, kPage);
  size_t rounded = std::max((size + kPage - 1) / kPage * kPage, alignment);
  void* block = nullptr;
  if (posix_memalign(&block, alignment, rounded) != 0) return kOutOfHostMemory;
  memset(block, 0, rounded);
  Memory& memory = Get();
  std::lock_guard<std::mutex> lock(memory.mutex);
  auto begin = reinterpret_cast<uintptr_t>(block);
  memory.blocks[begin] = {begin, size, memory.next_id++};
  memory.allocated += size;
  *address = block;
  Trace("%zu bytes at %p", size, block);
  return kSuccess;
}

NPUSIM_API zeMemAllocDevice(Handle context, void* description, size_t size, size_t alignment, Handle, void** address) {
  return zeMemAllocHost(context, description, size, alignment, address);
}

NPUSIM_API zeMemAllocShared(Handle context, void* description, void*, size_t size, size_t alignment, Handle, void** address) {
  return zeMemAllocHost(context, description, size, alignment, address);
}

NPUSIM_API zeMemFree(Handle, void* address) {
  Memory& memory = Get();
  std::lock_guard<std::mutex> lock(memory.mutex);
  auto block = memory.blocks.find(reinterpret_cast<uintptr_t>(address));
  if (block == memory.blocks.end()) return kInvalidArgument;
  memory.allocated -= block->second.size;
  memory.blocks.erase(block);
  free(address);
  return kSuccess;
}

NPUSIM_API zeMemGetAllocProperties(Handle, const void* address, AllocationProperties* properties, Handle* owner) {
  Memory& memory = Get();
  std::lock_guard<std::mutex> lock(memory.mutex);
  Block block = Find(memory, address);
  properties->type = block.begin != 0 ? 1 : 0;  // host memory, or unknown
  properties->id = block.id;
  properties->page_size = kPage;
  if (owner) *owner = block.begin != 0 ? &device : nullptr;
  return kSuccess;
}

NPUSIM_API zeMemGetAddressRange(Handle, const void* address, void** begin, size_t* size) {
  Memory& memory = Get();
  std::lock_guard<std::mutex> lock(memory.mutex);
  Block block = Find(memory, address);
  if (block.begin == 0) return kInvalidArgument;
  if (begin) *begin = reinterpret_cast<void*>(block.begin);
  if (size) *size = block.size;
  return kSuccess;
}

NPUSIM_API zeGetMemProcAddrTable(uint32_t version, void* table) {
  return FillTable(version, table,
                   {{0, Entry(zeMemAllocShared)},
                    {1, Entry(zeMemAllocDevice)},
                    {2, Entry(zeMemAllocHost)},
                    {3, Entry(zeMemFree)},
                    {4, Entry(zeMemGetAllocProperties)},
                    {5, Entry(zeMemGetAddressRange)}});
}
