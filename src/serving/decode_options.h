// What makes tensors of what a request brings: where shared memory is, who decodes pictures and strings, and what at most.
#pragma once

#include <cstddef>
#include <cstdint>

namespace switchyard {

class SharedRegions;
class WorkPool;

struct DecodeOptions {
  WorkPool* pool = nullptr;                       // must outlive every call; null: the calling thread decodes
  size_t max_waiting = 1024;                      // calls that wait for the pool
  uint64_t max_image_pixels = uint64_t{1} << 26;  // of one picture
  const SharedRegions* shared_memory = nullptr;   // must outlive every call's Infer; null: off
};

}  // namespace switchyard
