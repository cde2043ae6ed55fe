// POSIX shared memory that another process made, mapped so that nothing this process does there can end it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/status.h"

namespace switchyard {

// Bytes [offset, offset + size) of an object that somebody made with shm_open. Whoever made it may change what is in it at any
// time, and may make it smaller, or the system may find no memory for a part of it that was never written: touching such a page
// would be a SIGBUS. A handler of this class's puts zeros of this process's own in the place of all that follows the page, and
// the mapping is damaged from then on: nothing that is read or written there means anything.
//
// The handler is the process's from the first Open on; a SIGBUS elsewhere goes to whoever had it before. It serves threads of
// this process; a system call that touches such a page fails with EFAULT. Thread-safe.
class SharedMapping {
 public:
  static constexpr size_t kMost = 1024;  // at once, in a process
  // NAME_MAX without the slash.
  static constexpr size_t kLongestKey = 254;

  // `key` as shm_open takes it: a name without a slash, or behind one. The object is opened for reading and writing, and closed
  // again: the mapping outlives its name. InvalidArgument: a key that can be none, no bytes, or more than the object has;
  // NotFound: no such object; PermissionDenied: not for this process's user; ResourceExhausted: too many, or no address space.
  static StatusOr<std::unique_ptr<SharedMapping>> Open(std::string_view key, uint64_t offset, uint64_t size);
  // Unmaps. Nobody may be in it.
  ~SharedMapping();
  SharedMapping(const SharedMapping&) = delete;

  // Not aligned where `offset` is not.
  std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  bool damaged() const;

 private:
  struct Guard;
  struct Guards;
  SharedMapping(Guard* guard, std::byte* data, size_t size) : guard_(guard), data_(data), size_(size) {}

  Guard* const guard_;
  std::byte* const data_;
  const size_t size_;
};

}  // namespace switchyard
