// How the process's allocator treats large blocks.
#pragma once

namespace switchyard {

// Keeps freed memory in the process, up to a bound, instead of handing pages back at every large response: each page that comes
// anew from the system costs a fault.
void KeepFreedMemory();

// As long as one of these lives, larger blocks that any thread allocates are mappings of their own (but where kept memory has
// room for them), which go back to the system when they are freed, whenever that is. For what a model is made of: it lives
// long, and among what is kept for requests its place would stay with the process. Does nothing where KeepFreedMemory was not
// called.
class LongLivedBlocks {
 public:
  LongLivedBlocks();
  ~LongLivedBlocks();
  LongLivedBlocks(const LongLivedBlocks&) = delete;
  LongLivedBlocks& operator=(const LongLivedBlocks&) = delete;
};

}  // namespace switchyard
