// What the process asks of the operating system before it serves.
#pragma once

#include <cstdint>

namespace switchyard {

// Raises the soft limit of open descriptors to the hard one: every connection is a descriptor. Returns what it is now.
uint64_t RaiseDescriptorLimit();

// Keeps freed memory in the process, up to a bound, instead of handing pages back at every large response: each page that comes
// anew from the system costs a fault.
void TuneAllocator();

// Turns off the search for lock cycles that the distribution's abseil was built with: it takes a lock of its own at every lock.
void TuneLocks();

}  // namespace switchyard
