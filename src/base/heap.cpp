#include "base/heap.h"

#include <malloc.h>

#include <atomic>

namespace switchyard {
namespace {

// Image-sized messages (gRPC's slices, JSON texts) stay below the first bound and are reused.
constexpr int kRequestBound = 8 << 20;
constexpr int kKept = 64 << 20;
constexpr int kModelBound = 64 << 10;

// The settings are the process's, and so is who changed them.
std::atomic<bool> keeps{false};
std::atomic<int> loading{0};

}  // namespace

void KeepFreedMemory() {
  mallopt(M_MMAP_THRESHOLD, kRequestBound);
  mallopt(M_TRIM_THRESHOLD, kKept);
  keeps.store(true);
}

LongLivedBlocks::LongLivedBlocks() {
  if (loading.fetch_add(1) == 0 && keeps.load()) mallopt(M_MMAP_THRESHOLD, kModelBound);
}

// Another load that begins just now may find the higher bound: what it allocates then is as everything else.
LongLivedBlocks::~LongLivedBlocks() {
  if (loading.fetch_sub(1) == 1 && keeps.load()) mallopt(M_MMAP_THRESHOLD, kRequestBound);
}

}  // namespace switchyard
